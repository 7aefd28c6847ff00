package security

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/test/company"
)

// rate is how many tasks the host of this test takes in an hour.
const rate = 6

// takeover is somebody who has everything that the server has, and one host
// whose reviewers keep their keys elsewhere.
type takeover struct {
	*testing.T
	company *company.Company
	host    demo.Host
	at      restart.Host
	agents  *dispatch.Client
	envelop ed25519.PrivateKey // the server's own key for envelopes
	people  map[string]ssh.Signer
	laid    map[string]version // what it lays before a task, as the server's client does
}

// version is a scenario with signatures.
type version struct {
	body []byte
	sigs []protocol.ScenarioSignature
}

func (v version) digest() string { return scenario.Digest(v.body) }

// Signed is what the server would read from its database, which is the attacker's.
func (a *takeover) Signed(_ context.Context, digest string) ([]byte, []protocol.ScenarioSignature, error) {
	v, ok := a.laid[digest]
	if !ok {
		return nil, nil, restart.Errorf(restart.CodeNotFound, "no such version")
	}
	return v.body, v.sigs, nil
}

func newTakeover(t *testing.T) *takeover {
	t.Helper()
	a := &takeover{T: t, people: map[string]ssh.Signer{}, laid: map[string]version{}}
	var list strings.Builder
	for _, name := range []string{"anna@example.com", "olga@example.com", "ivan@example.com", "petr@example.com"} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		a.must(err)
		a.people[name], err = ssh.NewSignerFromSigner(key)
		a.must(err)
		fmt.Fprintf(&list, "%s %s", name, ssh.MarshalAuthorizedKey(a.people[name].PublicKey()))
	}
	a.company = company.New(t, company.Options{Hosts: 1, Prepare: func(c *company.Company) {
		a.company, a.host = c, c.Hosts[0]
		settings := filepath.Join(a.host.Dir, "agent.yaml")
		b, err := os.ReadFile(settings)
		a.must(err)
		text := strings.Replace(string(b), "review: files\n", fmt.Sprintf("review: signed\nsigners: %[1]s/allowed_signers\nrevoked: %[1]s/revoked\ntask_rate_per_hour: %d\n", a.host.Dir, rate), 1)
		a.must(os.WriteFile(settings, []byte(text), 0o600))
		a.must(os.WriteFile(filepath.Join(a.host.Dir, "allowed_signers"), []byte(list.String()), 0o600))
		a.must(os.Remove(filepath.Join(a.host.Dir, "scenarios.d", "witness.yaml"))) // servers lay what is signed
	}})
	a.at = restart.Host{Name: a.host.Name, Address: a.host.Address + ":3131"}
	server := a.company.ServerDir()
	var err error
	a.envelop, err = pki.LoadEnvelopeKey(filepath.Join(server, "envelope.key"))
	a.must(err)
	a.agents, err = dispatch.New(dispatch.Config{
		Certificate: filepath.Join(server, "client.crt"), Key: filepath.Join(server, "client.key"), CA: filepath.Join(server, "ca.crt"), Scenarios: a,
	})
	a.must(err)
	t.Cleanup(a.agents.Close)
	return a
}

func (a *takeover) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// body is a scenario that leaves a line where it ran, and takes one parameter.
func (a *takeover) body(serial int, script, more string) []byte {
	return fmt.Appendf(nil, `format: 1
name: witness
serial: %d
author: anna@example.com
kind: restart
services: [%s]
%sparams: {mode: {type: enum, values: [soft, hard], default: soft}}
steps:
  run: {script: '%s; echo "$RESTARTILKA_TASK $PARAM_MODE serial %[1]d" >> %[5]s'}
`, serial, demo.ServiceName, more, script, a.company.WitnessFile())
}

func (a *takeover) sign(body []byte, names ...string) version {
	a.Helper()
	v := version{body: body}
	for _, name := range names {
		armored, err := signing.Sign(body, a.people[name])
		a.must(err)
		v.sigs = append(v.sigs, protocol.ScenarioSignature{Principal: name, Armored: armored})
	}
	return v
}

// envelope is one as the server would make it now.
func (a *takeover) envelope(v version) protocol.Envelope {
	now := time.Now().UTC()
	return protocol.Envelope{
		Version: protocol.Version, Task: restart.NewID(now), Run: restart.NewID(now), Attempt: 1, Host: a.host.Name, Service: demo.ServiceName,
		Environment: demo.Environment, Group: demo.GroupName, Scenario: "witness", Digest: v.digest(), Actor: demo.Developer,
		Reason: "as the attacker likes to say", NotBefore: now, Expiry: now.Add(protocol.Lifetime),
	}
}

func (a *takeover) seal(e protocol.Envelope) protocol.Submission {
	a.Helper()
	sealed, err := protocol.Seal(e, a.envelop)
	a.must(err)
	return protocol.Submission{Sealed: sealed, Epoch: 1}
}

// forge signs any text with the server's key, as an envelope is signed.
func (a *takeover) forge(e protocol.Envelope, field, value string) protocol.Submission {
	a.Helper()
	payload, err := json.Marshal(e)
	a.must(err)
	payload = fmt.Appendf(nil, `{%q:%q,%s`, field, value, payload[1:])
	return protocol.Submission{Epoch: 1, Sealed: protocol.Sealed{
		Payload: payload, KeyID: protocol.KeyID(a.envelop.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(a.envelop, append([]byte("restartilka-envelope-v1\x00"), payload...)),
	}}
}

func (a *takeover) put(e protocol.Envelope, s protocol.Submission) error {
	_, err := a.agents.Put(a.Context(), a.at, e.Task, s)
	return err
}

// run asks for a version, which is laid before, and insists that it is done.
func (a *takeover) run(v version, mode string) (protocol.Envelope, protocol.Submission) {
	a.Helper()
	a.laid[v.digest()] = v
	e := a.envelope(v)
	if mode != "" {
		e.Params = map[string]string{"mode": mode}
	}
	s := a.seal(e)
	a.must(a.put(e, s))
	a.Eventually("the task is done", func() bool {
		status, err := a.agents.Status(a.Context(), a.at, e.Task, -1, time.Second)
		a.must(err)
		return status.Stage == restart.StageDone && status.Outcome == protocol.OutcomeSucceeded
	})
	return e, s
}

func (a *takeover) Eventually(what string, ok func() bool) {
	a.Helper()
	a.company.Eventually(what, ok)
}

// record reads the host's own record, which must verify.
func (a *takeover) record() []audit.Record {
	a.Helper()
	path := filepath.Join(a.host.Dir, "spool", ledger.AskedFile)
	f, err := os.Open(path)
	a.must(err)
	defer f.Close()
	report, err := audit.Verify(f)
	a.must(err)
	if !report.OK {
		a.Fatalf("the host's own record does not verify: %.500v", report)
	}
	b, err := os.ReadFile(path)
	a.must(err)
	var out []audit.Record
	for line := range strings.Lines(string(b)) {
		r, err := audit.Decode([]byte(strings.TrimSuffix(line, "\n")))
		a.must(err)
		out = append(out, r)
	}
	return out
}

// restart restarts the agent.
func (a *takeover) restart() {
	a.Helper()
	a.company.KillAgent(a.host)
	a.company.StartAgent(a.host)
	a.Eventually("the agent answers", func() bool {
		_, err := a.agents.Check(a.Context(), a.at, protocol.CheckRequest{})
		return err == nil
	})
}

// refused insists that an attack was refused by the host, with that code and
// words, that its own record says so too, and that nothing ran.
func (a *takeover) refused(name string, err error, code restart.Code, says string) {
	a.Helper()
	refused, ok := errors.AsType[*dispatch.RefusedError](err)
	if !ok || refused.Err.Code != code || !strings.Contains(refused.Error(), says) {
		a.Errorf("%s: %v, want %s with %q", name, err, code, says)
		return
	}
	found := slices.ContainsFunc(a.record(), func(r audit.Record) bool {
		return r.Action == audit.TaskRefused && r.Outcome == string(code) && strings.Contains(r.Detail, refused.Err.Message)
	})
	if !found {
		a.Errorf("%s: the host's own record does not have %q", name, refused.Err.Message)
	}
}

// Whoever has the server's keys, its database and its place in the network can
// ask a host for what its reviewers have let through, and for nothing else.
func TestServerTakenOver(t *testing.T) {
	t.Parallel()
	a := newTakeover(t)
	good := a.sign(a.body(2, "true", ""), "olga@example.com", "ivan@example.com")

	// What it still can do is done, and found in the host's own record.
	e, s := a.run(good, "hard")
	witness, err := os.ReadFile(a.company.WitnessFile())
	a.must(err)
	if want := e.Task + " hard serial 2\n"; string(witness) != want {
		t.Fatalf("the witness saw %q, want %q", witness, want)
	}
	taken := func(id string) bool {
		return slices.ContainsFunc(a.record(), func(r audit.Record) bool {
			return r.Action == audit.TaskTaken && r.Task == id && r.Actor == demo.Developer && r.Reason == e.Reason && r.ScenarioDigest == e.Digest && r.Params["mode"] != ""
		})
	}
	if !taken(e.Task) {
		t.Errorf("the host's own record does not tell of task %s", e.Task)
	}

	a.scripts(good)
	a.envelopes(good)
	a.replays(good, e, s)
	a.flood(good)
	if now, err := os.ReadFile(a.company.WitnessFile()); err != nil || strings.Contains(string(now), "EVIL") || strings.Count(string(now), "\n") != rate {
		t.Errorf("the witness saw, in the end:\n%s%v", now, err)
	}
	a.throughTheServer()
	a.compared(e)
}

// compared holds the host's own record against the server's trail: of what was
// asked past the server the host alone tells, and of the rest both tell the same.
func (a *takeover) compared(attack protocol.Envelope) {
	a.company.StopServer()
	out, talk, code := a.company.CLI(append([]string{"audit", "verify", a.company.AuditFile(), "--json"}, a.company.HostRecords()...)...)
	var report struct {
		OK    bool             `json:"ok"`
		Hosts audit.Comparison `json:"hosts"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 || report.OK {
		a.Fatalf("exit %d, %v\n%s\n%s", code, err, out, talk)
	}
	unasked := 0
	for _, d := range report.Hosts.Differences {
		if d.Kind != audit.DifferenceUnasked || d.Host != a.host.Name {
			a.Errorf("%s", d)
		}
		if d.Task == attack.Task {
			unasked++
		}
	}
	if unasked != 1 || report.Hosts.DifferenceCount < rate {
		a.Errorf("the attack is named %d times, among %d differences", unasked, report.Hosts.DifferenceCount)
	}
	if len(report.Hosts.Hosts) != 1 || report.Hosts.Hosts[0].Taken != rate || report.Hosts.Hosts[0].Heads != 0 {
		a.Errorf("%+v", report.Hosts.Hosts)
	}
}

// scripts tries versions that reviewers did not let through.
func (a *takeover) scripts(good version) {
	const evil = "echo EVIL"
	edited := version{body: a.body(3, evil, ""), sigs: good.sigs}
	flipped := version{body: []byte(strings.Replace(string(good.body), "true;", "True;", 1)), sigs: good.sigs}
	one := a.sign(a.body(4, evil, ""), "olga@example.com")
	renamed := one
	renamed.sigs = append(slices.Clone(one.sigs), protocol.ScenarioSignature{Principal: "ivan@example.com", Armored: one.sigs[0].Armored})
	twice := one
	twice.sigs = append(slices.Clone(one.sigs), one.sigs...)
	own := one
	stranger, err := ssh.NewSignerFromSigner(a.envelop)
	a.must(err)
	armored, err := signing.Sign(own.body, stranger)
	a.must(err)
	own.sigs = append(slices.Clone(one.sigs), protocol.ScenarioSignature{Principal: "petr@example.com", Armored: armored})
	withdrawn := a.sign(a.body(5, evil, ""), "olga@example.com", "ivan@example.com")
	a.must(os.WriteFile(filepath.Join(a.host.Dir, "revoked"), []byte("scenario "+withdrawn.digest()+"\n"), 0o600))
	for name, c := range map[string]struct {
		v    version
		says string
	}{
		"another script":         {edited, "signed by 0 of the 2 people"},
		"a changed byte":         {flipped, "signed by 0 of the 2 people"},
		"unsigned":               {version{body: a.body(4, evil, "")}, "signed by 0 of the 2 people"},
		"one signature":          {one, "signed by 1 of the 2 people"},
		"one signature twice":    {twice, "signed by 1 of the 2 people"},
		"under another's name":   {renamed, "signed by 1 of the 2 people"},
		"by its author and one":  {a.sign(a.body(4, evil, ""), "olga@example.com", "anna@example.com"), "signed by 1 of the 2 people"},
		"by a key of the server": {own, "signed by 1 of the 2 people"},
		"an older serial":        {a.sign(a.body(1, evil, ""), "olga@example.com", "ivan@example.com"), "serial 2 was accepted here"},
		"withdrawn":              {withdrawn, "was revoked on this host"},
		"expired":                {a.sign(a.body(6, evil, "expires: 2024-06-30\n"), "olga@example.com", "ivan@example.com"), "since the end of 2024-06-30"},
		"another unit, unsigned": {version{body: a.body(4, evil, "unit: sshd.service\n"), sigs: good.sigs}, "signed by 0 of the 2 people"},
		"another user, unsigned": {version{body: a.body(4, evil, "run_as: root\n"), sigs: good.sigs}, "signed by 0 of the 2 people"},
	} {
		a.laid[c.v.digest()] = c.v
		e := a.envelope(c.v)
		a.refused(name, a.put(e, a.seal(e)), restart.CodeNotReviewed, c.says)
		report, err := a.agents.Check(a.Context(), a.at, protocol.CheckRequest{Service: demo.ServiceName, Digest: c.v.digest()})
		if err != nil || len(report.Problems) == 0 || !strings.Contains(report.Problems[0].Message, c.says) {
			a.Errorf("%s: beforehand the host says %+v, %v", name, report.Problems, err)
		}
	}
	// Other bytes under the digest of what was reviewed.
	a.laid[good.digest()] = edited
	_, err = a.agents.Lay(a.Context(), a.at, good.digest())
	a.refused("other bytes under a reviewed digest", err, restart.CodeNotReviewed, "has digest")
	a.laid[good.digest()] = good
}

// envelopes tries what the reviewed scenario leaves no room for.
func (a *takeover) envelopes(good version) {
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	a.must(err)
	now := time.Now().UTC()
	shift := func(d time.Duration) func(*protocol.Envelope) {
		return func(e *protocol.Envelope) { e.NotBefore, e.Expiry = now.Add(d), now.Add(d+protocol.Lifetime) }
	}
	attacks := map[string]struct {
		change func(*protocol.Envelope)
		submit func(protocol.Envelope) protocol.Submission
		code   restart.Code
		says   string
	}{
		"a value outside its type":  {func(e *protocol.Envelope) { e.Params = map[string]string{"mode": "soft; EVIL"} }, nil, restart.CodeParam, "mode"},
		"a parameter it has not":    {func(e *protocol.Envelope) { e.Params = map[string]string{"run_as": "root"} }, nil, restart.CodeParam, "run_as"},
		"another service":           {func(e *protocol.Envelope) { e.Service = "sshd" }, nil, restart.CodeUnknownService, "does not list"},
		"made for another host":     {func(e *protocol.Envelope) { e.Host = "host2.test.internal" }, nil, restart.CodeWrongHost, "host2.test.internal"},
		"made for an hour ago":      {shift(-time.Hour), nil, restart.CodeClockSkew, "ago"},
		"made for an hour from now": {shift(time.Hour), nil, restart.CodeClockSkew, "behind"},
		"expired a moment ago":      {shift(-protocol.Lifetime - 10*time.Second), nil, restart.CodeReplay, "expired"},
		"good for a day":            {func(e *protocol.Envelope) { e.Expiry = e.Expiry.Add(24 * time.Hour) }, nil, restart.CodeInvalid, "lives for"},
		"under another name":        {func(e *protocol.Envelope) { e.Scenario = "other" }, nil, restart.CodeNotReviewed, "is called witness"},
		"signed by another key": {nil, func(e protocol.Envelope) protocol.Submission {
			s, _ := protocol.Seal(e, stranger)
			return protocol.Submission{Sealed: s, Epoch: 1}
		}, restart.CodeBadSignature, "does not know"},
		"as if root had begun it": {nil, func(e protocol.Envelope) protocol.Submission {
			s, _ := protocol.SealLocal(e, a.envelop)
			return protocol.Submission{Sealed: s, Epoch: 1}
		}, restart.CodeBadSignature, "never taken from the network"},
		"another unit":        {nil, func(e protocol.Envelope) protocol.Submission { return a.forge(e, "unit", "sshd.service") }, restart.CodeInvalid, "unit"},
		"another package":     {nil, func(e protocol.Envelope) protocol.Submission { return a.forge(e, "package", "openssh-server") }, restart.CodeInvalid, "package"},
		"another run_as":      {nil, func(e protocol.Envelope) protocol.Submission { return a.forge(e, "run_as", "root") }, restart.CodeInvalid, "run_as"},
		"a script of its own": {nil, func(e protocol.Envelope) protocol.Submission { return a.forge(e, "script", "echo EVIL") }, restart.CodeInvalid, "script"},
	}
	for _, name := range slices.Sorted(maps.Keys(attacks)) {
		c := attacks[name]
		e := a.envelope(good)
		if c.change != nil {
			c.change(&e)
		}
		s := a.seal(e)
		if c.submit != nil {
			s = c.submit(e)
		}
		a.refused(name, a.put(e, s), c.code, c.says)
	}
}

// replays tries what was good once, also on an agent that was restarted.
func (a *takeover) replays(good version, e protocol.Envelope, s protocol.Submission) {
	a.must(a.put(e, s)) // the same bytes of a task that is done: its status, and nothing runs
	later := s
	later.Epoch = 5
	a.must(a.put(e, later))
	a.refused("a lower epoch", a.put(e, s), restart.CodeStaleEpoch, "epoch 1 came after 5")
	again := a.envelope(good)
	again.Run = e.Run
	a.refused("a lower epoch of another task", a.put(again, a.seal(again)), restart.CodeStaleEpoch, "epoch 1 came after 5")
	_, err := a.agents.Forget(a.Context(), a.at, e.Task, protocol.Forget{Run: e.Run, Epoch: 5})
	a.must(err)
	for _, when := range []string{"", " after a restart"} {
		a.refused("a replay"+when, a.put(e, later), restart.CodeTombstone, "is over and was forgotten")
		again := a.envelope(good)
		again.Run = e.Run
		a.refused("a lower epoch"+when, a.put(again, a.seal(again)), restart.CodeStaleEpoch, "epoch 1 came after 5")
		old := a.sign(a.body(1, "echo EVIL", ""), "olga@example.com", "ivan@example.com")
		a.laid[old.digest()] = old
		older := a.envelope(old)
		a.refused("an older serial"+when, a.put(older, a.seal(older)), restart.CodeNotReviewed, "serial 2 was accepted here")
		if when == "" {
			a.restart()
		}
	}
}

// flood asks for what is good, and more often than the host allows.
func (a *takeover) flood(good version) {
	for range rate - 1 { // one has run
		a.run(good, "")
	}
	for _, when := range []string{"", " after a restart"} {
		for range 70 {
			e := a.envelope(good)
			a.refused("a flood"+when, a.put(e, a.seal(e)), restart.CodeBusy, fmt.Sprintf("has taken %d tasks", rate))
		}
		if when == "" {
			a.restart()
		}
	}
	if n := len(a.record()); n > 300 {
		a.Errorf("the host's own record has %d lines", n)
	}
}

// throughTheServer changes the scenario on the server, and asks as people do:
// the host's reason is in the run.
func (a *takeover) throughTheServer() {
	a.must(os.WriteFile(filepath.Join(a.company.ServerDir(), "scenarios", "witness.yaml"), a.body(9, "echo EVIL", ""), 0o600))
	out, talk, code := a.company.CLI("restart", demo.ServiceName, "--hosts", a.host.Name, "--reason", "workers hang since the deploy", "--yes", "--json")
	if code == 0 || !strings.Contains(out+talk, "has no scenario with digest") && !strings.Contains(out+talk, "signed") {
		a.Errorf("exit %d\n%s\n%s", code, out, talk)
	}
}
