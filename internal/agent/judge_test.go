package agent

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func recordFor(t rapid.TB, now time.Time, age time.Duration) spool.Record {
	t.Helper()
	e := protocol.Envelope{
		Version: 1, Task: restart.NewID(now), Run: restart.NewID(now), Host: "web1", Service: "nginx",
		NotBefore: now.Add(-age), Expiry: now.Add(protocol.Lifetime - age),
	}
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return spool.Record{ID: e.Task, Received: &spool.Received{Sealed: protocol.Sealed{Payload: payload}, Epoch: 1, ReceivedAt: now.Add(-age)}, Epoch: 1}
}

func TestJudge(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(age time.Duration, change func(*spool.Record)) spool.Record {
		r := recordFor(t, now, age)
		if change != nil {
			change(&r)
		}
		return r
	}
	started := func(s spool.Started) func(*spool.Record) { return func(r *spool.Record) { r.Started = &s } }
	for name, c := range map[string]struct {
		record   spool.Record
		alive    bool
		launches int
		do       action
		outcome  protocol.Outcome
		says     string
	}{
		"fresh":                            {at(0, nil), false, 0, launch, "", ""},
		"fresh, its supervisor lives":      {at(0, nil), true, 1, keep, "", ""},
		"its folder is emptied":            {at(0, func(r *spool.Record) { r.Received = nil }), false, 1, settle, protocol.OutcomeUnknown, "is gone"},
		"its supervisors die silently":     {at(0, nil), false, maxLaunches, settle, protocol.OutcomeNotStarted, "without a word"},
		"over":                             {at(time.Minute, nil), false, 0, settle, protocol.OutcomeNotStarted, "over before"},
		"over, its supervisor lives":       {at(time.Minute, nil), true, 1, keep, "", ""},
		"runs":                             {at(time.Minute, started(spool.Started{BootID: "b"})), true, 1, keep, "", ""},
		"its supervisor was killed":        {at(0, started(spool.Started{BootID: "b"})), false, 1, settle, protocol.OutcomeUnknown, "killed"},
		"the host was restarted":           {at(0, started(spool.Started{BootID: "a"})), false, 0, settle, protocol.OutcomeUnknown, "host was restarted"},
		"a dump's supervisor was killed":   {at(0, started(spool.Started{BootID: "b", Scriptless: true})), false, 1, settle, protocol.OutcomeFailed, "killed while dumps were taken; nothing was changed"},
		"the host was restarted in a dump": {at(0, started(spool.Started{BootID: "a", Scriptless: true})), false, 0, settle, protocol.OutcomeFailed, "the host was restarted while dumps were taken"},
		"a dump goes on":                   {at(time.Minute, started(spool.Started{BootID: "b", Scriptless: true})), true, 1, keep, "", ""},
		"void":                             {at(0, started(spool.Started{Void: true})), false, 0, settle, protocol.OutcomeNotStarted, "before it started"},
		"done": {at(0, func(r *spool.Record) {
			r.Started = &spool.Started{}
			r.Done = &protocol.TaskStatus{Stage: restart.StageDone, Outcome: protocol.OutcomeFailed}
		}), true, 1, settle, protocol.OutcomeFailed, ""},
		"broken": {at(0, func(r *spool.Record) { r.Err = errors.New("bit rot") }), false, 0, settle, protocol.OutcomeUnknown, "bit rot"},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(c.record, c.alive, c.launches, now, "b")
			if v.do != c.do || v.status.Outcome != c.outcome || !strings.Contains(v.status.Error, c.says) {
				t.Errorf("%s, %+v", v.do, v.status)
			}
			if (v.do == settle) != (v.status.Stage == restart.StageDone) {
				t.Errorf("%s with stage %s", v.do, v.status.Stage)
			}
		})
	}
}

// Whatever the files say: nothing that may have started is launched, nothing
// is launched beside a living supervisor or after the envelope is over, and
// what has not started is never called anything but not_started.
func TestJudgeNeverLaunchesTwice(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		age := time.Duration(rapid.Int64Range(-int64(time.Minute), int64(time.Hour)).Draw(t, "age"))
		r := recordFor(t, now, age)
		if rapid.Bool().Draw(t, "started") {
			r.Started = &spool.Started{Void: rapid.Bool().Draw(t, "void"), BootID: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "boot")}
		}
		if rapid.Bool().Draw(t, "progress") {
			r.Progress = &protocol.TaskStatus{Stage: restart.StageStarted, Revision: 5, Phase: protocol.PhaseDrain, Drained: true}
		}
		if rapid.Bool().Draw(t, "done") {
			r.Done = &protocol.TaskStatus{Stage: restart.StageDone, Outcome: protocol.OutcomeSucceeded}
		}
		if rapid.Bool().Draw(t, "broken") {
			r.Err = errors.New("broken")
		}
		alive := rapid.Bool().Draw(t, "alive")
		v := judge(r, alive, rapid.IntRange(0, 4).Draw(t, "launches"), now, "b")
		if v.do == launch && (r.Started != nil || r.Done != nil || r.Err != nil || alive || age > protocol.Lifetime) {
			t.Fatalf("launched: %+v", r)
		}
		if v.status.Outcome == protocol.OutcomeNotStarted && r.Started != nil && !r.Started.Void {
			t.Fatalf("not started? %+v", r)
		}
		if v.do == settle && r.Done == nil && alive {
			t.Fatalf("settled beside its supervisor: %+v", r)
		}
	})
}
