package web

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/said"
)

//go:embed templates
var templates embed.FS

// Each page has a struct of its own, and a template of its own that gets it:
// nothing else is ever put into it. A test renders each with hostile values.
type (
	// layout is what every page has.
	layout struct {
		Lang      language
		Title     string
		Actor     string // who is signed in; "" = nobody
		Notice    sentence
		NoticeURL string // where the reader can do something about it; "" = nowhere
		RequestID string
		Reload    int      // after how many seconds a browser without JavaScript loads the page again; 0 = it does not
		Scripts   bool     // the page is live
		Files     []string // scripts of its own, by their names in static
		Theme     theme
		Nav       []navLine
		ToApprove int // runs that the reader may approve or reject
		// Description is what a link to the page says in a chat, to those who may
		// see the page; "" = what restartilka is.
		Description string
		Preview     string // what it is headed there; "" = by the title
	}
	signInPage struct {
		layout
		Name, Next      string
		Again           bool // by somebody who is signed in already
		Password, Token bool // forms that there are
		Redirects       []redirectLine
		Look            displayView
		Sent            filled
		Out             string // where to sign out elsewhere too
	}
	// redirectLine is a method that begins with a link.
	redirectLine struct{ Name, URL string }
	profilePage  struct {
		layout
		Name, Method, Display, Mail, Teams string
		Roles                              []string
		SignedIn, Until                    *moment
		Look                               displayView
		Local                              bool // has a password here
		PasswordSet                        bool
		Calendar                           *calendarView
		Sent                               filled
		Sessions                           []sessionLine
		Tokens                             []tokenLine
		Lives                              []int // of a new token, in days
		Secret                             string
		Keys                               *keysView // nil = there is no way in by SSH
		Chat                               chatView
	}
	loginPage struct {
		layout
		Code, Client, Address, Name string
		Roles                       []string
		At, Ends                    moment
		Sent                        filled
		Confirmed, Refused          bool
	}
	runPage struct {
		layout
		Run    runView
		Acts   acts
		Facts  facts
		Strip  [][]cell // by batch; nil where there are too many hosts
		Hosts  []hostRow
		Listed hostsView
		Events string // address of the stream; "" = the run is over
		Frozen *frozenNotice
		Steps  *stepsView // nil = not shown
		Replay bool       // there is something to replay
		Story  bool       // the reader may see what is recorded of it
		Dumps  *runSaid   // nil = it has no thread dumps that the reader may look at
	}
	approvalsPage struct {
		layout
		Runs []awaitingLine
		Poll string // address to ask again
	}
	freezesPage struct {
		layout
		Freezes []freezeLine
		Done    string      // what was done
		Add     *freezeForm // nil = the reader freezes nothing
	}
	glassPage struct {
		layout
		Runs []glassLine
	}
	breakPage struct {
		layout
		ID, Service, Environment string
		Hosts                    int
		Ticked                   []string      // where not all are
		Frozen                   *frozenNotice // nil = nothing is, just now
		Awaiting                 bool          // it waits for an approval
		Sent                     filled        // with another name
		Late                     bool          // the remote log takes nothing, and no freeze stands there
		NoTicket                 bool          // it is not for a ticket as the rules want it, and neither of those
	}
	scenariosPage struct {
		layout
		Signed    bool          // review: signed
		Soon      []versionLine // in force, and not for long
		Scenarios []versionLine
		Waiting   int // versions
		Problems  []problemLine
	}
	versionsPage struct {
		layout
		Name     string
		Versions []versionLine
	}
	queuePage struct {
		layout
		Signed   bool
		Versions []versionLine
	}
	reviewPage struct {
		layout
		Version         versionLine
		Signed          bool // review: signed
		ByFolder        bool // nobody has pushed it
		IsInForce       bool
		Against         int // serial of the version in force that it is compared with; 0 = none is
		Removed, Added  int
		Rows            []diffRow
		Cut             bool // there are more rows
		Findings        []findingLine
		Service, Host   string // that it is rendered for
		Services, Hosts []choice
		Parts           []partLine
		Unrendered      string // why it can't be rendered
		Signatures      []signature
		Missing         []string // who could sign
		Waiting         bool
		Key, Principal  string // in the commands
		Yours           bool   // the reader is Principal, whose signature is missing
		Withdrawn       string // reason
		MayWithdraw     bool
		Sent            filled
	}
	hostPage struct {
		layout
		Host   hostView
		Events string
	}
	chartPage struct {
		layout
		Run   runView
		Chart chartView
	}
)

// After how many seconds a browser without JavaScript loads a page again: one that
// follows something, and one with a form, in which somebody may be writing.
const (
	liveReload = 5
	formReload = 30
)

// pages are the parsed templates: by language, then by name.
type pages map[language]map[string]func() *template.Template

// The names of the files in templates/pages.
const (
	pageSignIn    = "sign-in"
	pageRuns      = "runs"
	pageRun       = "run"
	pageHost      = "host"
	pageChart     = "chart"
	pageFreezes   = "freezes"
	pageHeldLocks = "locks"
	pageGlass     = "glass"
	pageBreak     = "break"
	pageProfile   = "profile"
	pageLogin     = "login"

	pageServices   = "services"
	pageService    = "service"
	pageHosts      = "hosts"
	pageMachine    = "machine"
	pagePerson     = "person"
	pageStatistics = "statistics"
	pageSlowest    = "slowest"
	pageReasons    = "reasons"
	pageReason     = "reason"

	pageApprovals = "approvals"
	pageScenarios = "scenarios"
	pageVersions  = "versions"
	pageQueue     = "queue"
	pageReview    = "review"
)

// parsePages reads what all pages share. A page's own template is made when it
// is first shown: each has a copy of all that is shared, and most servers show
// few of them, in one language.
func parsePages(a *assets) pages {
	p := pages{}
	for _, l := range said.Languages() {
		base := template.New("layout.html").Option("missingkey=error").Funcs(template.FuncMap{
			"asset": a.url,
			"t":     func(key string, values ...any) string { return say(l, key, values...) },
			"n":     func(key string, n int) string { return count(l, key, n) },
			"took":  func(d time.Duration) string { return took(l, d) },
			"size":  size,
			"whole": func(d time.Duration) int { return int(d / time.Second) },
			"mark":  markOf,
			"share": share[int],
		})
		template.Must(base.ParseFS(templates, "templates/*.html"))
		p[l] = map[string]func() *template.Template{}
		files, _ := fs.Glob(templates, "templates/pages/*.html") // a pattern of ours
		for _, file := range files {
			p[l][strings.TrimSuffix(path.Base(file), ".html")] = sync.OnceValue(func() *template.Template {
				return template.Must(template.Must(base.Clone()).ParseFS(templates, file))
			})
		}
	}
	return p
}

// show renders a page whole before the first byte of it is sent, so that an
// error never leaves half of one.
func (s *site) show(w http.ResponseWriter, v *visit, status int, name string, page any) error {
	var b bytes.Buffer
	if err := s.pages[v.lang][name]().ExecuteTemplate(&b, "layout.html", page); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	reply(w, v, status, b.Bytes())
	return nil
}

// reply sends a body of which the type is set already.
func reply(w http.ResponseWriter, v *visit, status int, body []byte) {
	h := w.Header()
	if len(body) > 1<<10 && acceptsGzip(v.Request) {
		h.Set("Content-Encoding", "gzip")
		body = compress(body)
	}
	h.Add("Vary", "Accept-Encoding")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the reader has gone
}

// layout starts a page for a visit.
func (s *site) layout(v *visit, title string) layout {
	l := layout{Lang: v.lang, Title: title, Actor: v.actor.Name, RequestID: v.id, Theme: v.theme}
	if v.actor.Name != "" {
		s.notice(v, &l)
	}
	var err error
	if l.ToApprove, err = s.cfg.Control.ToApprove(v.Context(), v.actor); err != nil && v.Context().Err() == nil {
		s.cfg.Logger.WarnContext(v.Context(), "count approvals", "request_id", v.id, "error", err) // the page is worth more than the number
	}
	if v.actor.Name != "" {
		l.Nav = navigation(v.lang, v.URL.Path, s.cfg.Control.MayAdminister(v.actor), s.cfg.Control.MayAudit(v.actor), l.ToApprove)
	}
	return l
}

// notice says on every page how the remote log does: that it holds runs up, to
// everybody; that there is none, to those who can do something about it.
func (s *site) notice(v *visit, l *layout) {
	admin, auditor := s.cfg.Control.MayAdminister(v.actor), s.cfg.Control.MayAudit(v.actor)
	text := logNotice(v.lang, s.cfg.Control.Log())
	if s.cfg.NoRemoteLog && (admin || auditor) {
		text = cmp.Or(text, say(v.lang, "notice.local"))
	}
	if text == "" {
		return
	}
	l.Notice = sentenceOf(text, s.cfg.Now())
	switch {
	case admin:
		l.NoticeURL = "/admin/delivery"
	case auditor:
		l.NoticeURL = "/audit"
	}
}

// markOf gives the shape of a tone, which templates also name as plain text.
func markOf(t any) shape { return shapes[tone(fmt.Sprint(t))] }

// shape is two SVG paths in a square of 16: the outline in the colour of the
// tone, the figure in that of what lies on it.
type shape struct{ Outline, Figure string }

var shapes = map[tone]shape{
	toneDone:    {"M8 .75a7.25 7.25 0 1 1 0 14.5A7.25 7.25 0 0 1 8 .75z", "m4.6 8.3 2.4 2.4 4.5-5"},
	toneNow:     {"M8 .75a7.25 7.25 0 1 1 0 14.5A7.25 7.25 0 0 1 8 .75z", "M6.3 4.9 11 8l-4.7 3.1z"},
	toneWait:    {"M8 .75a7.25 7.25 0 1 1 0 14.5A7.25 7.25 0 0 1 8 .75z", ""},
	toneHold:    {"M2.75 1.25h10.5a1.5 1.5 0 0 1 1.5 1.5v10.5a1.5 1.5 0 0 1-1.5 1.5H2.75a1.5 1.5 0 0 1-1.5-1.5V2.75a1.5 1.5 0 0 1 1.5-1.5z", "M6 5v6M10 5v6"},
	toneWarn:    {"M8 .9c.5 0 .9.25 1.15.7l6 11.1a1.35 1.35 0 0 1-1.2 2H2.05a1.35 1.35 0 0 1-1.2-2l6-11.1C7.1 1.15 7.5.9 8 .9z", "M8 5.6v4M8 12v.1"},
	toneFail:    {"M5 .9h6L15.1 5v6L11 15.1H5L.9 11V5z", "m5.4 5.4 5.2 5.2m0-5.2-5.2 5.2"},
	toneUnknown: {"M8 .4 15.6 8 8 15.6.4 8z", "M6.2 6.4c.2-1 .9-1.5 1.8-1.5 1.1 0 1.9.7 1.9 1.6 0 1.3-1.9 1.4-1.9 2.8M8 11.3v.1"},
	toneSkip:    {"M8 .75a7.25 7.25 0 1 1 0 14.5A7.25 7.25 0 0 1 8 .75z", "M4.8 8h6.4"},
}
