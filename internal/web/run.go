package web

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// Bounds of a run's page: a run may have 10,000 hosts.
const (
	maxRows  = 500  // hosts that one page lists
	maxCells = 1000 // hosts that the strip shows one by one; above it is a bar
	fewHosts = 8    // hosts that the strip shows with their names
	maxNotes = 20   // hosts in hand whose newest look at health is shown

	maxDescription = 300 // characters of a link's preview
)

// runView is the part of a run's page that follows the run.
type runView struct {
	Live                      bool // rendered to take the place of what is there
	ID, Service, Environment  string
	Tone                      tone
	State, Cause, Explanation string
	Wish                      string // what a person has asked of it, in a sentence
	Created                   moment
	Started, Finished         *moment
	Took                      time.Duration
	Ticking                   bool
	Counts                    []counted
	Done, Total               int
	Bar                       []segment // nil where the strip shows each host
	Paused, HasUnknown        bool
	Frozen                    bool // a freeze has paused it
	NoneLeft                  bool // no host waits
	OnHost                    bool // begun on the host itself, without a server
	Reason, By                string
	Kind                      string // what is done
	Person, Way               string // By, in two, where By is a person with a page
	Only                      string // that it does not do the whole scenario
	Density                   string // of the strip: few | some | many
	Glass                     bool   // it was started past its safeguards
	Review                    string // what became of the review of that
	Approval                  *approvalView
}

// counted is how many hosts have one tone.
type counted struct {
	Tone tone
	Text string
}

// facts are the part of a run's page that never changes.
type facts struct {
	Ticket                  ticketView
	Scenario, Short         string
	Group, Project, Batches string
	Linked                  bool   // the pages of what is named are there
	Keep, Down, Limits      string // what the strategy means for these hosts; "" = not said
	Params                  []param
	Warnings                []sentence
	LeftOut                 []leftOut
	Beside                  int // hosts of the group that are counted only
	Silent                  *silent
	ID                      string
	Relations               []relation
}

type param struct{ Name, Value string }

type leftOut struct{ Host, Why string }

// cell is one host in the strip.
type cell struct {
	Live         bool
	Position     int
	Tone         tone
	URL, Tooltip string
	Named        bool   // there is room for its name
	Head, Tail   string // of the name, which may break between them
	Short        string // what tells it from the others, where there is little room
}

// hostRow is one host in the list.
type hostRow struct {
	Live                bool
	Run                 string
	Position            int
	Host, Label, Domain string // Host = Label + Domain
	DataCentre          string
	Tone                tone
	State, Phase        string
	Doing               bool // Phase says the state too
	Attempt             int
	Note                string // the error, or the newest look at health
	Drained             bool
	Decision            string // what a person has said of it
	Took                time.Duration
	Ticking             bool
	Version             int64
}

func (s *site) showRun(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	return s.drawRun(w, v, run, nil)
}

// drawRun shows a run; after a form of its page that was refused, that form with
// what is wrong. A form that the page has not any more is answered by the refusal.
func (s *site) drawRun(w http.ResponseWriter, v *visit, run restart.Run, refused error) error {
	if run.State == restart.RunDraft && run.Plan != nil {
		return s.showPlan(w, v, run)
	}
	now := s.cfg.Now()
	b := newBoard(v.lang, run)
	page := runPage{layout: s.layout(v, b.title(run)), Run: b.view(run, now), Facts: b.facts(run, now)}
	page.Facts.Linked = !run.OnHost() // of which nothing need be known here
	page.Description, page.Story = describe(page.Run), s.cfg.Control.MayAudit(v.actor)
	notes := s.cfg.Control.Notes(v.Context(), v.actor, run, maxNotes)
	latest := hostsOf(run)
	var listed []restart.Task
	listed, page.Listed = b.hostsAt(run, latest, v.URL.Query())
	for _, t := range listed {
		page.Hosts = append(page.Hosts, b.row(t, notes[t.ID], now))
	}
	page.Strip = b.strip(latest)
	var err error
	if page.Frozen, err = s.frozen(v, run, now); err != nil {
		return err
	}
	page.Acts = s.acts(v.Context(), v.actor, run, page.Frozen != nil, now)
	status := http.StatusOK
	if refused != nil {
		e := answers(refused)
		if e == nil || !page.Acts.has(formPressed(v)) {
			return refused
		}
		page.Acts.Sent = filled{Name: formPressed(v), Values: v.PostForm, Wrongs: []wrong{wrongOf(v.lang, e)}}
		if status = protocol.StatusOf(e.Code); restart.FieldOf(e) != "" {
			status = http.StatusUnprocessableEntity
		}
	}
	if !run.State.Final() {
		if run.State != restart.RunPaused && run.State != restart.RunDraft && run.State != restart.RunAwaitingApproval { // a person may be writing a reason
			page.Reload = liveReload
		}
		page.Events = "/runs/" + run.ID + "/events?after=" + strconv.FormatInt(run.Version, 10)
	}
	if page.Steps, err = s.steps(v, run); err != nil {
		return err
	}
	if page.Dumps, err = s.runSaid(v, run); err != nil {
		return err
	}
	page.Scripts, page.Files, page.Replay = true, []string{"output.js"}, run.StartedAt != nil
	return s.show(w, v, status, pageRun, page)
}

// run gives the run that a request's path names. What can't be a run's id is
// as little there as one that no run has.
func (s *site) run(v *visit) (restart.Run, error) {
	id := v.PathValue("id")
	absent := restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "problem.norun", v.lang.Quote(id)))
	if restart.CheckID(id) != nil {
		return restart.Run{}, absent
	}
	run, err := s.cfg.Control.Run(v.Context(), v.actor, id)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return run, absent
	}
	return run, err
}

// board renders one run: what it needs of the plan, once, for as long as the
// run is looked at.
type board struct {
	lang   language
	plan   restart.Plan
	hosts  map[string]restart.PlannedHost
	domain string
	alike  int // bytes that all names begin with, up to their numbers
	total  int
}

func newBoard(l language, run restart.Run) *board {
	b := &board{lang: l, hosts: map[string]restart.PlannedHost{}}
	if run.Plan != nil {
		b.plan = *run.Plan
	}
	var names []string
	for _, h := range b.plan.Chosen() {
		b.hosts[h.Name] = h
		names = append(names, h.Name)
	}
	b.domain, b.alike, b.total = commonDomain(names), commonStart(names), len(names)
	return b
}

// hostsOf gives the newest task of each host, in the order of the plan; of a
// plan that is not started, those that it would have.
func hostsOf(run restart.Run) []restart.Task {
	if len(run.Tasks) > 0 || run.Plan == nil {
		return restart.Latest(run.Tasks)
	}
	var out []restart.Task
	for i, h := range run.Plan.Chosen() {
		out = append(out, restart.Task{RunID: run.ID, Host: h.Name, Position: i, Batch: restart.BatchOf(run.Plan.Batches, i), State: restart.TaskPlanned})
	}
	return out
}

// title is what a tab or a link says of the run.
func (b *board) title(run restart.Run) string {
	n := tallyOf(hostsOf(run))
	title := run.Service
	if run.Environment != "" {
		title = say(b.lang, "run.title", run.Service, run.Environment)
	}
	if b.total > 0 {
		title = strconv.Itoa(n[toneDone]) + "/" + strconv.Itoa(b.total) + " · " + title
	}
	return say(b.lang, "runstate."+string(run.State)) + " · " + title
}

func (b *board) view(run restart.Run, now time.Time) runView {
	counts := tallyOf(hostsOf(run))
	x := runView{
		ID: run.ID, Service: run.Service, Environment: run.Environment,
		Tone: toneOfRun(run.State), State: say(b.lang, "runstate."+string(run.State)),
		Cause: causeOf(b.lang, run), Explanation: said.In(b.lang, run.Explanation),
		Created: momentOf(run.CreatedAt, now), Started: maybeMoment(run.StartedAt, now), Finished: maybeMoment(run.FinishedAt, now),
		Took: lasted(run.StartedAt, run.FinishedAt, now), Ticking: run.StartedAt != nil && run.FinishedAt == nil,
		Done: counts[toneDone], Total: b.total,
		Paused: run.State == restart.RunPaused, Frozen: run.Cause == restart.CauseFreeze, NoneLeft: counts[toneWait] == 0, HasUnknown: counts[toneUnknown] > 0,
		Reason: restart.Escape(run.Reason), By: run.Actor, Density: b.density(), Glass: run.BreakGlass, Approval: approvalOf(b.lang, run, now),
	}
	if run.Work == restart.WorkUndrain {
		x.Only = say(b.lang, "run.only")
	}
	if run.Work == restart.WorkRehearse {
		x.Only = say(b.lang, "run.rehearsal")
	}
	switch r := run.GlassReview; {
	case r != nil:
		x.Review = say(b.lang, "run.glass.reviewed", r.By, restart.Escape(r.Note))
	case run.BreakGlass:
		x.Review = say(b.lang, "run.glass.waits")
	}
	x.OnHost = run.OnHost()
	x.Kind = known(b.lang, "kind."+string(run.Kind), string(run.Kind))
	if !x.OnHost {
		x.Person = run.Actor
	}
	if run.Via != "" && !x.OnHost {
		x.Way = viaOf(b.lang, run.Via)
		x.By = say(b.lang, "run.via", run.Actor, x.Way)
	}
	switch run.Control {
	case restart.ControlPause, restart.ControlAbort:
		x.Wish = say(b.lang, "run.stopping", say(b.lang, "control."+string(run.Control)))
	case restart.ControlForceAbort:
		x.Wish = say(b.lang, "run.killing")
	}
	for _, t := range []tone{toneDone, toneNow, toneFail, toneUnknown, toneSkip, toneWait} {
		switch {
		case t == toneDone:
			shown := toneDone
			if counts[t] == 0 {
				shown = toneWait // nothing is done: no tick
			}
			key := "progress.done"
			if b.total == 1 {
				key = "progress.done.one"
			}
			x.Counts = append(x.Counts, counted{shown, say(b.lang, key, counts[t], b.total)})
		case counts[t] > 0:
			x.Counts = append(x.Counts, counted{t, say(b.lang, "progress."+string(t), counts[t])})
		}
	}
	if b.total > maxCells {
		x.Bar = counts.bar()
	}
	return x
}

// describe says a run in two lines, for the preview of a link.
func describe(x runView) string {
	var counts []string
	for _, c := range x.Counts {
		counts = append(counts, c.Text)
	}
	parts := []string{x.Reason, x.By, strings.Join(counts, ", ")}
	if x.Explanation != "" {
		parts = append(parts, x.Explanation)
	}
	text := []rune(strings.Join(parts, " · "))
	if len(text) > maxDescription {
		text = append(text[:maxDescription-1], '…')
	}
	return string(text)
}

func (b *board) facts(run restart.Run, now time.Time) facts {
	f := facts{
		ID: run.ID, Ticket: ticketOf(b.lang, run), Scenario: run.Scenario, Short: run.Digest[:min(12, len(run.Digest))],
		Group: run.Group, Project: run.Project, Batches: b.batches(),
		Relations: relations(b.lang, run),
	}
	for _, name := range slices.Sorted(maps.Keys(run.Params)) {
		f.Params = append(f.Params, param{restart.Escape(name), restart.Escape(run.Params[name])})
	}
	warnings := b.plan.Warnings
	if r := b.plan.Resolved; r != nil {
		f.Keep, f.Down, f.Limits = b.keep(*r), b.down(*r), b.limits(*r)
		warnings = slices.Concat(warnings, r.Warnings)
	}
	for _, w := range warnings {
		f.Warnings = append(f.Warnings, sentenceOf(said.In(b.lang, w), now))
	}
	silent, untold := silenced(b.lang, run)
	f.Silent = silent
	for _, w := range untold {
		f.Warnings = append(f.Warnings, sentenceOf(w, now))
	}
	for _, h := range b.plan.Hosts {
		switch {
		case h.Beside:
			f.Beside++
		case h.LeftOut:
			f.LeftOut = append(f.LeftOut, leftOut{h.Name, said.In(b.lang, h.Why)})
		}
	}
	return f
}

// batches says how many hosts are touched at once.
func (b *board) batches() string {
	sizes := b.plan.Batches
	switch {
	case len(sizes) == 0:
		return ""
	case slices.Max(sizes) == 1:
		return say(b.lang, "run.batches.one")
	case len(sizes) == 1:
		return say(b.lang, "run.batches.all")
	}
	const most = 8
	var parts []string
	for _, n := range sizes[:min(len(sizes), most)] {
		parts = append(parts, strconv.Itoa(n))
	}
	if len(sizes) > most {
		parts = append(parts, "…")
	}
	return strings.Join(parts, " + ")
}

// keep says how many hosts stay healthy.
func (b *board) keep(r restart.Resolved) string {
	switch rule := b.plan.Strategy.MinAvailable; {
	case rule == "":
		return ""
	case r.Healthy == 0:
		return say(b.lang, "run.keep.none", rule)
	default:
		return say(b.lang, "run.keep.some", r.Keep, r.Healthy, rule)
	}
}

// down says whether when_down is used, and why.
func (b *board) down(r restart.Resolved) string {
	if r.WhenDown == "" {
		return ""
	}
	return say(b.lang, "down."+string(r.WhenDown))
}

// limits says how long it may take.
func (b *board) limits(r restart.Resolved) string {
	if r.Longest == 0 {
		return ""
	}
	all := say(b.lang, "run.limits.all", took(b.lang, r.Longest.Std()))
	if b.plan.Deadline == 0 {
		return all
	}
	return say(b.lang, "run.limits.health", took(b.lang, b.plan.Deadline.Std())) + "; " + all
}

// density says how much room each host has in the strip.
func (b *board) density() string {
	switch {
	case b.total <= fewHosts:
		return "few"
	case b.total <= 120:
		return "some"
	}
	return "many"
}

// strip gives the hosts as cells, by batch; nil where there are too many.
func (b *board) strip(latest []restart.Task) [][]cell {
	if len(latest) > maxCells {
		return nil
	}
	var out [][]cell
	for i, t := range latest {
		if i == 0 || latest[i-1].Batch != t.Batch {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], b.cell(t))
	}
	return out
}

func (b *board) cell(t restart.Task) cell {
	state := say(b.lang, "taskstate."+string(t.State))
	if d := decisionOf(b.lang, t); d != "" {
		state += ", " + d
	}
	c := cell{Position: t.Position, Tone: toneOf(t), Tooltip: t.Host + ": " + state, URL: "/runs/" + t.RunID + "#host-" + strconv.Itoa(t.Position), Named: b.total <= fewHosts}
	if b.total > maxRows { // its row may be on another page
		c.URL = "/runs/" + t.RunID + "/hosts/" + t.Host
	}
	if c.Named {
		label := strings.TrimSuffix(t.Host, b.domain)
		c.Head, c.Tail = label, ""
		if i := strings.IndexByte(label, '.'); i > 0 {
			c.Head, c.Tail = label[:i], label[i:]
		}
		if c.Short = label[b.alike:]; b.alike > 0 {
			c.Short = "…" + c.Short
		}
	}
	return c
}

func (b *board) row(t restart.Task, note string, now time.Time) hostRow {
	r := hostRow{
		Run: t.RunID, Position: t.Position, Host: t.Host, Label: strings.TrimSuffix(t.Host, b.domain), DataCentre: restart.Escape(b.hosts[t.Host].DataCentre),
		Tone: toneOf(t), State: say(b.lang, "taskstate."+string(t.State)), Attempt: t.Attempt, Drained: t.Drained && t.State.Final(), Decision: decisionOf(b.lang, t),
		Note: said.In(b.lang, t.Error), Took: lasted(t.StartedAt, t.FinishedAt, now), Ticking: t.State.Active() && t.StartedAt != nil, Version: t.Version,
	}
	r.Domain = strings.TrimPrefix(t.Host, r.Label)
	if !t.State.Final() {
		r.Note = said.In(b.lang, note)
	}
	if t.State.Final() && t.FinishedAt == nil {
		r.Took = 0
	}
	switch {
	case t.Phase == "":
	case t.State == restart.TaskRunning:
		r.Phase, r.Doing = capital(phaseOf(b.lang, t.Phase)), true
	case t.State.Failure():
		r.Phase = phaseName(b.lang, t.Phase)
	}
	return r
}

// phaseOf says what a host is doing, phaseName what that part is called. A
// phase that this version does not know is shown by its name.
func phaseOf(l language, phase string) string { return known(l, "phase."+phase, phase) }

func phaseName(l language, phase string) string { return known(l, "phasename."+phase, phase) }

// viaOf says by which way a run was asked for.
func viaOf(l language, via string) string { return known(l, "via."+via, via) }

// capital makes a sentence begin as it should.
func capital(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[n:]
}

func known(l language, key, otherwise string) string {
	if _, ok := catalogue[key]; !ok {
		return restart.Escape(otherwise)
	}
	return say(l, key)
}
