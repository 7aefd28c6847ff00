package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// TestDumpsAreFetched: what a host sends is read up to the bound and no further.
func TestDumpsAreFetched(t *testing.T) {
	a := newAuthority(t, "ours")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/tasks/{id}/dumps/{n}", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("n") {
		case "1":
			w.Write([]byte("a capture"))
		case "2":
			for piece := make([]byte, 1<<20); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		default:
			protocol.WriteError(w, restart.Errorf(restart.CodeNotFound, "there is no dump 3"))
		}
	})
	mux.HandleFunc("POST /v1/evidence", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(protocol.EvidenceReport{Items: []protocol.EvidenceItem{{Kind: "process"}}, Dump: make([]byte, 5<<20)})
	})
	h := restart.Host{Name: host, Address: agent(t, a, a, host, mux)}
	c := newClient(t, a)
	if b, err := c.Dump(t.Context(), h, task, 1, nil); err != nil || string(b) != "a capture" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := c.Dump(t.Context(), h, task, 2, nil); restart.CodeOf(err) != restart.CodeTooLarge {
		t.Errorf("endless: %v", err)
	}
	if _, err := c.Dump(t.Context(), h, task, 3, nil); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("none: %v", err)
	}
	asked := 0
	room := func(context.Context) error { asked++; return nil }
	if _, err := c.Dump(t.Context(), h, task, 1, room); err != nil || asked != 0 {
		t.Errorf("room was asked for %d times, for a few bytes: %v", asked, err)
	}
	none := errors.New("no room")
	if _, err := c.Dump(t.Context(), h, task, 2, func(context.Context) error { return none }); !errors.Is(err, none) {
		t.Errorf("read without room: %v", err)
	}
	if r, err := c.Evidence(t.Context(), h, protocol.EvidenceRequest{Service: "nginx"}, room); asked != 1 || err != nil || len(r.Items) != 1 || len(r.Dump) != 5<<20 {
		t.Errorf("%d items, %v", len(r.Items), err)
	}
}
