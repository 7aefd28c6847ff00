package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
)

// sealedVectors are a trail with seals and a change of the key; they lie in
// testdata/seals.jsonl, and the public half of the first key in seals.pub.
func sealedVectors() []audit.Record {
	old := audit.KeyOf(1)
	trail := newScript(old)
	trail.event("server.started", 0)
	trail.event("run.started", time.Second)
	trail.seal(30 * time.Second)
	trail.event("run.ended", time.Second)
	trail.seal(time.Minute)
	trail.turn(audit.KeyOf(2), old)
	trail.seal(time.Second)
	return trail.records
}

func TestSealVectors(t *testing.T) {
	got := lines(sealedVectors())
	public, err := audit.KeyOf(1).PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{"testdata/seals.jsonl": got, "testdata/seals.pub": public} {
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(text)); diff != "" {
			t.Errorf("%s: what older versions have sealed would not verify any more\n%s", path, diff)
		}
	}
	keys, err := audit.ParsePublicKeys(public)
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	report := verifyWith(t, got, audit.VerifyOptions{Keys: keys})
	s := report.Sources[0]
	if !report.OK || s.Seals != 3 || s.Sealed != 6 || s.Unsealed != 0 || len(s.Keys) != 2 || !s.Keys[1].Good || len(report.Notes) != 1 {
		t.Error(describe(report))
	}
}

// The recipe of docs/guide/auditor.md, for those who do not trust our program.
func TestSealsCanBeFollowedWithOpenSSL(t *testing.T) {
	for _, program := range []string{"openssl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip("NOT TESTED: ", err)
		}
	}
	guide, err := os.ReadFile("../../docs/guide/auditor.md")
	if err != nil {
		t.Fatal(err)
	}
	_, recipe, ok := strings.Cut(string(guide), "<!-- tried by TestSealsCanBeFollowedWithOpenSSL -->\n")
	recipe, _, ok2 := strings.Cut(recipe, "\n<!-- to here -->")
	if !ok || !ok2 {
		t.Fatal("the guide has no recipe")
	}
	recipe = strings.NewReplacer("```sh\n", "", "```", "").Replace(recipe)
	dir := t.TempDir()
	run := func(records []audit.Record) (string, error) {
		if err := os.WriteFile(filepath.Join(dir, "restartilka.jsonl"), lines(records), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", recipe)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	public, _ := audit.KeyOf(1).PublicPEM()
	if err := os.WriteFile(filepath.Join(dir, "main.pub"), public, 0o600); err != nil {
		t.Fatal(err)
	}
	records := sealedVectors()[:5]
	if out, err := run(records); err != nil || strings.Count(out, "Signature Verified Successfully") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	last := &records[len(records)-1]
	last.Time = last.Time.Add(time.Second)
	if out, err := run(records); err == nil {
		t.Errorf("a changed seal is accepted:\n%s", out)
	}
}

func TestSealsSayOneThingOnly(t *testing.T) {
	r := sealedVectors()[2]
	if _, err := audit.ReadSeal(&r); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p map[string]string){
		"a number with a zero": func(p map[string]string) { p["first"] = "01" },
		"no number":            func(p map[string]string) { p["last"] = "" },
		"a short key":          func(p map[string]string) { p["key"] = p["key"][:40] },
		"another spelling":     func(p map[string]string) { p["signature"] = strings.TrimRight(p["signature"], "=") + "\n==" },
		"more":                 func(p map[string]string) { p["x"] = "y" },
		"less":                 func(p map[string]string) { delete(p, "head") },
	} {
		bad := sealedVectors()[2]
		change(bad.Params)
		if _, err := audit.ReadSeal(&bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := audit.ReadSeal(&audit.Record{Action: audit.SignIn}); err == nil {
		t.Error("a record of something else is read as a seal")
	}
}

func TestKeyFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.key")
	if _, err := audit.LoadKey(path); err == nil {
		t.Error("a key that is not there is loaded")
	}
	var made []*audit.Key
	for range 3 {
		k, err := audit.MakeKey(path, epochStart)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, k)
	}
	loaded, err := audit.LoadKey(path)
	if err != nil || !loaded.Public().Equal(made[2].Public()) {
		t.Fatalf("another key is loaded: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %s, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(audit.PublicFile(path))
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := audit.ParsePublicKeys(text); err != nil || len(keys) != 1 || !keys[0].Equal(made[2].Public()) {
		t.Errorf("%v, %v", keys, err)
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"a private key": string(secret), "nothing": "", "no key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := audit.ParsePublicKeys([]byte(bad)); err == nil {
			t.Errorf("%s is taken for a public key", name)
		}
	}
	_, rest := pem.Decode(text)
	change, _ := pem.Decode(rest)
	change.Bytes = bytes.Replace(change.Bytes, []byte("time 2026"), []byte("time 2027"), 1)
	if err := os.WriteFile(audit.PublicFile(path), pem.EncodeToMemory(change), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.LoadKey(path); err == nil {
		t.Error("a change of the key that nobody signed is loaded")
	}
}

func FuzzParsePublicKeys(f *testing.F) {
	public, _ := audit.KeyOf(2, 1).PublicPEM()
	f.Add(public)
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := audit.ParsePublicKeys(text)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
}

// sealing runs a trail with a key in a bubble of its own time.
func sealing(t *testing.T, store *memory, key *audit.Key) (*audit.Trail, *scripted, func()) {
	sink := &scripted{level: audit.LevelSpool}
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{sink}, Key: key})
	return trail, sink, stop
}

func commitNow(m *memory, actions ...audit.Action) {
	for _, a := range actions {
		m.commit(audit.Record{Action: a, Time: time.Now()})
	}
}

// A server that does nothing is heard once a minute; one that is busy seals
// after a thousand records; one that stops seals what it has.
func TestTrailIsSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, key := newMemory(), audit.KeyOf(1)
		trusted := audit.VerifyOptions{Keys: []ed25519.PublicKey{key.Public()}}
		trail, sink, stop := sealing(t, store, key)
		time.Sleep(10 * time.Second)
		if head, _ := store.AuditHead(t.Context(), source); head.Seq != 0 {
			t.Errorf("%d records of an empty trail", head.Seq)
		}
		commitNow(store, audit.ServerStarted)
		trail.Wake()
		time.Sleep(10*time.Minute + time.Second)
		if n := sealsOf(arrived(sink)); n < 10 || n > 12 {
			t.Errorf("%d seals in ten minutes", n)
		}
		commitNow(store, make([]audit.Action, 5000)...)
		trail.Wake()
		if err := trail.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		trusted.Now = time.Now()
		report := verifyWith(t, lines(arrived(sink)), trusted)
		if s := report.Sources[0]; !report.OK || len(report.Notes) > 0 || s.Unsealed > 1256 || s.Seals < 14 || s.Seals > 18 {
			t.Error(describe(report))
		}
		commitNow(store, audit.ServerStopped)
		if err := trail.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if report = verifyWith(t, lines(arrived(sink)), trusted); !report.OK || report.Sources[0].Unsealed != 0 {
			t.Error(describe(report))
		}
		stop()
		// An hour later, another key, named by the first.
		time.Sleep(time.Hour)
		commitNow(store, audit.ServerStarted)
		_, second, stop := sealing(t, store, audit.KeyOf(2, 1))
		time.Sleep(time.Second)
		stop()
		trusted.Now = time.Now()
		whole := slices.Concat(lines(arrived(sink)), lines(arrived(second)))
		report = verifyWith(t, whole, trusted)
		if !report.OK || len(report.Notes) != 1 || report.Notes[0].Kind != audit.FaultKey || !report.Sources[0].Keys[1].Good {
			t.Error(describe(report))
		}
		// One that nobody has named is another matter, until it is given too.
		commitNow(store, audit.ServerStarted)
		_, third, stop := sealing(t, store, audit.KeyOf(3))
		time.Sleep(time.Second)
		stop()
		whole = append(whole, lines(arrived(third))...)
		if report = verifyWith(t, whole, trusted); report.OK || !slices.Equal(kindsOf(report), []audit.FaultKind{audit.FaultKey}) {
			t.Error(describe(report))
		}
		if report = verifyWith(t, whole, audit.VerifyOptions{}); report.OK || !slices.Equal(kindsOf(report), []audit.FaultKind{audit.FaultKey}) {
			t.Error(describe(report))
		}
		trusted.Keys = append(trusted.Keys, audit.KeyOf(3).Public())
		if report = verifyWith(t, whole, trusted); !report.OK {
			t.Error(describe(report))
		}
	})
}

// What the database does not take is sealed when it takes it again.
func TestSealingSurvivesADatabaseThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, key := newMemory(), audit.KeyOf(1)
		commitNow(store, audit.ServerStarted)
		trail, sink, stop := sealing(t, store, key)
		time.Sleep(time.Second)
		store.fail(os.ErrDeadlineExceeded)
		time.Sleep(10 * time.Minute)
		store.fail(nil)
		time.Sleep(2 * time.Minute)
		if err := trail.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		report := verifyWith(t, lines(arrived(sink)), audit.VerifyOptions{Keys: []ed25519.PublicKey{key.Public()}, Now: time.Now()})
		if !report.OK || len(report.Notes) != 1 || report.Notes[0].Kind != audit.FaultSilence {
			t.Error(describe(report))
		}
		stop()
	})
}

// arrived are the records that a sink has.
func arrived(sink *scripted) (got []audit.Record) {
	sink.set(func(s *scripted) { got = slices.Clone(s.got) })
	return got
}

func sealsOf(records []audit.Record) (n int) {
	for _, r := range records {
		if r.Action == audit.AuditSealed {
			n++
		}
	}
	return n
}

func verifyWith(t interface {
	Helper()
	Fatal(...any)
}, text []byte, o audit.VerifyOptions) audit.Report {
	t.Helper()
	report, err := audit.VerifyInputs([]audit.Input{{Reader: bytes.NewReader(text)}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// script writes a sealed trail as a server would have.
type script struct {
	key     *audit.Key
	head    audit.Head
	now     time.Time
	sealed  int64 // seq of the last seal
	records []audit.Record
}

func newScript(key *audit.Key) *script {
	return &script{key: key, head: audit.Head{Source: source}, now: epochStart}
}

func (s *script) add(r audit.Record) {
	r.Link(s.head)
	s.head = r.Head()
	s.records = append(s.records, r)
}

func (s *script) event(action audit.Action, after time.Duration) {
	s.now = s.now.Add(after)
	r := event(int(s.head.Seq))
	r.Action, r.Time = action, s.now
	s.add(r)
}

func (s *script) seal(after time.Duration) {
	s.now = s.now.Add(after)
	s.add(s.key.Seal(s.head, max(s.sealed, 1), s.now))
	s.sealed = s.head.Seq
}

// turn has the key before name another, which seals from then on.
func (s *script) turn(next, before *audit.Key) {
	s.add(audit.KeyChangeRecord(before, next, source, s.now))
	s.key = next
}

// remade makes the trail anew from a record on, with another reason there.
func remade(records []audit.Record, from int, key *audit.Key) []audit.Record {
	s := newScript(key)
	for i, r := range records {
		switch {
		case i < from:
			s.records, s.head = append(s.records, r), r.Head()
		case r.Action == audit.AuditSealed && key != nil:
			s.now = r.Time
			s.seal(0)
			continue
		case r.Action == audit.AuditSealed:
			r.Action, r.Params = audit.SignIn, nil
			s.add(r)
		default:
			r.Reason += " (made anew)"
			s.add(r)
		}
		if r.Action == audit.AuditSealed {
			s.sealed = r.Seq
		}
	}
	return s.records
}
