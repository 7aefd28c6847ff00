package agent_test

import (
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
)

func TestATaskFromEndToEnd(t *testing.T) {
	b := newBed(t)
	b.extra = "groups: [shop-testing]\nenvironments: [testing]\n"
	digest := b.scenario(`params: {mode: {type: enum, values: [fast, slow], default: slow}}
steps:
  drain: {script: "echo drain"}
  run: {script: "echo run $PARAM_MODE $RESTARTILKA_SERVICE; echo oops >&2"}
  undrain: {script: "echo undrain"}
health:
  command: {script: "true"}
`)
	r := b.start()
	e := b.envelope(digest)
	e.Params = map[string]string{"mode": "fast"}
	r.submit(e)
	s := r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeSucceeded || s.ExitCode == nil || *s.ExitCode != 0 || s.Drained || s.Error != "" {
		t.Fatalf("status %+v", s)
	}
	if got, want := text(r.output(e.Task)), "drain\nrun fast shop\noops\nundrain\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	stone, err := r.forget(e, 1)
	b.must(err)
	if stone.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("tombstone %+v", stone)
	}
}
