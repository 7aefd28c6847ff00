package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/diff"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	// mostRows bounds the lines of a comparison on a page; the command line shows
	// all of any.
	mostRows = 4000
	// mostLines bounds the lines of a text that is compared for a page.
	mostLines = 20_000
	// reviewsAtOnce is how many reviews are worked out at once: each takes the
	// longer, and the more memory, the larger somebody has made a scenario.
	reviewsAtOnce = 4
)

type (
	// diffRow is a line of the old text beside one of the new.
	diffRow struct {
		Old, New diffCell
		Changed  bool
	}
	diffCell struct {
		Number int // 0 = there is no such line
		Text   string
		Open   bool // no newline ends it
		Tone   string
	}
	findingLine struct {
		Error         bool
		Message, Hint string
		Line          int
	}
	// partLine is a part of what a host would do: a script, or sentences.
	partLine struct {
		Name, Text string
		Lines      []string
	}
	signature struct {
		Principal, Fingerprint, Why string
		Counts                      bool
		At                          moment
	}
	choice struct {
		Name     string
		Selected bool
	}
)

// showReview shows a version to who may sign it.
func (s *site) showReview(w http.ResponseWriter, v *visit) error {
	return s.reviewAgain(w, v, http.StatusOK, filled{})
}

// reviewAgain shows a version with the form that was sent.
func (s *site) reviewAgain(w http.ResponseWriter, v *visit, status int, sent filled) error {
	query := v.URL.Query()
	digest, service, host := v.PathValue("digest"), query.Get("service"), query.Get("host")
	r, err := s.cfg.Control.ReviewScenario(v.Context(), v.actor, digest, service, host)
	if restart.CodeOf(err) == restart.CodeInvalid && host != "" { // a host of the service that was chosen before
		host = ""
		r, err = s.cfg.Control.ReviewScenario(v.Context(), v.actor, digest, service, host)
	}
	if err != nil {
		return err
	}
	select {
	case s.reviewing <- struct{}{}:
	case <-v.Context().Done():
		return context.Cause(v.Context())
	}
	page := s.review(v, r)
	<-s.reviewing
	page.Sent = sent
	return s.show(w, v, status, pageReview, page)
}

// review works out what the page of a version shows.
func (s *site) review(v *visit, r wire.ScenarioReview) reviewPage {
	now := s.cfg.Now()
	page := reviewPage{
		layout: s.layout(v, say(v.lang, "review.title", r.Version.Name, r.Version.Serial)), Version: versionOf(v.lang, r.Version, now), Signed: s.cfg.Control.ReviewSigned(),
		Key: "~/.ssh/id_ed25519", Principal: "PRINCIPAL", Missing: r.Version.Missing, Waiting: r.Version.Standing == string(review.Waiting),
		Withdrawn: restart.Escape(r.Version.Reason), MayWithdraw: s.cfg.Control.MayWithdraw(v.actor, r.Version), ByFolder: r.Version.ProposedBy == "",
	}
	for _, p := range r.Version.Missing {
		if control.IsPrincipal(v.actor.Name, p) {
			page.Principal, page.Yours = p, true
		}
	}
	before := ""
	switch {
	case r.InForce == nil:
	case r.InForce.Digest == r.Version.Digest:
		page.IsInForce, before = true, r.Version.Body
	default:
		page.Against, before = r.InForce.Serial, r.InForce.Body
	}
	page.compare(before, r.Version.Body)
	for _, f := range scenario.Lint([]byte(r.Version.Body)) {
		page.Findings = append(page.Findings, findingLine{Error: f.Level == scenario.LevelError, Message: said.In(v.lang, f.Message), Hint: said.In(v.lang, f.Hint), Line: f.Line})
	}
	for _, sig := range r.Version.Signatures {
		page.Signatures = append(page.Signatures, signature{sig.Principal, sig.Fingerprint, said.In(v.lang, sig.Why), sig.Counts, momentOf(sig.AddedAt, now)})
	}
	page.render(r)
	return page
}

// compare fills in the rows of the comparison.
func (p *reviewPage) compare(before, after string) {
	if strings.Count(before, "\n") > mostLines || strings.Count(after, "\n") > mostLines {
		p.Cut = true
		return
	}
	lines := diff.Lines(before, after)
	p.Removed, p.Added = diff.Count(lines)
	rows := diff.Rows(lines)
	if p.Cut = len(rows) > mostRows; p.Cut {
		rows = rows[:mostRows]
	}
	cell := func(l *diff.Line, number int, changed string) diffCell {
		c := diffCell{Number: number, Text: restart.Escape(l.Text), Open: l.Open}
		if l.Op != diff.Same {
			c.Tone = changed
		}
		return c
	}
	for _, r := range rows {
		row := diffRow{Changed: r.Changed()}
		if r.Old != nil {
			row.Old = cell(r.Old, r.Old.Old, "removed")
		}
		if r.New != nil {
			row.New = cell(r.New, r.New.New, "added")
		}
		p.Rows = append(p.Rows, row)
	}
}

// render fills in what an example host would do.
func (p *reviewPage) render(r wire.ScenarioReview) {
	e := r.Example
	p.Service, p.Host = e.Service, e.Host
	for _, name := range e.Services {
		p.Services = append(p.Services, choice{name, name == e.Service})
	}
	for _, name := range e.Hosts {
		p.Hosts = append(p.Hosts, choice{name, name == e.Host})
	}
	if e.Service == "" {
		return
	}
	s, err := scenario.Parse([]byte(r.Version.Body))
	if err != nil {
		p.Unrendered = said.In(p.Lang, err.Error())
		return
	}
	parts, err := review.Parts(s, scenario.Facts{
		Service: e.Service, Package: e.Package, Unit: e.Unit, User: e.User, Host: e.Host, Group: e.Group, Environment: e.Environment, Project: e.Project,
	})
	if err != nil {
		p.Unrendered = said.In(p.Lang, err.Error())
	}
	for _, part := range parts {
		switch part.Name {
		case "run_as":
			p.Parts = append(p.Parts, partLine{Name: say(p.Lang, "review.runas"), Lines: said.Lines(p.Lang, restart.Escape(part.Text))})
		case "health":
			p.Parts = append(p.Parts, partLine{Name: say(p.Lang, "review.health"), Lines: said.Lines(p.Lang, plain([]byte(part.Text)))})
		default:
			p.Parts = append(p.Parts, partLine{Name: say(p.Lang, "stepname."+part.Name), Text: plain([]byte(part.Text))})
		}
	}
}
