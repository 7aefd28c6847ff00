package dispatch_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// shelf has one signed version.
type shelf struct{ digest string }

func (s shelf) Signed(_ context.Context, digest string) ([]byte, []protocol.ScenarioSignature, error) {
	if digest != s.digest {
		return nil, nil, restart.Errorf(restart.CodeNotFound, "no such version")
	}
	return []byte("body"), []protocol.ScenarioSignature{{Principal: "olga", Armored: []byte("sig")}}, nil
}

// A version is laid before its task is sent. What a host says of it is told
// only where the host refuses the task too: without that it may be running.
func TestLayBeforeATask(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	notReviewed := func(what string) error { return restart.Errorf(restart.CodeNotReviewed, "%s", what) }
	for name, c := range map[string]struct {
		lay, put error
		digest   string
		calls    string // of two puts
		says     string
	}{
		"laid":                     {nil, nil, digest, "lay put lay put", ""},
		"refused":                  {notReviewed("signed by 1"), notReviewed("has none"), digest, "lay put lay put", "signed by 1"},
		"refused, and runs":        {notReviewed("was revoked"), nil, digest, "lay put lay put", ""},
		"laid, and refused":        {nil, restart.Errorf(restart.CodeBusy, "held"), digest, "lay put lay put", "held"},
		"refused for another why":  {notReviewed("signed by 1"), restart.Errorf(restart.CodeBusy, "held"), digest, "lay put lay put", "held"},
		"an older agent":           {restart.Errorf(restart.CodeNotFound, "no verb"), nil, digest, "lay put put", ""},
		"a host that trusts files": {restart.Errorf(restart.CodeForbidden, "files"), notReviewed("has none"), digest, "lay put put", "has none"},
		"not signed here":          {nil, nil, strings.Repeat("cd", 32), "put put", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, "ours")
			var calls []string
			mux := http.NewServeMux()
			answer := func(pattern, call string, err error, v any) {
				mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
					calls = append(calls, call)
					if err != nil {
						protocol.WriteError(w, err)
						return
					}
					json.NewEncoder(w).Encode(v) // the test sees it
				})
			}
			answer("PUT /v1/scenarios/"+digest, "lay", c.lay, protocol.AcceptedScenario{})
			answer("PUT /v1/tasks/{id}", "put", c.put, protocol.TaskStatus{Task: task})
			h := restart.Host{Name: host, Address: agent(t, a, a, host, mux)}
			client, err := dispatch.New(dispatch.Config{Certificate: a.file("client.crt"), Key: a.file("client.key"), CA: a.file("ca.crt"), Scenarios: shelf{digest}})
			must(t, err)
			t.Cleanup(client.Close)
			_, key, err := ed25519.GenerateKey(nil)
			must(t, err)
			now := time.Now()
			sealed, err := protocol.Seal(protocol.Envelope{Task: task, Digest: c.digest, NotBefore: now, Expiry: now.Add(time.Second)}, key)
			must(t, err)
			for range 2 {
				_, err = client.Put(t.Context(), h, task, protocol.Submission{Sealed: sealed, Epoch: 1})
			}
			refused, ok := errors.AsType[*dispatch.RefusedError](err)
			if c.says == "" && err != nil || c.says != "" && (!ok || refused.Err.Message != c.says) {
				t.Errorf("the answer is %v, want %q", err, c.says)
			}
			if got := strings.Join(calls, " "); got != c.calls {
				t.Errorf("the agent saw %q, want %q", got, c.calls)
			}
		})
	}
}

// Before a plan is confirmed, a host says what a task would hear.
func TestLayBeforeACheck(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	missing := protocol.CheckReport{Problems: []restart.Error{*restart.Errorf(restart.CodeNotReviewed, "has none")}}
	for name, c := range map[string]struct {
		lay  error
		says string
	}{"laid": {nil, ""}, "refused": {restart.Errorf(restart.CodeNotReviewed, "signed by 1"), "signed by 1"}, "none": {restart.Errorf(restart.CodeNotFound, "no verb"), "has none"}} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, "ours")
			laid := false
			mux := http.NewServeMux()
			mux.HandleFunc("PUT /v1/scenarios/"+digest, func(w http.ResponseWriter, _ *http.Request) {
				if c.lay != nil {
					protocol.WriteError(w, c.lay)
					return
				}
				laid = true
				json.NewEncoder(w).Encode(protocol.AcceptedScenario{}) // the test sees it
			})
			mux.HandleFunc("POST /v1/check", func(w http.ResponseWriter, _ *http.Request) {
				r := missing
				if laid {
					r.Problems = nil
				}
				json.NewEncoder(w).Encode(r) // the test sees it
			})
			h := restart.Host{Name: host, Address: agent(t, a, a, host, mux)}
			client, err := dispatch.New(dispatch.Config{Certificate: a.file("client.crt"), Key: a.file("client.key"), CA: a.file("ca.crt"), Scenarios: shelf{digest}})
			must(t, err)
			t.Cleanup(client.Close)
			r, err := client.Check(t.Context(), h, protocol.CheckRequest{Digest: digest})
			must(t, err)
			says := slices.Collect(func(yield func(string) bool) {
				for _, p := range r.Problems {
					if !yield(p.Message) {
						return
					}
				}
			})
			if got := strings.Join(says, "; "); got != c.says {
				t.Errorf("the host says %q, want %q", got, c.says)
			}
		})
	}
}
