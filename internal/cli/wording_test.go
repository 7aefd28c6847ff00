package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestEvidenceIsHarmless(t *testing.T) {
	var out bytes.Buffer
	writeDetail(&out, wire.TaskDetail{Status: protocol.TaskStatus{Evidence: []protocol.EvidenceItem{{Kind: "process", Text: "Pid:    7\nred \x1b[31m\n"}}}}, noon)
	if !strings.Contains(out.String(), "  Pid:    7\n  red \\x1b[31m\n") {
		t.Errorf("%q", out.String())
	}
}

func TestEvidenceForOthersIsNamed(t *testing.T) {
	var out bytes.Buffer
	writeDetail(&out, wire.TaskDetail{Withheld: true, Status: protocol.TaskStatus{Evidence: []protocol.EvidenceItem{{Kind: "journal"}, {Kind: "process", Error: "it is gone"}}}}, noon)
	if want := "evidence: what is in it is shown to those who may view the service's dumps\nevidence: journal\nevidence: process\n  it is gone\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q", out.String())
	}
}

func TestARunThatGoesOnHasNotFinished(t *testing.T) {
	started, finished := noon.Add(-90*time.Second), noon
	for want, run := range map[string]restart.Run{
		"finished: running for 1m30s\n": {State: restart.RunRunning, StartedAt: &started},
		"finished: -\n":                 {State: restart.RunPaused, StartedAt: &started},
		" (1m30s)\n":                    {State: restart.RunCompleted, StartedAt: &started, FinishedAt: &finished},
	} {
		var out bytes.Buffer
		writeRun(&out, run, noon)
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "- (") {
			t.Errorf("want %q: %s", want, out.String())
		}
	}
}

// TestAHostIsNamedOnce: what the server says of a host begins with its name,
// and so does the line.
func TestAHostIsNamedOnce(t *testing.T) {
	why := "shop1: nothing listens"
	h := restart.PlannedHost{Host: restart.Host{Name: "shop1"}, LeftOut: true, Agent: why, Why: why}
	run := restart.Run{
		Plan:  &restart.Plan{Hosts: []restart.PlannedHost{h}},
		Tasks: []restart.Task{{ID: "1", Host: "shop1", State: restart.TaskUnreachable, Error: why}},
	}
	var out bytes.Buffer
	writeRun(&out, run, noon)
	advise(&out, run)
	writePlan(&out, *run.Plan)
	(&lines{w: &out, seen: map[string]string{}}).show(run, noon)
	out.WriteString(strings.Join(paint(run, noon, 80, 24, false), "\n"))
	writeChecks(&out, []wire.HostCheck{{Host: h.Host, State: wire.HostClosed, Error: restart.Errorf(restart.CodeUnreachable, "%s", why)}}, false)
	if strings.Contains(out.String(), why) && strings.Count(out.String(), why) != strings.Count(out.String(), "left out: "+why) {
		t.Errorf("%s", out.String())
	}
	for _, want := range []string{"left out: shop1: nothing listens\n", "shop1 was left out: nothing listens\n", "shop1 unreachable: nothing listens\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// TestInterruptedFrameIsBegunAnew: what was written below a frame stays.
func TestInterruptedFrameIsBegunAnew(t *testing.T) {
	var out bytes.Buffer
	p := &painter{w: &out, size: func() (int, int) { return 80, 24 }}
	p.show(fleet(2, func(int) restart.TaskState { return restart.TaskPlanned }), noon)
	p.interrupted()
	out.Reset()
	p.tick(noon)
	if strings.Contains(out.String(), "A\r") {
		t.Errorf("the frame goes up over what was said: %q", out.String())
	}
}

func TestLife(t *testing.T) {
	for text, want := range map[string]time.Duration{"90d": 90 * day, "12h": 12 * time.Hour, "1m30s": 90 * time.Second} {
		var l life
		if err := l.Set(text); err != nil || time.Duration(l) != want {
			t.Errorf("%s: %v %v", text, time.Duration(l), err)
		}
		var again life
		if err := again.Set(l.String()); err != nil || again != l {
			t.Errorf("%s comes back as %s: %v", text, again.String(), err)
		}
	}
}

// Of a run that a freeze has paused: resume only leads on once that is over.
func TestARunThatAFreezeHasPausedIsToldHowToGoOn(t *testing.T) {
	var out bytes.Buffer
	advise(&out, restart.Run{ID: "1", State: restart.RunPaused, Cause: restart.CauseFreeze})
	for _, want := range []string{"once the freeze is over: restartilka resume 1\n", "restartilka abort 1, then restartilka retry 1 --break-glass --reason TEXT\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// A freeze that is to come says when it ends, and both by whose clock.
func TestAFreezeToComeSaysWhenItEnds(t *testing.T) {
	f := wire.Freeze{Begins: noon, Ends: noon.Add(72 * time.Hour)}
	zone, _ := noon.Local().Zone()
	if got, want := freezeWord(f), "from "+noon.Local().Format("2006-01-02 15:04")+" "+zone+" until "+noon.Add(72*time.Hour).Local().Format("2006-01-02 15:04"); !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAWishIsNamedAsItsCommand(t *testing.T) {
	if got := runWord(restart.Run{State: restart.RunCompleted, Work: restart.WorkRehearse}); got != "completed, a rehearsal" {
		t.Errorf("a rehearsal: %s", got)
	}
	if got := runWord(restart.Run{State: restart.RunRunning, Control: restart.ControlForceAbort}); got != "running, force-abort asked for" {
		t.Error(got)
	}
}
