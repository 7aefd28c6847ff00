package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/version"
	"github.com/restartilka/restartilka/internal/wire"
)

type (
	agentsPage struct {
		adminPage
		Query, Show string
		Shows       []showChoice
		Hosts       []administeredLine
		Total       int
		More, Ask   string // addresses
		Stale       string // the inventory is
		Down        string // it does not answer: why
		Program     string
		HasCA       bool
		Windows     []windowChoice
		Tokens      []joinLine
		Over        int // tokens that are over, and not shown
		Made        *madeToken
	}
	showChoice struct {
		Name, Text string
		Chosen     bool
	}
	windowChoice struct {
		Hours int
		Text  string
	}
	administeredLine struct {
		Name, DataCentre, State, Why, Program, Version, Review string
		Tone                                                   tone
		Asked, Contact, Ends                                   *moment
		Soon                                                   bool // the certificate ends soon, or has ended
		Revoked                                                bool
		Certificates                                           int // that can be revoked
		Failure                                                string
	}
	joinLine struct {
		ID, For, By   string
		Left, Count   int
		Ends, Created moment
	}
	// madeToken is a join token just made, shown this once.
	madeToken struct {
		For, Token, Command string
		Count               int
		Until               moment
	}
)

// joinHours are the windows that the form offers.
func joinHours() []int { return []int{1, 8, 24, 72, 168} }

func (s *site) adminHosts(w http.ResponseWriter, v *visit) error {
	page, err := s.agentsPage(v, v.URL.Query().Get("ask") == "1")
	if err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageAdminHosts, page)
}

// agentsPage lists hosts as they were found last, or, where that is asked for,
// as they are found now. An inventory that is down leaves the rest there.
func (s *site) agentsPage(v *visit, ask bool) (agentsPage, error) {
	query := v.URL.Query()
	q := control.HostQuery{Text: strings.TrimSpace(query.Get("q")), Show: query.Get("show"), From: number(v, "from")}
	page := agentsPage{Query: restart.Escape(q.Text), Show: q.Show}
	found, err := s.cfg.Control.AdministeredHosts(v.Context(), v.actor, q)
	if e, ok := asProblem(err); ok && e.Code == restart.CodeUnavailable {
		page.Down, err = said.In(v.lang, e.Message), nil
	}
	if err == nil && ask {
		err = s.cfg.Control.AskHosts(v.Context(), v.actor, found.Hosts)
	}
	if err != nil {
		return page, err
	}
	page.adminPage = s.adminLayout(v, say(v.lang, "adminhosts.title"))
	page.Total, page.Stale, page.Program, page.HasCA = found.Total, said.In(v.lang, found.Stale), toldVersion(found.Program), found.HasCA
	for _, h := range found.Hosts {
		page.Hosts = append(page.Hosts, s.administeredLine(v, h))
	}
	for _, name := range []string{"", control.ShowTrouble, control.ShowSilent, control.ShowVersion, control.ShowCertificate} {
		choice := showChoice{Name: name, Text: say(v.lang, "hostshow.all"), Chosen: name == q.Show}
		if name != "" {
			choice.Text = say(v.lang, "hostshow."+name)
		}
		page.Shows = append(page.Shows, choice)
	}
	here := url.Values{"q": {q.Text}, "show": {q.Show}, "from": {strconv.Itoa(q.From)}, "ask": {"1"}}
	page.Ask = "/admin/hosts?" + here.Encode()
	if found.Next > 0 {
		here.Set("from", strconv.Itoa(found.Next))
		here.Del("ask")
		page.More = "/admin/hosts?" + here.Encode()
	}
	for _, hours := range joinHours() {
		page.Windows = append(page.Windows, windowChoice{hours, count(v.lang, "adminhosts.hours", hours)})
	}
	return page, s.joinTokens(v, &page)
}

func (s *site) joinTokens(v *visit, page *agentsPage) error {
	tokens, err := s.cfg.Control.JoinTokens(v.Context(), v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	for _, t := range tokens {
		if t.State != wire.JoinTokenGood || len(page.Tokens) >= wire.MaxPage {
			page.Over++
			continue
		}
		page.Tokens = append(page.Tokens, joinLine{t.ID, restart.Escape(t.Host + t.Pattern), t.CreatedBy, t.Left, t.Count, momentOf(t.ExpiresAt, now), momentOf(t.CreatedAt, now)})
	}
	return nil
}

// toldVersion gives the version of a program; "" where its build does not tell it.
func toldVersion(program string) string {
	if program == version.Unknown {
		return ""
	}
	return restart.Escape(program)
}

func (s *site) administeredLine(v *visit, h control.AdministeredHost) administeredLine {
	now := s.cfg.Now()
	n := h.Note
	line := administeredLine{
		Name: h.Name, DataCentre: restart.Escape(h.DataCentre), State: say(v.lang, "hoststate.unasked"), Tone: toneSkip, Why: said.In(v.lang, n.Why),
		Program: toldVersion(n.Program), Review: restart.Escape(n.Review), Asked: lined(n.Asked, now), Contact: lined(n.Contact, now),
	}
	if n.State != "" {
		line.State, line.Tone = say(v.lang, "hoststate."+string(n.State)), toneFail
	}
	if n.State == wire.HostReady {
		line.Tone = toneDone
	}
	if h.Version != nil {
		line.Version = said.In(v.lang, h.Version.Message)
	}
	ends := n.Ends
	for _, x := range h.Certificates {
		if x.State == wire.CertificateGood && x.NotAfter.After(ends) {
			ends = x.NotAfter
		}
		if x.State != wire.CertificateRevoked {
			line.Certificates++
		}
		line.Failure = said.In(v.lang, x.RenewalFailure)
	}
	line.Revoked = len(h.Certificates) > 0 && line.Certificates == 0
	line.Ends, line.Soon = lined(ends, now), !ends.IsZero() && ends.Sub(now) < 30*24*time.Hour
	return line
}

// hostsRefused shows the page again with what is wrong with the form.
func (s *site) hostsRefused(w http.ResponseWriter, v *visit, name string, err error) error {
	again, err := refill(v, name, err)
	if err != nil {
		return err
	}
	page, err := s.agentsPage(v, false)
	if err != nil {
		return err
	}
	page.Form = again
	return s.show(w, v, http.StatusUnprocessableEntity, pageAdminHosts, page)
}

func (s *site) createJoinToken(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	req := wire.JoinTokenRequest{Host: strings.TrimSpace(v.PostForm.Get("host"))}
	form := "join"
	if v.PostForm.Get("kind") == "pattern" {
		form = "join-many"
		hours, err := strconv.Atoi(v.PostForm.Get("window"))
		if err != nil || !slices.Contains(joinHours(), hours) {
			return restart.Errorf(restart.CodeInvalid, "that is no window of a join token")
		}
		many, err := strconv.Atoi(strings.TrimSpace(v.PostForm.Get("count")))
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			many = 0 // is refused beside its field
		}
		req = wire.JoinTokenRequest{Pattern: strings.TrimSpace(v.PostForm.Get("pattern")), Count: many, Window: restart.Duration(time.Duration(hours) * time.Hour)}
	}
	t, secret, err := s.cfg.Control.CreateJoinToken(v.Context(), v.actor, req)
	if err != nil {
		return s.hostsRefused(w, v, form, err)
	}
	page, err := s.agentsPage(v, false)
	if err != nil {
		return err
	}
	page.Made = &madeToken{
		For: restart.Escape(t.Host + t.Pattern), Token: secret, Count: t.Count, Until: momentOf(t.ExpiresAt, s.cfg.Now()),
		Command: "sudo restartilka-agent join " + s.cfg.Control.URL(),
	}
	return s.show(w, v, http.StatusOK, pageAdminHosts, page)
}

func (s *site) endJoinToken(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.RevokeJoinToken(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	return done(w, v, "/admin/hosts", "jointoken")
}

func (s *site) revokeHost(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	host := strings.TrimSpace(v.PostForm.Get("host"))
	_, err := s.cfg.Control.RevokeCertificates(v.Context(), v.actor, wire.RevocationRequest{Host: host, Reason: v.PostForm.Get("reason")})
	if err != nil {
		return s.hostsRefused(w, v, "revoke", err)
	}
	return done(w, v, "/admin/hosts", "revoked")
}
