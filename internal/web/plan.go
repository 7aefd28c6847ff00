package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// centresShown bounds the data centres that the hosts of a plan are narrowed by.
const centresShown = 50

// mostDifferences bounds what is listed of how a plan has changed.
const mostDifferences = 20

// drawing is how a plan is to be shown: what was ticked, and what came of it.
type drawing struct {
	run     restart.Run
	ticked  map[string]bool // nil = as the plan has it
	sent    filled          // with what is wrong with that
	refused *restart.Error  // what a start was answered with; nil = none was tried
}

// planAgain shows a plan whose start was refused, with why and with the ticks as
// they were. What is no answer to the form is given back.
func (s *site) planAgain(w http.ResponseWriter, v *visit, refused error) error {
	e := answers(refused)
	now, err := s.run(v)
	if e == nil || err != nil || now.State != restart.RunDraft || now.Plan == nil || now.Actor != v.actor.Name {
		return refused
	}
	d := drawing{run: now, refused: e}
	if v.PostForm.Has("ticked") {
		d.ticked = set(v.PostForm["hosts"])
	}
	return s.drawPlan(w, v, protocol.StatusOf(e.Code), d)
}

// showPlan shows a draft to whoever looks: all that is to be known before the
// button is pressed.
func (s *site) showPlan(w http.ResponseWriter, v *visit, run restart.Run) error {
	d := drawing{run: run}
	if query := v.URL.Query(); query.Has("ticked") { // from this page, to look at something else
		d.ticked = set(query["hosts"])
	} else if only := query.Get("only"); only != "" { // back from the next one
		hosts, err := hostsAt(*run.Plan, only)
		if err != nil {
			return err
		}
		d.ticked = set(hosts)
	}
	return s.drawPlan(w, v, http.StatusOK, d)
}

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, name := range names {
		out[name] = true
	}
	return out
}

func (s *site) drawPlan(w http.ResponseWriter, v *visit, status int, d drawing) error {
	run, now := d.run, s.cfg.Now()
	b := newBoard(v.lang, run)
	page := planPage{
		layout: s.layout(v, b.title(run)), ID: run.ID, Service: run.Service, Environment: run.Environment, Heading: heading(v.lang, run),
		Tone: toneOfRun(run.State), State: say(v.lang, "runstate."+string(run.State)), Reason: restart.Escape(run.Reason), By: run.Actor,
		Created: momentOf(run.CreatedAt, now), Looked: momentOf(run.Plan.MadeAt, now), Version: run.Version, Sent: d.sent,
		Mine: run.Actor == v.actor.Name, Own: formFor(run), Second: s.cfg.Control.Deliberate(v.Context(), run), Check: "/runs/" + run.ID + "/check",
	}
	page.Only = onlyOf(v.lang, run)
	if page.Mine && run.Via != "" {
		page.By = say(v.lang, "run.via", run.Actor, viaOf(v.lang, run.Via))
	}
	if d.refused != nil {
		page.Refused = s.trouble(v, d.refused, run.Service)
	}
	for _, step := range []func(*visit, *planPage, drawing, time.Time) error{s.ticketInTheWay, s.standsInTheWay, s.planChanged, s.plannedHosts, s.planNumbers, s.planSteps, s.checkInPage} {
		if err := step(v, &page, d, now); err != nil {
			return err
		}
	}
	page.Later = mayPlan(&page, run)
	n := len(run.Plan.Chosen())
	if d.ticked != nil {
		n = len(d.chosen())
	}
	page.Button, page.Forms = buttonOf(v.lang, run, n, page.Approval != nil)
	page.Scripts, page.Files = true, []string{"start.js"}
	return s.show(w, v, status, pagePlan, page)
}

// chosen gives the hosts that a start would touch.
func (d drawing) chosen() []string {
	var out []string
	for _, h := range d.run.Plan.Asked() {
		if d.ticks(h) {
			out = append(out, h.Name)
		}
	}
	return out
}

func (d drawing) ticks(h restart.PlannedHost) bool {
	if d.ticked == nil {
		return !h.LeftOut
	}
	return d.ticked[h.Name]
}

// verbOf is what a run does, as a part of a text's key.
func verbOf(run restart.Run) string {
	switch {
	case run.Work == restart.WorkUndrain:
		return "undrain"
	case run.Work == restart.WorkRehearse:
		return "rehearse"
	case run.Kind == restart.KindThreadDump:
		return "dump"
	case run.Kind == restart.KindCustom:
		return "custom"
	}
	return "restart"
}

func heading(l language, run restart.Run) string {
	return say(l, "planverb."+verbOf(run), run.Service)
}

// onlyOf says that a run does not do the whole scenario.
func onlyOf(l language, run restart.Run) string {
	switch run.Work {
	case restart.WorkUndrain:
		return say(l, "run.only")
	case restart.WorkRehearse:
		return say(l, "run.rehearsal")
	}
	return ""
}

// buttonOf gives the text of the green button, and all its forms for other
// numbers, which take the place of what "#" stands for. asks: it starts nothing
// yet, but asks for an approval.
func buttonOf(l language, run restart.Run, n int, asks bool) (text, forms string) {
	of := say(l, "plan.of", run.Service, run.Environment)
	if run.Environment == "" {
		of = say(l, "plan.of.service", run.Service)
	}
	key := "planbutton." + verbOf(run)
	if asks {
		key = "planasks." + verbOf(run)
	}
	text = count(l, key, n) + " " + of
	var all []string
	for form := range strings.SplitSeq(catalogue[key].in(l), "|") {
		all = append(all, strings.Replace(form, "%d", "#", 1)+" "+of)
	}
	return text, strings.Join(all, "|")
}

// standsInTheWay says before the button what keeps the run from starting: a
// freeze, a right, another person's plan.
func (s *site) standsInTheWay(v *visit, page *planPage, d drawing, now time.Time) error {
	var err error
	if page.Frozen, err = s.frozen(v, d.run, now); err != nil {
		return err
	}
	a := s.acts(v.Context(), v.actor, d.run, page.Frozen != nil || s.logHolds() || page.NoTicket != nil, now)
	page.Start, page.MayBreak = a.Start, a.MayBreak
	if page.Frozen != nil {
		page.Lifts = said.In(v.lang, s.cfg.Control.Lifts(v.Context(), v.actor, d.run))
	}
	if e := personalOf(s.cfg.Control.MayStart(v.Context(), v.actor, d.run)); e != nil && page.Mine {
		page.Denied = s.trouble(v, e, d.run.Service)
	}
	page.Approval, page.Rule = s.approvalAsked(v, d.run, now)
	if page.Warnings, err = s.warnings(v, d.run, *d.run.Plan, now); err != nil {
		return err
	}
	return nil
}

// approvalAsked says who has to approve the run before it starts, and which rule
// wants it; nil = none does.
func (s *site) approvalAsked(v *visit, run restart.Run, now time.Time) (asks *sentence, rule string) {
	a := s.cfg.Control.Asks(v.Context(), v.actor, run)
	if a == nil {
		return nil, ""
	}
	return new(sentenceOf(say(v.lang, "plan.approval", took(v.lang, a.Within), said.In(v.lang, a.Who)), now)), said.In(v.lang, a.Rule)
}

// warnings are those of a plan, but for what its pages say by themselves: the
// freeze, the ticket and the approval. A run that has the service is a link.
func (s *site) warnings(v *visit, run restart.Run, plan restart.Plan, now time.Time) ([]sentence, error) {
	locks, err := s.cfg.Control.Locks(v.Context(), v.actor)
	if err != nil {
		return nil, err
	}
	frozen, err := s.cfg.Control.FreezeOn(v.Context(), v.actor, run)
	if err != nil {
		return nil, err
	}
	ticket, err := s.cfg.Control.PastTicket(v.Context(), v.actor, run)
	if err != nil {
		return nil, err
	}
	var out []sentence
	for _, w := range warningsOf(&plan) {
		switch {
		case w == plan.Approval,
			ticket != nil && strings.HasPrefix(w, ticket.Message),
			frozen != nil && strings.Contains(w, run.Environment+" is frozen until "):
			continue
		}
		if i := slices.IndexFunc(locks, func(l wire.Lock) bool { return strings.HasPrefix(w, "run "+l.Run+" has ") }); i >= 0 {
			l := locks[i]
			held := say(v.lang, "plan.held", l.Service, l.Environment)
			if l.Environment == "" {
				held = say(v.lang, "plan.held.service", l.Service)
			}
			out = append(out, sentence{{Text: say(v.lang, "plan.held.run", restart.Escape(l.Actor)), URL: "/runs/" + l.Run}, {Text: " " + held}})
			continue
		}
		out = append(out, saidWhole(v.lang, w, now, run.Service, run.Environment, run.Actor))
	}
	return out, nil
}

func warningsOf(p *restart.Plan) []string {
	warnings := p.Warnings
	if p.Resolved != nil {
		warnings = slices.Concat(warnings, p.Resolved.Warnings)
	}
	return warnings
}

// planChanged compares with the plan that this one took the place of.
func (s *site) planChanged(v *visit, page *planPage, d drawing, _ time.Time) error {
	id := v.URL.Query().Get("instead")
	if id == "" || restart.CheckID(id) != nil {
		return nil
	}
	before, err := s.cfg.Control.Run(v.Context(), v.actor, id)
	if restart.CodeOf(err) == restart.CodeNotFound || err == nil && (before.Plan == nil || before.Actor != d.run.Actor || before.Service != d.run.Service) {
		return nil
	}
	if err != nil {
		return err
	}
	page.Changed = &changedView{}
	list := control.Differences(*before.Plan, *d.run.Plan)
	page.Changed.More = max(len(list)-mostDifferences, 0)
	for _, x := range list[:min(len(list), mostDifferences)] {
		page.Changed.Differences = append(page.Changed.Differences, said.In(v.lang, x))
	}
	return nil
}

// plannedHosts lists the hosts of the plan: the first with all that is known of
// each, which is looked up for the page, the others in short.
func (s *site) plannedHosts(v *visit, page *planPage, d drawing, now time.Time) error {
	plan := d.run.Plan
	asked := plan.Asked()
	page.Beside = len(plan.Hosts) - len(asked)
	page.Looking = control.MaxLooked
	page.Short = max(len(asked)-control.MaxLooked, 0)
	var names, centres []string
	for _, h := range asked {
		names = append(names, h.Name)
		if h.DataCentre != "" && !slices.Contains(centres, h.DataCentre) {
			centres = append(centres, h.DataCentre)
		}
	}
	slices.Sort(centres)
	if len(centres) > 1 {
		for _, name := range centres[:min(len(centres), centresShown)] {
			page.Centres = append(page.Centres, restart.Escape(name))
		}
	}
	if centre := restart.Escape(v.FormValue("centre")); slices.Contains(page.Centres, centre) {
		page.Centre = centre
	}
	page.Refusing = v.FormValue("refused") != ""
	last, err := s.cfg.Control.LastRestarts(v.Context(), v.actor, d.run.Service, names)
	if err != nil {
		return err
	}
	domain, position := commonDomain(names), 0
	for i, h := range asked {
		line := plannedLine{
			Position: i, Host: h.Name, Label: strings.TrimSuffix(h.Name, domain), DataCentre: restart.Escape(h.DataCentre), Ticked: d.ticks(h), Short: i >= control.MaxLooked, Refuses: h.Agent != "" && h.Agent != "ready" || h.LeftOut && h.Code != "",
			Version: restart.Escape(h.Version), Agent: plannedAgent(v.lang, i, h),
		}
		line.Domain = strings.TrimPrefix(h.Name, line.Label)
		for _, tag := range h.Tags {
			line.Tags = append(line.Tags, restart.Escape(tag))
		}
		line.HealthTone, line.Health = healthOf(v.lang, h)
		if !h.LeftOut {
			line.Batch = restart.BatchOf(plan.Batches, position) + 1
			position++
		} else if h.Why != h.Agent {
			line.Why = said.In(v.lang, h.Why)
		}
		if l, ok := last[h.Name]; ok {
			line.last(v.lang, l, now)
		}
		line.Hidden = page.Mine && (page.Centre != "" && line.DataCentre != page.Centre || page.Refusing && !line.Refuses)
		page.Hosts = append(page.Hosts, line)
	}
	return nil
}

func (p *plannedLine) last(l language, x store.LastOn, now time.Time) {
	p.Last, p.Run, p.LastBy = &lastView{momentOf(x.At, now)}, x.Run, restart.Escape(x.Actor)
	p.LastTone, p.LastState = toneOfTask(x.State), say(l, "taskstate."+string(x.State))
}

// plannedAgent is what the plan has of a host's agent.
func plannedAgent(l language, position int, h restart.PlannedHost) agentView {
	a := agentView{Position: position}
	switch h.Agent {
	case "ready":
		a.Tone, a.State = toneDone, say(l, "hoststate.ready")
	case "":
		a.Tone, a.State = toneWait, say(l, "hoststate.unasked")
	default:
		a.Tone, a.State, a.Message = toneFail, say(l, "hoststate.not"), said.In(l, h.Agent)
	}
	return a
}

func healthOf(l language, h restart.PlannedHost) (tone, string) {
	switch h.Health {
	case restart.HealthHealthy:
		return toneDone, say(l, "health.healthy")
	case restart.HealthUnhealthy:
		return toneFail, say(l, "health.unhealthy")
	}
	return toneWait, say(l, "health.unknown")
}

// checkInPage asks the hosts again where somebody without JavaScript wants it.
func (s *site) checkInPage(v *visit, page *planPage, d drawing, now time.Time) error {
	if !v.URL.Query().Has("check") {
		return nil
	}
	agents, err := s.askAgents(v, d.run)
	if err != nil {
		return err
	}
	for i, a := range agents {
		a.Live = false
		page.Hosts[i].Agent = a
	}
	page.Checked = new(momentOf(now, now))
	return nil
}

// askAgents asks the hosts of a plan what they say now.
func (s *site) askAgents(v *visit, run restart.Run) ([]agentView, error) {
	checks, err := s.cfg.Control.CheckPlan(v.Context(), v.actor, run)
	if err != nil {
		return nil, err
	}
	var out []agentView
	for i, c := range checks {
		out = append(out, agentOf(v.lang, i, c))
	}
	return out, nil
}

func agentOf(l language, position int, c wire.HostCheck) agentView {
	a := agentView{Live: true, Position: position, Tone: toneDone, State: say(l, "hoststate."+string(c.State))}
	if c.State != wire.HostReady {
		a.Tone = toneFail
	}
	if c.Error != nil {
		a.Message, a.Hint = said.In(l, c.Error.Message), said.Lines(l, c.Error.Hint)
	}
	for _, f := range c.Also {
		a.Notes = append(a.Notes, said.In(l, f.Error.Message))
	}
	for _, w := range c.Warnings {
		a.Notes = append(a.Notes, said.In(l, w.Message))
	}
	return a
}

// checkPlan answers, as parts of a plan's page, what its hosts say now.
func (s *site) checkPlan(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	agents, err := s.askAgents(v, run)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	return s.part(w, v, pagePlan, "checks", checksPage{ID: run.ID, At: momentOf(now, now), Agents: agents})
}

// planSteps shows the scripts as one of the hosts would run them.
func (s *site) planSteps(v *visit, page *planPage, d drawing, now time.Time) error {
	chosen := d.run.Plan.Chosen()
	wanted := v.URL.Query().Get("host")
	if !slices.ContainsFunc(chosen, func(h restart.PlannedHost) bool { return h.Name == wanted }) {
		wanted = ""
	}
	var err error
	if page.Steps, err = s.stepsOn(v, d.run, wanted); err != nil {
		if restart.CodeOf(err) == restart.CodeInternal {
			return err
		}
		page.Warnings = append(page.Warnings, saidWhole(v.lang, personalOf(err).Message, now, d.run.Service))
		return nil
	}
	for _, h := range chosen[:min(len(chosen), control.MaxLooked)] {
		page.StepHosts = append(page.StepHosts, choice{h.Name, h.Name == page.Steps.Host})
	}
	return nil
}

// WhyID is the id of what says why a host is left out; "" = nothing does.
func (p plannedLine) WhyID() string {
	if p.Why == "" {
		return ""
	}
	return "why-" + strconv.Itoa(p.Position)
}
