package web

import (
	"context"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// acts is the part of a run's page by which people act on it: what the one who
// looks may do now, and nothing else.
type acts struct {
	Live     bool
	Run      string
	Version  int64  // of the run that is shown: what is pressed is meant for it
	Key      string // of the request that a form makes, so that a double click is one
	Start    bool   // a draft, on its own page
	Hosts    int    // that a start would touch
	Frozen   bool   // it would be started, but a freeze stands in the way
	MayBreak bool   // past which the one who looks may start it
	Approve  bool   // and reject
	By       string // in whose name it would start
	Withdraw bool
	Past     bool // it waits for an approval, past which the one who looks may start it
	Pause    bool
	Abort    bool
	Force    bool // there is something to kill
	Resume   bool
	Decide   []undecided
	Retry    int      // hosts that are left; 0 = no retry
	Undrain  []string // hosts that are drained
	Thaws    bool     // a freeze has paused it: it may be resumed afterwards
	Sent     filled   // the form of these that was refused
}

// undecided is a host about which a person has to say what became of it.
type undecided struct {
	Host  string
	Again bool // the run could still try it once more
}

// acts finds out what the visitor may do with a run as it stands; frozen tells
// whether a freeze stands in its way.
func (s *site) acts(ctx context.Context, actor restart.Actor, run restart.Run, frozen bool, now time.Time) acts {
	a := acts{Run: run.ID, Version: run.Version, Key: restart.NewID(now)}
	mayControl, mayAct := s.cfg.Control.Allowed(ctx, actor, run)
	ending := run.Control == restart.ControlAbort || run.Control == restart.ControlForceAbort
	going := run.State == restart.RunRunning || run.State == restart.RunQueued || run.State == restart.RunPaused
	if run.State == restart.RunDraft && run.Actor == actor.Name && run.Plan != nil {
		a.Start, a.Frozen, a.Hosts = mayAct && !frozen, mayAct && frozen, len(run.Plan.Chosen())
		a.MayBreak = a.Frozen && s.cfg.Control.MayBreakGlass(ctx, actor, run)
	}
	if run.State == restart.RunAwaitingApproval && run.Plan != nil {
		own := run.Actor == actor.Name
		a.Approve, a.By, a.Hosts = s.cfg.Control.MayDecideApproval(ctx, actor, run), run.Actor, len(run.Plan.Chosen())
		a.Withdraw, a.Abort = own, !own && mayControl && !a.Approve
		a.Past = own && mayAct && s.cfg.Control.MayBreakGlass(ctx, actor, run)
	}
	if mayControl && going {
		a.Pause = run.State != restart.RunPaused && run.Control == restart.ControlNone
		a.Abort = !ending
		a.Force = run.Control != restart.ControlForceAbort && slices.ContainsFunc(run.Tasks, func(t restart.Task) bool { return t.State.Active() })
	}
	if !mayAct || run.State == restart.RunDraft || run.State == restart.RunAwaitingApproval {
		return a
	}
	open := run.Undecided()
	for _, t := range open {
		a.Decide = append(a.Decide, undecided{Host: t.Host, Again: going && !ending})
	}
	a.Resume = run.State == restart.RunPaused && len(open) == 0 && !ending && !frozen
	a.Thaws = run.State == restart.RunPaused && run.Cause == restart.CauseFreeze && len(open) == 0 && !ending
	if run.State.Final() {
		a.Retry = len(run.Left())
	}
	if (run.State.Final() || run.State == restart.RunPaused) && run.Work != restart.WorkUndrain { // one that goes on would take the form from under who fills it in
		for _, t := range run.Drained() {
			a.Undrain = append(a.Undrain, t.Host)
		}
	}
	return a
}

// Any tells whether there is anything to press.
func (a acts) Any() bool {
	return a.Start || a.Frozen || a.Approve || a.Withdraw || a.Pause || a.Abort || a.Force || a.Resume || len(a.Decide) > 0 || a.Retry > 0 || len(a.Undrain) > 0
}

// has tells whether there is a form of that name, where something is typed.
func (a acts) has(form string) bool {
	switch form {
	case "approve", "reject":
		return a.Approve
	case "retry":
		return a.Retry > 0
	case "undrain":
		return len(a.Undrain) > 0
	}
	return slices.ContainsFunc(a.Decide, func(u undecided) bool { return form == "decide-"+u.Host })
}

// same tells whether two show the same, whichever version they are of.
func (a acts) same(b acts) bool {
	return a.Start == b.Start && a.Approve == b.Approve && a.Withdraw == b.Withdraw && a.Past == b.Past && a.Frozen == b.Frozen && a.MayBreak == b.MayBreak && a.Pause == b.Pause && a.Abort == b.Abort && a.Force == b.Force && a.Resume == b.Resume && a.Thaws == b.Thaws && a.Retry == b.Retry &&
		slices.Equal(a.Decide, b.Decide) && slices.Equal(a.Undrain, b.Undrain)
}

// relation is a run that this one was made from, or that was made from it.
type relation struct{ ID, Text string }

// relations links a run to the others.
func relations(l language, run restart.Run) []relation {
	var out []relation
	if run.Parent != "" {
		key := "run.retries"
		if run.Work == restart.WorkUndrain {
			key = "run.undrains"
		}
		out = append(out, relation{run.Parent, say(l, key)})
	}
	for _, c := range run.Children {
		key := "run.retried"
		if c.Work == restart.WorkUndrain {
			key = "run.undrained"
		}
		out = append(out, relation{c.ID, say(l, key, c.Actor, say(l, "runstate."+string(c.State)))})
	}
	return out
}

// decisionOf says what somebody has decided about a task; "" = nobody has.
func decisionOf(l language, t restart.Task) string {
	if t.Decision == nil {
		return ""
	}
	return say(l, "run.decided", known(l, "verdict."+string(t.Decision.Verdict), string(t.Decision.Verdict)), restart.Escape(t.Decision.By))
}
