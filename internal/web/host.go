package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// maxText bounds the text of one output, and of one piece of evidence, that a
// page shows, in bytes.
const maxText = 64 << 10

// maxSamples bounds the looks at health that a page lists; a host keeps no more.
const maxSamples = 50

// hostView is one host of a run with all its attempts, the newest first.
type hostView struct {
	Run, Service, Environment, Host string
	Tone                            tone
	State                           string
	Attempts                        []attempt
}

// attempt is one task, with what the agent said of it.
type attempt struct {
	Number              int
	Run, Host, Task     string
	Tone                tone
	State, Phase, Error string
	Decision, Reason    string // what a person has said of it, and why
	ExitCode            *int
	Drained             bool
	Containment         string
	Phases              []phaseLine
	Sample              *sample  // the newest look at health, where nothing else says it
	Samples             []sample // all that the host keeps, the newest first
	Healthy             int      // of these
	Warnings            []string
	Evidence            []evidence
	Withheld            bool       // the text of Evidence is for others
	Dumps               []dumpLine // that were taken by it, to those who may look at them
	Output              []row
	Shown, Size         int64 // bytes of the output: shown, and printed in all
	Started             bool
}

type phaseLine struct {
	Name    string
	Began   moment
	Took    time.Duration
	Ticking bool
	Tone    tone
	Result  string
}

type sample struct {
	At      moment
	Healthy bool
	Detail  string
}

type evidence struct {
	Title, Text, Error string
	Cut                int64 // bytes left out
}

func (s *site) showHost(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	host := v.PathValue("host")
	all := run.Tasks
	if len(all) == 0 {
		all = hostsOf(run)
	}
	var tasks []restart.Task
	for _, t := range all {
		if t.Host == host {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 {
		return restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "problem.nohost", v.lang.Quote(host)))
	}
	slices.SortFunc(tasks, func(a, b restart.Task) int { return b.Attempt - a.Attempt })
	view := hostView{Run: run.ID, Service: run.Service, Environment: run.Environment, Host: host, Tone: toneOf(tasks[0]), State: say(v.lang, "taskstate."+string(tasks[0].State))}
	dumps, err := s.dumpsByTask(v, run, host)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		a, err := s.attempt(v, run, t)
		if err != nil {
			return err
		}
		a.Dumps = s.dumpLines(v.lang, dumps[t.ID])
		view.Attempts = append(view.Attempts, a)
	}
	page := hostPage{layout: s.layout(v, view.State+" · "+say(v.lang, "host.title", host, run.Service)), Host: view}
	page.Files = []string{"output.js"}
	if !run.State.Final() {
		page.Reload = liveReload
		page.Events = "/runs/" + run.ID + "/events?after=" + strconv.FormatInt(run.Version, 10)
		page.Scripts = true
	}
	return s.show(w, v, http.StatusOK, pageHost, page)
}

func (s *site) attempt(v *visit, run restart.Run, t restart.Task) (attempt, error) {
	if t.ID == "" { // of a plan that is not started
		return attempt{Tone: toneOfTask(t.State), State: say(v.lang, "taskstate."+string(t.State))}, nil
	}
	now := s.cfg.Now()
	detail, err := s.cfg.Control.TaskDetail(v.Context(), v.actor, run.ID, t.ID)
	if err != nil {
		return attempt{}, err
	}
	status := detail.Status
	a := attempt{
		Number: t.Attempt, Run: run.ID, Host: t.Host, Task: t.ID, Tone: toneOf(t), State: say(v.lang, "taskstate."+string(t.State)),
		Error: said.In(v.lang, t.Error), ExitCode: t.ExitCode, Drained: t.Drained && t.State.Final(), Containment: said.In(v.lang, status.Containment),
		Started: t.StartedAt != nil, Withheld: detail.Withheld,
	}
	if t.Decision != nil {
		a.Decision, a.Reason = decisionOf(v.lang, t), restart.Escape(t.Decision.Reason)
	}
	if t.State == restart.TaskRunning && t.Phase != "" {
		a.Phase = phaseOf(v.lang, t.Phase)
	}
	for _, p := range status.Phases {
		a.Phases = append(a.Phases, phaseLineOf(v.lang, p, t.State, now))
	}
	for _, h := range slices.Backward(status.Health[max(len(status.Health)-maxSamples, 0):]) {
		a.Samples = append(a.Samples, sample{At: momentOf(h.At, now), Healthy: h.Healthy, Detail: said.In(v.lang, h.Detail)})
		if h.Healthy {
			a.Healthy++
		}
	}
	if len(a.Samples) > 0 && (!t.State.Final() || t.State == restart.TaskSucceeded) { // otherwise the error says it
		a.Sample = &a.Samples[0]
	}
	for _, w := range status.Warnings {
		a.Warnings = append(a.Warnings, said.In(v.lang, w))
	}
	for _, e := range status.Evidence {
		a.Evidence = append(a.Evidence, evidenceOf(v.lang, e))
	}
	a.Output, a.Shown, a.Size, err = s.outputTail(v, t, maxText)
	return a, err
}

func phaseLineOf(l language, p protocol.PhaseReport, state restart.TaskState, now time.Time) phaseLine {
	line := phaseLine{Name: phaseName(l, string(p.Phase)), Began: momentOf(p.StartedAt, now), Took: lasted(&p.StartedAt, p.FinishedAt, now), Tone: toneDone, Result: say(l, "host.ok")}
	switch {
	case p.Error != "":
		line.Tone, line.Result = toneFail, said.In(l, p.Error)
	case p.ExitCode != nil && *p.ExitCode != 0:
		line.Tone, line.Result = toneFail, ""
	case p.FinishedAt == nil && state.Final():
		line.Tone, line.Result, line.Took = toneUnknown, say(l, "host.stopped"), 0
	case p.FinishedAt == nil:
		line.Tone, line.Result, line.Ticking = toneNow, say(l, "host.goingon"), true
	}
	if p.ExitCode != nil && *p.ExitCode != 0 {
		if line.Result != "" {
			line.Result += ", "
		}
		line.Result += say(l, "host.exit", *p.ExitCode)
	}
	return line
}

func evidenceOf(l language, e protocol.EvidenceItem) evidence {
	text, cut := tail([]byte(e.Text), maxText)
	x := evidence{Title: known(l, "evidence."+e.Kind, e.Kind), Text: plain(text), Cut: cut + max(e.Truncated, 0)}
	if e.Error != "" {
		x.Error = say(l, "evidence.error", said.In(l, e.Error))
	}
	return x
}
