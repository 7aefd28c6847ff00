package cli_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestNotify(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		var v any = wire.List[wire.Receiver]{Items: []wire.Receiver{{Name: "ops-chat", Address: "slack C1", Events: []string{"run-failed"}, Waiting: 3, Failure: "it answers 503"}}}
		switch r.Method + " " + r.URL.Path {
		case "POST /api/v1/receivers/ops-chat/test":
			v = wire.ReceiverTest{Receiver: "ops-chat", Taken: true, Took: "12ms"}
		case "POST /api/v1/receivers/dead/test":
			v = wire.ReceiverTest{Receiver: "dead", Said: "it answers 503"}
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	for line, want := range map[string]struct {
		code      int
		out, talk string
	}{
		"notify list":          {cli.ExitDone, "ops-chat  slack C1  run-failed  3        it answers 503", ""},
		"notify test ops-chat": {cli.ExitDone, "ops-chat has taken the message, in 12ms", ""},
		"notify test dead":     {cli.ExitFailed, "", "dead has not taken the message: it answers 503"},
		"notify test":          {cli.ExitUsage, "", "RECEIVER"},
	} {
		code, out, talk := against(t, answer, strings.Fields(line)...)
		if code != want.code || !strings.Contains(out, want.out) || !strings.Contains(talk, want.talk) {
			t.Errorf("%s: %d %q %q", line, code, out, talk)
		}
	}
}
