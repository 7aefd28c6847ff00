package agent_test

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const localReason = "workers hang, and the server is down"

// here opens what works in the spool, through the agent or without one.
func (b *bed) here() agent.OnHost {
	b.t.Helper()
	s, err := agent.LoadSettings(b.settings)
	b.must(err)
	h, done, err := agent.OpenHere(context.Background(), s, slog.New(slog.DiscardHandler))
	b.must(err)
	b.t.Cleanup(done)
	return h
}

func ask() agent.Ask {
	return agent.Ask{Service: testService, Scenario: "shop-restart", Reason: localReason, Actor: "anna@" + testHost}
}

// ended waits for the end of a task that was begun on the host.
func ended(t *testing.T, h agent.OnHost, id string) protocol.TaskStatus {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		s, err := h.Wait(t.Context(), id, 1<<40, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if done(s) {
			return s
		}
	}
	t.Fatalf("task %s does not end", id)
	return protocol.TaskStatus{}
}

func (r *running) local(after int64) protocol.LocalReport {
	r.t.Helper()
	var out protocol.LocalReport
	r.must(r.call(http.MethodGet, fmt.Sprintf("/v1/local?after=%d", after), nil, &out))
	return out
}

// Root's work is reported with its records, and forgotten by DELETE. Its chain
// head goes with every answer.
func TestLocalWorkIsReportedUntilItIsTakenOver(t *testing.T) {
	b := newBed(t)
	b.script("echo hello")
	r := b.start()
	var check protocol.CheckReport
	r.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, &check))
	if check.Chain != nil || len(r.local(0).Tasks) != 0 {
		t.Fatalf("before: %+v", check.Chain)
	}
	h := b.here()
	began, err := h.Begin(t.Context(), ask())
	r.must(err)
	s := ended(t, h, began.Task)
	if s.Outcome != protocol.OutcomeSucceeded {
		t.Fatalf("%+v", s)
	}
	report := r.local(0)
	if len(report.Tasks) != 1 || len(report.Records) != 2 || report.Head.Seq != 2 || report.Host != testHost || report.More {
		t.Fatalf("%+v", report)
	}
	task := report.Tasks[0]
	if e := task.Envelope; e.Task != s.Task || e.Actor != "anna@"+testHost || e.Reason != localReason || task.Kind != "custom" || e.Scenario != "shop-restart" || task.Status.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("%+v", task)
	}
	for i, raw := range report.Records {
		rec, err := audit.Decode(raw)
		if err != nil || !rec.Intact() || rec.Seq != int64(i+1) || rec.Source != "agent:"+testHost || rec.Task != s.Task {
			t.Errorf("record %d: %v %+v", i, err, rec)
		}
	}
	if got := r.local(1); len(got.Records) != 1 || len(got.Tasks) != 1 {
		t.Errorf("after 1: %+v", got)
	}
	r.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, &check))
	status, err := r.get(s.Task)
	r.must(err)
	if check.Chain == nil || *check.Chain != report.Head || status.Chain == nil || *status.Chain != report.Head {
		t.Errorf("heads: %+v, %+v, want %+v", check.Chain, status.Chain, report.Head)
	}
	if got := text(r.output(s.Task)); got != "hello\n" {
		t.Errorf("output %q", got)
	}
	var stone protocol.Tombstone
	r.must(r.call(http.MethodDelete, "/v1/tasks/"+s.Task, protocol.Forget{Run: s.Run, Epoch: 1}, &stone))
	if got := r.local(0); len(got.Tasks) != 0 || len(got.Records) != 2 {
		t.Errorf("afterwards: %+v", got)
	}
	wantCode(t, r.call(http.MethodGet, "/v1/local?after=-1", nil, nil), restart.CodeInvalid)
	wantCode(t, r.call(http.MethodGet, "/v1/local?after=x", nil, nil), restart.CodeInvalid)
}

// A server can neither forge local work, nor end it.
func TestAServerCantForgeOrEndLocalWork(t *testing.T) {
	b := newBed(t)
	digest := b.script("sleep 60")
	r := b.start()
	h := b.here()
	began, err := h.Begin(t.Context(), ask())
	r.must(err)
	r.until(began.Task, func(s protocol.TaskStatus) bool { return s.Phase == protocol.PhaseRun })
	// Whoever has the very key of the host, and has it laid as a server's, can't send it.
	key := b.localKey()
	b.must(pki.SaveEnvelopePublicKey(b.path("envelope.pub"), key.Public().(ed25519.PublicKey)))
	e := b.envelope(digest)
	sealed, err := protocol.SealLocal(e, key)
	r.must(err)
	_, err = r.put(protocol.Submission{Sealed: sealed, Epoch: 1}, e.Task)
	wantCode(t, err, restart.CodeBadSignature)
	sealed.KeyID = protocol.KeyID(key.Public().(ed25519.PublicKey)) // without the mark
	_, err = r.put(protocol.Submission{Sealed: sealed, Epoch: 1}, e.Task)
	wantCode(t, err, restart.CodeBadSignature)
	b.must(pki.SaveEnvelopePublicKey(b.path("envelope.pub"), b.key.Public().(ed25519.PublicKey)))

	wantCode(t, r.call(http.MethodPost, "/v1/tasks/"+began.Task+"/cancel", protocol.Cancel{Run: began.Run, Epoch: 1}, nil), restart.CodeForbidden)
	wantCode(t, r.call(http.MethodDelete, "/v1/tasks/"+began.Task, protocol.Forget{Run: began.Run, Epoch: 1}, nil), restart.CodeConflict)
	_, err = r.put(b.seal(b.envelope(digest)), "")
	if err == nil {
		t.Error("an empty id")
	}
	other := b.envelope(digest)
	_, err = r.put(b.seal(other), other.Task)
	wantCode(t, err, restart.CodeBusy)
	if !strings.Contains(err.Error(), "anna@"+testHost) {
		t.Errorf("who has it is not said: %v", err)
	}
	_, err = h.CancelHere(t.Context(), began.Task)
	r.must(err)
	if s := ended(t, h, began.Task); s.Outcome != protocol.OutcomeCancelled {
		t.Errorf("%+v", s)
	}
	// And root's verb is not for a server's tasks.
	third := b.envelope(digest)
	r.submit(third)
	r.until(third.Task, func(s protocol.TaskStatus) bool { return s.Phase == protocol.PhaseRun })
	_, err = h.CancelHere(t.Context(), third.Task)
	wantCode(t, err, restart.CodeForbidden)
	_, err = r.cancel(third, 1)
	r.must(err)
	r.until(third.Task, done)
}

func (b *bed) localKey() ed25519.PrivateKey {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.spoolDir, "local.key"))
	b.must(err)
	seed, err := hex.DecodeString(string(text))
	b.must(err)
	return ed25519.NewKeyFromSeed(seed)
}

// What lies in the spool as local work, sealed by another key than the host's
// own, is not run: not by the agent that finds it there, and not by its supervisor.
func TestForgedLocalWorkInTheSpoolIsNotRun(t *testing.T) {
	for name, forge := range map[string]func(b *bed) ed25519.PrivateKey{
		"another key": func(*bed) ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(nil); return k },
		"no key at all": func(b *bed) ed25519.PrivateKey {
			k := b.localKey()
			b.must(os.Remove(b.spoolDir + "/local.key"))
			return k
		},
		"a readable key":   func(b *bed) ed25519.PrivateKey { b.must(os.Chmod(b.spoolDir+"/local.key", 0o644)); return b.localKey() },
		"the server's key": func(b *bed) ed25519.PrivateKey { return b.key },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			digest := b.script("touch " + b.path("ran"))
			r := b.start()
			r.kill()
			store, err := spool.Open(spool.Config{Dir: b.spoolDir})
			b.must(err)
			_, err = store.LocalKey()
			b.must(err)
			e := b.envelope(digest)
			sealed, err := protocol.SealLocal(e, forge(b))
			b.must(err)
			b.must(store.Receive(e, spool.Received{Sealed: sealed, Epoch: 1, ReceivedAt: time.Now().UTC()}))
			store.Close()
			r = b.start()
			s := r.until(e.Task, done)
			if s.Outcome != protocol.OutcomeNotStarted {
				t.Errorf("%+v", s)
			}
			if _, err := os.Stat(b.path("ran")); err == nil {
				t.Error("it ran")
			}
		})
	}
}

// Every crash between the record of an intent and that of an outcome leaves
// exactly one outcome.
func TestOutcomesAreWrittenAfterACrash(t *testing.T) {
	b := newBed(t)
	b.script("sleep 0.5")
	r := b.start()
	h := b.here()
	began, err := h.Begin(t.Context(), ask())
	r.must(err)
	r.kill() // the supervisor goes on
	l, _, err := ledger.Open(b.spoolDir, testHost, time.Now(), time.Hour)
	b.must(err)
	orphan := restart.NewID(time.Now())
	entry, _ := l.Entry(began.Task)
	rec := entry.Intent
	rec.Task = orphan // a crash right after the record
	b.must(l.Append(rec))
	l.Close()
	r = b.start()
	r.until(began.Task, done)
	for range 2 {
		report := r.local(0)
		if len(report.Records) != 4 || len(report.Tasks) != 2 {
			t.Fatalf("%d records, %d tasks", len(report.Records), len(report.Tasks))
		}
		for _, task := range report.Tasks {
			want := protocol.OutcomeSucceeded
			if task.Envelope.Task == orphan {
				want = protocol.OutcomeNotStarted
			}
			out, err := audit.Decode(task.Outcome)
			if err != nil || out.Outcome != string(want) || task.Status.Outcome != want || task.Status.Stage != restart.StageDone {
				t.Errorf("%s: %v, record %q, status %+v", task.Envelope.Task, err, out.Outcome, task.Status)
			}
		}
		r.kill()
		r = b.start()
	}
	var stone protocol.Tombstone
	r.must(r.call(http.MethodDelete, "/v1/tasks/"+orphan, protocol.Forget{Run: rec.Run, Epoch: 1}, &stone))
	if report := r.local(4); len(report.Tasks) != 1 || len(report.Records) != 0 {
		t.Errorf("%+v", report)
	}
}

// The socket is for root and the agent's own user, by the kernel's word; and
// none of its verbs is on the network.
func TestSocket(t *testing.T) {
	b := newBed(t)
	b.script("true")
	r := b.start()
	info, err := os.Stat(b.path("agent.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	for _, path := range []string{"/local/plan", "/local/tasks"} {
		wantCode(t, r.call(http.MethodPost, path, ask(), nil), restart.CodeNotFound)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", b.path("agent.sock"))
	}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://agent/v1/local")
	b.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a server's verb on the socket: %s", resp.Status)
	}
	resp, err = c.Post("http://agent/local/tasks", "application/json", strings.NewReader(`{"more":1}`))
	b.must(err)
	var e restart.Error
	err = json.NewDecoder(resp.Body).Decode(&e)
	resp.Body.Close()
	if err != nil || e.Code != restart.CodeInvalid {
		t.Errorf("an unknown field: %v, %+v", err, e)
	}
	// A stale socket is replaced, another file is not, and the agent runs all the same.
	r.kill()
	r = b.start()
	b.here()
	r.kill()
	b.must(os.Remove(b.path("agent.sock")))
	b.write("agent.sock", []byte("mine"), 0o600)
	r = b.start()
	if text, err := os.ReadFile(b.path("agent.sock")); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	r.kill() // its log is whole then
	if !strings.Contains(r.log.String(), "root can't work on this host through the agent") {
		t.Errorf("the agent does not say so")
	}
}

// A plan shows what would be run, and changes nothing.
func TestPlanOfLocalWork(t *testing.T) {
	b := newBed(t)
	digest := b.scenario("params: {mode: {type: enum, values: [soft, hard], default: soft}}\nsteps:\n  run:\n    script: 'echo #service# on #host#'\n")
	b.extra = "groups: [shop-testing]\nenvironments: [testing]\n"
	b.start()
	h := b.here()
	p, err := h.Plan(t.Context(), ask())
	b.must(err)
	if p.Digest != digest || p.Environment != "testing" || p.Group != "shop-testing" || p.Values["mode"] != "soft" || len(p.Steps) != 1 || p.Steps[0].Script != "echo shop on "+testHost {
		t.Errorf("%+v", p)
	}
	if left, _ := filepath.Glob(b.spoolDir + "/0*"); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
	a := ask()
	a.Params = map[string]string{"mode": "gentle"}
	_, err = h.Plan(t.Context(), a)
	wantCode(t, err, restart.CodeParam)
	a = ask()
	a.Actor = "an\nna"
	_, err = h.Begin(t.Context(), a)
	wantCode(t, err, restart.CodeInvalid)
}

// Root rehearses on the host as a server does: all checks, no script, and its
// record says so.
func TestARehearsalOnTheHost(t *testing.T) {
	b := newBed(t)
	b.script("touch " + b.path("ran"))
	b.start()
	h := b.here()
	a := ask()
	a.Rehearse = true
	p, err := h.Plan(t.Context(), a)
	b.must(err)
	if !p.Rehearse {
		t.Errorf("the plan: %+v", p)
	}
	s, err := h.Begin(t.Context(), p.Ask)
	b.must(err)
	if s = ended(t, h, s.Task); s.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("the script was run")
	}
	list, err := h.Tasks(t.Context())
	b.must(err)
	if len(list) != 1 || !list[0].Rehearse {
		t.Errorf("%+v", list)
	}
	s, err = h.Begin(t.Context(), ask())
	b.must(err)
	ended(t, h, s.Task)
	if list, err = h.Tasks(t.Context()); err != nil || len(list) != 2 || list[0].Rehearse {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := os.Stat(b.path("ran")); err != nil {
		t.Error("a run that is none was taken for a rehearsal")
	}
}

// What can't be recorded is not begun.
func TestNothingBeginsWithoutItsRecord(t *testing.T) {
	b := newBed(t)
	b.script("touch " + b.path("ran"))
	r := b.start()
	b.must(os.Symlink(b.path("elsewhere"), filepath.Join(b.spoolDir, ledger.File)))
	h := b.here()
	if _, err := h.Begin(t.Context(), ask()); err == nil {
		t.Error("it was begun")
	}
	if left, _ := filepath.Glob(b.spoolDir + "/0*"); len(left) != 0 {
		t.Errorf("the spool holds %v", left)
	}
	b.must(os.Remove(filepath.Join(b.spoolDir, ledger.File)))
	s, err := h.Begin(t.Context(), ask())
	b.must(err)
	ended(t, h, s.Task)
	if _, err := os.Stat(b.path("ran")); err != nil {
		t.Error(err)
	}
	if n := len(r.local(0).Records); n != 2 {
		t.Errorf("%d records", n)
	}
}

// Root's work counts against the same bound as a server's.
func TestLocalWorkIsBounded(t *testing.T) {
	b := newBed(t)
	b.script("true")
	b.extra = "task_rate_per_hour: 1\n"
	b.start()
	h := b.here()
	s, err := h.Begin(t.Context(), ask())
	b.must(err)
	ended(t, h, s.Task)
	_, err = h.Begin(t.Context(), ask())
	wantCode(t, err, restart.CodeBusy)
}
