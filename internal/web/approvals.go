package web

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// approvalView says what was asked for before a run starts, and what became of it.
type approvalView struct {
	Text, Reason string
	Until        *moment // while it waits
}

// awaitingLine is one run of the list of those that wait.
type awaitingLine struct {
	ID, URL, Service, Environment, Scenario, By, Reason, Who string
	Hosts                                                    int
	AskedAt, Until                                           moment
	For                                                      *moment // that it is planned for; nil = for now
	Mine                                                     bool    // the reader may decide
}

// stepsView is what runs on each host.
type stepsView struct {
	Page, Host         string // Page = the path on which another host is chosen
	RunAs, Shell, Note string
	Variables          []param
	Steps              []stepView
	Hosts              []approvedLine
	More               int // hosts of the plan that are not listed
}

// approvedLine is one host of the plan, as it was when it was confirmed.
type approvedLine struct {
	Batch                                int
	Host, Centre, Health, Version, Agent string
}

// maxPlanned is how many hosts of a plan are listed with what was known of them.
const maxPlanned = 200

// approvedHosts lists the hosts of a plan in the order in which they will be touched.
func approvedHosts(l language, plan *restart.Plan) (lines []approvedLine, more int) {
	if plan == nil {
		return nil, 0
	}
	batch, left := 0, 0
	for _, h := range plan.Chosen() {
		if left == 0 && batch < len(plan.Batches) {
			left = plan.Batches[batch]
			batch++
		}
		left--
		if len(lines) == maxPlanned {
			more++
			continue
		}
		lines = append(lines, approvedLine{
			Batch: batch, Host: h.Name, Centre: restart.Escape(h.DataCentre), Health: known(l, "planned."+h.Health, h.Health), Version: restart.Escape(h.Version), Agent: said.In(l, h.Agent),
		})
	}
	return lines, more
}

type stepView struct{ Name, When, Script string }

func approvalOf(l language, run restart.Run, now time.Time) *approvalView {
	a := run.Approval
	if a == nil {
		return nil
	}
	switch a.Verdict {
	case restart.ApprovalPending:
		return &approvalView{Text: say(l, "approval.pending", restart.Escape(said.In(l, a.Rule))), Until: new(momentOf(a.Until, now))}
	case restart.ApprovalExpired:
		return &approvalView{Text: say(l, "approval.expired")}
	case restart.ApprovalWaived:
		return &approvalView{Text: say(l, "approval.waived", a.By)}
	}
	return &approvalView{Text: say(l, "approval."+string(a.Verdict), a.By), Reason: restart.Escape(a.Reason)}
}

// steps gives the scripts to whoever looks at a run that waits for an approval.
func (s *site) steps(v *visit, run restart.Run) (*stepsView, error) {
	if run.State != restart.RunAwaitingApproval {
		return nil, nil
	}
	return chosenSteps(v, func(host string) (*stepsView, error) { return s.stepsOn(v, run, host) })
}

// plannedSteps gives them of what is planned and may start still.
func (s *site) plannedSteps(v *visit, p restart.Schedule) (*stepsView, error) {
	if !p.State.Open() || p.Plan == nil {
		return nil, nil
	}
	return chosenSteps(v, func(host string) (*stepsView, error) {
		found, err := s.cfg.Control.PlannedSteps(v.Context(), v.actor, p.ID, host)
		if err != nil {
			return nil, err
		}
		return stepsViewOf(v.lang, "/planned/"+p.ID, found, p.Plan), nil
	})
}

// chosenSteps shows the scripts on the host that was chosen, and on the first
// one where that is of another run.
func chosenSteps(v *visit, on func(host string) (*stepsView, error)) (*stepsView, error) {
	host := v.URL.Query().Get("host")
	steps, err := on(host)
	if restart.CodeOf(err) == restart.CodeNotFound && host != "" {
		steps, err = on("")
	}
	return steps, err
}

// stepsOn gives the scripts of a run as a host would run them; "" = its first.
func (s *site) stepsOn(v *visit, run restart.Run, host string) (*stepsView, error) {
	found, err := s.cfg.Control.Steps(v.Context(), v.actor, run.ID, host)
	if err != nil {
		return nil, err
	}
	return stepsViewOf(v.lang, "/runs/"+run.ID, found, run.Plan), nil
}

func stepsViewOf(l language, page string, found wire.Steps, plan *restart.Plan) *stepsView {
	out := &stepsView{Page: page, Host: found.Host, RunAs: found.RunAs, Shell: restart.Escape(found.Shell), Note: said.In(l, found.Note)}
	out.Hosts, out.More = approvedHosts(l, plan)
	for _, name := range slices.Sorted(maps.Keys(found.Variables)) {
		out.Variables = append(out.Variables, param{restart.Escape(name), restart.Escape(found.Variables[name])})
	}
	for _, step := range found.Steps {
		out.Steps = append(out.Steps, stepView{say(l, "stepname."+step.Name), step.When, scriptText(step.Script)})
	}
	return out
}

// scriptText leaves nothing out: what can't be printed is shown by its number.
func scriptText(script string) string {
	lines := strings.Split(script, "\n")
	for i, line := range lines {
		cells := strings.Split(line, "\t")
		for j := range cells {
			cells[j] = restart.Escape(cells[j])
		}
		lines[i] = strings.Join(cells, "\t")
	}
	return strings.Join(lines, "\n")
}

func (s *site) listApprovals(w http.ResponseWriter, v *visit) error {
	list, err := s.cfg.Control.Approvals(v.Context(), v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := approvalsPage{layout: s.layout(v, say(v.lang, "approvals.title")), Poll: "/approvals"}
	page.Scripts, page.Reload = true, liveReload
	for _, a := range list {
		page.Runs = append(page.Runs, awaitingLineOf(v.lang, a, now))
	}
	return s.show(w, v, http.StatusOK, pageApprovals, page)
}

func awaitingLineOf(l language, a wire.AwaitingRun, now time.Time) awaitingLine {
	return awaitingLine{
		ID: a.ID(), URL: a.Path(), Service: a.Service, Environment: a.Environment, Scenario: a.Scenario, By: a.Actor, Reason: restart.Escape(a.Reason), Who: said.In(l, a.Who),
		Hosts: a.Hosts, AskedAt: momentOf(a.AskedAt, now), Until: momentOf(a.Until, now), Mine: a.MayDecide, For: maybeMoment(a.PlannedFor, now),
	}
}
