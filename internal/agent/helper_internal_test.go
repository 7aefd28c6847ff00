package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/supervisor"
)

// TestAHelperThatFails: what it complained about is told, whichever it is.
func TestAHelperThatFails(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{supervisor.GatherVerb, supervisor.TryVerb} {
		h, err := newHelper(t.Context(), verb, "nothing that it knows", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		out, err := h.Output()
		if err == nil || len(out) > 0 {
			t.Fatalf("%s: %q, %v", verb, out, err)
		}
		if err := h.explain(err); !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), "cannot unmarshal string") {
			t.Errorf("%s: %v", verb, err)
		}
	}
}
