package agent_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

// reviewers are people who may sign on a bed's host.
type reviewers struct {
	*bed
	keys map[string]ssh.Signer
}

// signed makes the bed's host one that trusts signatures of olga, ivan, petr
// and of anna, who writes the scenarios.
func (b *bed) signed() *reviewers {
	b.t.Helper()
	r := &reviewers{bed: b, keys: map[string]ssh.Signer{}}
	var list strings.Builder
	for _, name := range []string{"anna@example.com", "olga@example.com", "ivan@example.com", "petr@example.com"} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		b.must(err)
		r.keys[name], err = ssh.NewSignerFromSigner(key)
		b.must(err)
		fmt.Fprintf(&list, "%s namespaces=%q %s", name, signing.Namespace, ssh.MarshalAuthorizedKey(r.keys[name].PublicKey()))
	}
	b.write("allowed_signers", []byte(list.String()), 0o644)
	b.extra += fmt.Sprintf("review: signed\nsigners: %[1]s/allowed_signers\nrevoked: %[1]s/revoked\n", b.dir)
	return r
}

// version is a scenario that says which serial ran.
func (r *reviewers) version(serial int, more string) []byte {
	return fmt.Appendf(nil, "format: 1\nname: shop-restart\nserial: %d\nauthor: anna@example.com\nkind: custom\nservices: [shop]\n%ssteps:\n  run: {script: \"echo serial-%[1]d >> %[3]s\"}\n",
		serial, more, r.path("ran"))
}

func (r *reviewers) sign(body []byte, names ...string) []protocol.ScenarioSignature {
	r.t.Helper()
	var out []protocol.ScenarioSignature
	for _, name := range names {
		armored, err := signing.Sign(body, r.keys[name])
		r.must(err)
		out = append(out, protocol.ScenarioSignature{Principal: name, Armored: armored})
	}
	return out
}

func (r *running) lay(body []byte, sigs []protocol.ScenarioSignature) (protocol.AcceptedScenario, error) {
	var out protocol.AcceptedScenario
	return out, r.call(http.MethodPut, "/v1/scenarios/"+scenario.Digest(body), protocol.SignedScenario{Body: body, Signatures: sigs}, &out)
}

// ask puts a task by the version.
func (r *running) ask(body []byte) (protocol.Envelope, error) {
	e := r.envelope(scenario.Digest(body))
	_, err := r.put(r.seal(e), e.Task)
	return e, err
}

func (r *running) finish(e protocol.Envelope) {
	r.t.Helper()
	if s := r.until(e.Task, done); s.Outcome != protocol.OutcomeSucceeded {
		r.t.Fatalf("it ended %+v", s)
	}
}

// What a quorum has signed runs, whether a server has laid it or it lies in
// scenarios.d; what it has not, leaves nothing on the host.
func TestSignedScenario(t *testing.T) {
	b := newBed(t)
	p := b.signed()
	r := b.start()
	body := p.version(1, "")
	if _, err := r.ask(body); restart.CodeOf(err) != restart.CodeNotReviewed {
		t.Fatalf("a version that is not here: %v", err)
	}
	_, err := r.lay(body, p.sign(body, "olga@example.com"))
	wantCode(t, err, restart.CodeNotReviewed)
	if !strings.Contains(err.Error(), "1 of the 2 people") {
		t.Errorf("the reason: %v", err)
	}
	_, err = r.lay(body, p.sign(body, "olga@example.com", "anna@example.com"))
	wantCode(t, err, restart.CodeNotReviewed)
	if left, _ := os.ReadDir(b.spoolDir + "/scenarios"); len(left) > 0 {
		t.Errorf("a refused version is kept: %v", left)
	}
	for range 3 { // any number of times
		got, err := r.lay(body, p.sign(body, "olga@example.com", "ivan@example.com"))
		b.must(err)
		if got.Name != "shop-restart" || got.Serial != 1 {
			t.Errorf("laid: %+v", got)
		}
	}
	e, err := r.ask(body)
	b.must(err)
	r.finish(e)

	other := p.version(2, "")
	b.write("scenarios.d/shop.yaml", other, 0o644)
	b.must(os.Mkdir(b.path("scenarios.d/shop.yaml.sigs"), 0o755))
	for _, s := range p.sign(other, "petr@example.com", "ivan@example.com") {
		b.write("scenarios.d/shop.yaml.sigs/"+s.Principal+".sig", s.Armored, 0o644)
	}
	e, err = r.ask(other)
	b.must(err)
	r.finish(e)
	if ran, _ := os.ReadFile(b.path("ran")); string(ran) != "serial-1\nserial-2\n" {
		t.Errorf("it ran %q", ran)
	}
	b.must(os.Chmod(b.path("scenarios.d/shop.yaml.sigs/petr@example.com.sig"), 0o666))
	if _, err := r.ask(other); restart.CodeOf(err) != restart.CodeNotReviewed || !strings.Contains(err.Error(), "0666") {
		t.Errorf("by a signature that anyone could write: %v", err)
	}
}

// A host never goes back to an older version, whatever happens in between, and
// whoever has it signed: only root on the host decides that, and it is recorded.
func TestSerialNeverFalls(t *testing.T) {
	b := newBed(t)
	p := b.signed()
	r := b.start()
	old, later := p.version(3, ""), p.version(4, "")
	sigs := func(body []byte) []protocol.ScenarioSignature {
		return p.sign(body, "olga@example.com", "ivan@example.com")
	}
	for _, body := range [][]byte{old, later} {
		_, err := r.lay(body, sigs(body))
		b.must(err)
	}
	e, err := r.ask(old)
	b.must(err)
	r.finish(e)
	only := func(body []byte, what string) (protocol.Envelope, error) {
		e := r.envelope(scenario.Digest(body))
		e.Only = what
		_, err := r.put(r.seal(e), e.Task)
		return e, err
	}
	// Who rehearses the next version can still go back.
	e, err = only(later, protocol.OnlyRehearse)
	b.must(err)
	r.until(e.Task, done)
	e, err = r.ask(old)
	b.must(err)
	r.finish(e)
	if e, err = r.ask(later); err != nil {
		t.Fatal(err)
	}
	r.finish(e)
	_, err = r.forget(e, 1)
	b.must(err)
	refused := func(when string) {
		t.Helper()
		if _, err := r.ask(old); restart.CodeOf(err) != restart.CodeNotReviewed || !strings.Contains(err.Error(), "serial 4 was accepted") {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("after it was forgotten")
	// What was begun by it may still be ended: the version is trusted, and has no
	// such step.
	if _, err := only(old, protocol.OnlyUndrain); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "no undrain step") {
		t.Errorf("undrain alone: %v", err)
	}
	if _, err := r.lay(old, sigs(old)); restart.CodeOf(err) != restart.CodeNotReviewed {
		t.Errorf("laid again: %v", err)
	}
	r.kill()
	r = b.start()
	refused("after a restart")

	h := b.here()
	if _, err := h.ForgetReviewed(t.Context(), "no-such", "root@"+testHost, "back to serial 3 after an outage"); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("a name that was never accepted: %v", err)
	}
	was, err := h.ForgetReviewed(t.Context(), "shop-restart", "root@"+testHost, "back to serial 3 after an outage")
	if err != nil || was.Serial != 4 {
		t.Fatalf("forget: %+v, %v", was, err)
	}
	e, err = r.ask(old)
	b.must(err)
	r.finish(e)
	var report protocol.LocalReport
	b.must(r.call(http.MethodGet, "/v1/local?after=0", nil, &report))
	if len(report.Records) != 1 || !strings.Contains(string(report.Records[0]), string(audit.SerialForgotten)) {
		t.Errorf("the ledger has %s", report.Records)
	}
	b.must(os.WriteFile(b.spoolDir+"/serials/shop-restart", []byte("nonsense"), 0o600))
	if _, err := r.ask(later); restart.CodeOf(err) != restart.CodeNotReviewed {
		t.Errorf("with a mark that can't be read: %v", err)
	}
}

// What is revoked on the host counts no more from that moment on, and so does
// what has expired.
func TestRevokedOnTheHost(t *testing.T) {
	b := newBed(t)
	p := b.signed()
	r := b.start()
	body := p.version(1, "")
	_, err := r.lay(body, p.sign(body, "olga@example.com", "ivan@example.com"))
	b.must(err)
	old := p.version(1, "expires: 2020-01-01\n")
	if _, err := r.lay(old, p.sign(old, "olga@example.com", "ivan@example.com")); restart.CodeOf(err) != restart.CodeNotReviewed || !strings.Contains(err.Error(), "2020-01-01") {
		t.Errorf("an expired version: %v", err)
	}
	for name, line := range map[string]string{
		"version": "scenario " + scenario.Digest(body), "key": "key " + ssh.FingerprintSHA256(p.keys["ivan@example.com"].PublicKey()), "person": "principal olga@example.com",
		"unreadable": "nonsense",
	} {
		b.write("revoked", []byte(line+"\n"), 0o644)
		if _, err := r.ask(body); restart.CodeOf(err) != restart.CodeNotReviewed {
			t.Errorf("%s revoked: %v", name, err)
		}
		if name == "unreadable" {
			continue
		}
		var report protocol.CheckReport
		b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{Service: testService, Digest: scenario.Digest(body)}, &report))
		if len(report.Scenarios) > 0 || len(report.Problems) == 0 || report.Problems[0].Code != restart.CodeNotReviewed {
			t.Errorf("%s revoked: the report has %+v, %+v", name, report.Scenarios, report.Problems)
		}
	}
	b.must(os.Remove(b.path("revoked")))
	e, err := r.ask(body)
	b.must(err)
	r.finish(e)
	var report protocol.CheckReport
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{Service: testService}, &report))
	if s := report.Signing; report.Review != "signed" || s == nil || s.Quorum != 2 || len(s.Signers) != 4 || !strings.HasPrefix(s.Signers[0].Fingerprint, "SHA256:") || len(report.Scenarios) != 1 {
		t.Errorf("the report: %+v", report)
	}
}

// The supervisor judges again: what is revoked after the task was taken, and
// before it has begun, does not run.
func TestSupervisorJudgesAgain(t *testing.T) {
	b := newBed(t)
	p := b.signed()
	body := p.version(1, "")
	r := b.start()
	_, err := r.lay(body, p.sign(body, "olga@example.com", "ivan@example.com"))
	b.must(err)
	e := b.envelope(scenario.Digest(body))
	s := b.seal(e)
	r.kill()
	store, err := spool.Open(spool.Config{Dir: b.spoolDir})
	b.must(err)
	b.must(store.Receive(e, spool.Received{Sealed: s.Sealed, Epoch: 1, ReceivedAt: time.Now(), BootID: host.BootID()}))
	store.Close()
	b.write("revoked", []byte("scenario "+scenario.Digest(body)+"\n"), 0o644)
	r = b.start() // finds the task received, and launches its supervisor
	if got := r.until(e.Task, done); got.Outcome != protocol.OutcomeNotStarted || !strings.Contains(got.Error, "revoked") {
		t.Errorf("it ended %+v", got)
	}
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("it ran")
	}
}

// A host that trusts files takes no scenario from a server.
func TestFilesTakeNoScenarios(t *testing.T) {
	b := newBed(t)
	p := b.signed()
	b.extra = ""
	r := b.start()
	body := p.version(1, "")
	_, err := r.lay(body, p.sign(body, "olga@example.com", "ivan@example.com"))
	wantCode(t, err, restart.CodeForbidden)
}

// A server can neither fill the disk with versions nor have one dropped that a
// task is by.
func TestLaidVersionsAreBounded(t *testing.T) {
	b := newBed(t)
	p := b.signed()
	r := b.start()
	slow := p.version(1, "")
	slow = []byte(strings.Replace(string(slow), "echo serial", "while [ ! -e "+b.path("go")+" ]; do sleep 0.1; done; echo serial", 1))
	if _, err := scenario.Parse(slow); err != nil {
		t.Fatal(err)
	}
	_, err := r.lay(slow, p.sign(slow, "olga@example.com", "ivan@example.com"))
	b.must(err)
	e, err := r.ask(slow)
	b.must(err)
	for i := range 80 {
		body := p.version(2+i, "")
		_, err := r.lay(body, p.sign(body, "olga@example.com", "ivan@example.com"))
		b.must(err)
	}
	left, err := os.ReadDir(b.spoolDir + "/scenarios")
	b.must(err)
	if len(left) < 60 || len(left) > 64 {
		t.Errorf("%d versions are kept", len(left))
	}
	if _, err := os.Stat(b.spoolDir + "/scenarios/" + scenario.Digest(slow) + ".json"); err != nil {
		t.Errorf("the version of a task in hand was dropped: %v", err)
	}
	b.write("go", nil, 0o600)
	r.finish(e)
	huge := make([]byte, protocol.MaxLaidBody+1)
	_, err = r.lay(huge, nil)
	wantCode(t, err, restart.CodeTooLarge)
	var many []protocol.ScenarioSignature
	for range signing.MaxSignatures + 1 {
		many = append(many, protocol.ScenarioSignature{Principal: "olga"})
	}
	_, err = r.lay(slow, many)
	wantCode(t, err, restart.CodeTooLarge)
}

// A flood of refusals is counted, and hides none of another kind.
func TestRefusalsAreRecordedWithinBounds(t *testing.T) {
	b := newBed(t)
	digest := b.script("true")
	r := b.start()
	for range 130 {
		e := b.envelope(digest)
		e.Host = "web2.example.com"
		_, err := r.put(b.seal(e), e.Task)
		wantCode(t, err, restart.CodeWrongHost)
	}
	e := b.envelope(digest)
	e.NotBefore, e.Expiry = e.NotBefore.Add(-40*time.Second), e.Expiry.Add(-40*time.Second)
	_, err := r.put(b.seal(e), e.Task)
	wantCode(t, err, restart.CodeReplay)
	good := b.envelope(digest)
	r.submit(good)
	r.until(good.Task, done)
	by := map[string]int{}
	for _, rec := range b.asked() {
		by[string(rec.Action)+" "+rec.Outcome]++
	}
	if by["task.refused wrong_host"] != 101 || by["task.refused replay"] != 1 || by["task.taken "] != 1 {
		t.Errorf("recorded: %v", by)
	}
	// A lower epoch, after a restart too.
	later := b.seal(good)
	later.Epoch = 7
	_, err = r.put(later, good.Task)
	b.must(err)
	r.kill()
	r = b.start()
	again := b.envelope(digest)
	again.Run = good.Run
	_, err = r.put(b.seal(again), again.Task)
	wantCode(t, err, restart.CodeStaleEpoch)
	records := b.asked()
	if last := records[len(records)-1]; last.Outcome != string(restart.CodeStaleEpoch) || last.Task != again.Task {
		t.Errorf("the last record: %+v", last)
	}
}
