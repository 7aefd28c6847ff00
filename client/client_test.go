package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/client"
	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const reason = "build 814 brings a new configuration"

func TestDo(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, nil)
	c, err := client.New(client.Config{URL: s.URL, CAFile: s.CAFile, Token: s.Token("anna", restart.RoleDeveloper)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := client.Request{Service: "shop", Environment: "production", Reason: reason}

	no := errors.New("too many hosts")
	draft, err := client.Do(t.Context(), c, req, client.Options{Confirm: func(p client.Plan) error {
		if len(p.Chosen()) != 3 {
			t.Errorf("%d hosts", len(p.Chosen()))
		}
		return no
	}})
	if !errors.Is(err, no) || draft.State != restart.RunDraft {
		t.Errorf("%v, %s", err, draft.State)
	}
	var seen []client.RunState
	watch := func(r client.Run) error { seen = append(seen, r.State); return nil }
	first, err := client.Do(t.Context(), c, req, client.Options{Key: "build-814", Watch: watch})
	if err != nil || first.State != client.RunCompleted || client.Check(first) != nil || len(seen) < 2 {
		t.Fatalf("%v, %s, %v", err, first.Summary(), seen)
	}
	if got, err := c.Run(t.Context(), first.ID); err != nil || got.Outcome != restart.OutcomeDone {
		t.Errorf("%v, %q", err, got.Outcome)
	}
	if again, err := client.Do(t.Context(), c, req, client.Options{Key: "build-814"}); err != nil || again.ID != first.ID {
		t.Errorf("%v, %s again is %s", err, first.ID, again.ID)
	}
	stop := errors.New("seen enough")
	if _, err := client.Follow(t.Context(), c, first.ID, func(client.Run) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	s.AskApproval()
	waits, err := client.Do(t.Context(), c, req, client.Options{})
	if err != nil || waits.State != client.RunAwaitingApproval || !errors.Is(client.Check(waits), client.ErrNeedsPerson) {
		t.Errorf("%v, %s", err, waits.State)
	}
	_, err = client.Do(t.Context(), c, client.Request{Service: "bare", Reason: reason}, client.Options{})
	if refused, ok := errors.AsType[*client.Error](err); !ok || refused.Code != restart.CodeForbidden || refused.Hint == "" {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for state, want := range map[client.RunState]error{
		client.RunCompleted: nil, client.RunFailed: client.ErrFailed, client.RunAborted: client.ErrFailed, client.RunRejected: client.ErrFailed,
		client.RunPaused: client.ErrNeedsPerson, client.RunAwaitingApproval: client.ErrNeedsPerson, restart.RunRunning: client.ErrNeedsPerson,
	} {
		err := client.Check(client.Run{ID: "r1", State: state, Explanation: "web2 \x1b[31m"})
		if !errors.Is(err, want) || want == nil && err != nil || want != nil && (!strings.Contains(err.Error(), string(state)) || strings.Contains(err.Error(), "\x1b")) {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// A run that is completed has not done every host: as the command line says.
func TestCheckLooksAtTheHosts(t *testing.T) {
	t.Parallel()
	run := func(state restart.TaskState, hosts ...restart.PlannedHost) client.Run {
		return client.Run{ID: "r1", State: client.RunCompleted, Tasks: []client.Task{{ID: "t1", Host: "web1", Attempt: 1, State: state}}, Plan: &client.Plan{Hosts: hosts}}
	}
	away := restart.PlannedHost{Host: restart.Host{Name: "web9"}, LeftOut: true, Agent: "no agent answers", Why: "no agent answers"}
	unticked := restart.PlannedHost{Host: restart.Host{Name: "web9"}, LeftOut: true, Agent: "no agent answers", Why: "unticked by anna"}
	for name, c := range map[string]struct {
		run  client.Run
		want error
		says string
	}{
		"all":                    {run(restart.TaskSucceeded), nil, ""},
		"one left out on demand": {run(restart.TaskSucceeded, unticked), nil, ""},
		"one tolerated":          {run(restart.TaskFailed), client.ErrFailed, "1 failed"},
		"one unknown":            {run(restart.TaskUnknown), client.ErrNeedsPerson, "1 unknown"},
		"one without an agent":   {run(restart.TaskSucceeded, away), client.ErrFailed, "web9 was left out: no agent answers"},
	} {
		if err := client.Check(c.run); !errors.Is(err, c.want) || c.want == nil && err != nil || c.want != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What can't be looked at is not started.
func TestDoWithoutAPlan(t *testing.T) {
	t.Parallel()
	started := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started = started || strings.HasSuffix(r.URL.Path, "/start")
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id":"01m81mtqf0qv5v0v89h9ffrra9","state":"draft"}`)
	}))
	defer server.Close()
	c, err := client.New(client.Config{URL: server.URL, Token: "rtk_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = client.Do(t.Context(), c, client.Request{Service: "shop", Reason: reason}, client.Options{Confirm: func(client.Plan) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "no plan to confirm") || started {
		t.Errorf("%v, started %v", err, started)
	}
}

func TestVerifyWebhook(t *testing.T) {
	t.Parallel()
	secret, body, now := []byte("a secret of the receiver"), []byte(`{"id":"1"}`), time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		secret, body string
		age          time.Duration
		prefix, says string
	}{
		"good":            {string(secret), string(body), time.Minute, "sha256=", ""},
		"another secret":  {"another secret of it", string(body), 0, "sha256=", "signature"},
		"another body":    {string(secret), `{"id":"2"}`, 0, "sha256=", "signature"},
		"another method":  {string(secret), string(body), 0, "md5=", "signature"},
		"replayed":        {string(secret), string(body), 6 * time.Minute, "sha256=", "another time"},
		"from the future": {string(secret), string(body), -6 * time.Minute, "sha256=", "another time"},
	} {
		stamp := strconv.FormatInt(now.Add(-c.age).Unix(), 10)
		h := http.Header{}
		h.Set(wire.HeaderTimestamp, stamp)
		h.Set(wire.HeaderSignature, c.prefix+wire.Sign([]byte(c.secret), stamp, []byte(c.body)))
		err := client.VerifyWebhook(secret, h.Get, body, now, 0)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := client.VerifyWebhook(secret, http.Header{}.Get, body, now, 0); err == nil {
		t.Error("without headers")
	}
	if err := client.VerifyWebhook(nil, http.Header{}.Get, body, now, 0); err == nil {
		t.Error("without a secret")
	}
}
