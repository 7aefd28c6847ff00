package dispatch_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// TestCheckAnewShakesHandsAgain: what a connection of a minute ago says of
// certificates is not how they are.
func TestCheckAnewShakesHandsAgain(t *testing.T) {
	a := newAuthority(t, "ours")
	var from []string
	h := restart.Host{Name: host, Address: agent(t, a, a, host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.RemoteAddr)
		if r.URL.Path == "/v1/discover" {
			json.NewEncoder(w).Encode(protocol.DiscoverReport{Host: host}) // the test sees it
			return
		}
		json.NewEncoder(w).Encode(protocol.CheckReport{Host: host}) // the test sees it
	}))}
	c := newClient(t, a)
	for _, ask := range []func() error{
		func() error { _, err := c.Check(t.Context(), h, protocol.CheckRequest{}); return err },
		func() error { _, err := c.Check(t.Context(), h, protocol.CheckRequest{}); return err },
		func() error { _, err := c.CheckAnew(t.Context(), h, protocol.CheckRequest{}); return err },
		func() error {
			r, err := c.Discover(t.Context(), h, protocol.DiscoverRequest{})
			if r.Host != host {
				t.Errorf("%+v", r)
			}
			return err
		},
	} {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if from[0] != from[1] || from[1] == from[2] || from[2] != from[3] {
		t.Errorf("asked over %v", from)
	}
}
