package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
)

var update = flag.Bool("update", false, "write testdata/vectors.jsonl anew")

// vectors are records of every shape; testdata/vectors.jsonl is their encoding.
func vectors() []audit.Record {
	digest := strings.Repeat("0f", 32)
	records := []audit.Record{
		{Action: audit.ServerStarted, Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		{
			Time: time.Date(2026, 3, 1, 15, 0, 0, 123456789, time.FixedZone("", 3*3600)), Actor: "anna", Origin: "cli 192.0.2.7", Action: audit.RunStarted,
			Run: "06dbx7kq3p0000000000000001", Task: "06dbx7kq3p0000000000000002", Attempt: 2, Service: "nginx", Environment: "production",
			Host: "web1.example.com", ScenarioDigest: digest, Params: map[string]string{"mode": "fast", "a": "", "b_1": "x=y,z"},
			Reason: "502 с 14:00, воркеры висят 🔥", Outcome: "running", Detail: `say "yes" \ or <no> & go`,
		},
		{Action: audit.SignInRefused, Actor: "eve\n{\"source\":\"x\"}\x1b[2J\u202egnp\xff\u2028\u0085\u061c", Origin: "web\t2001:db8::1\r\n\x00"},
		{Action: audit.RunRequested, Reason: strings.Repeat("ы", 500), Detail: strings.Repeat("web1.example.com,", 1000)},
		{Action: audit.TaskIntent, Params: map[string]string{"long": strings.Repeat("v", 900), "longer": strings.Repeat("w", 900)}},
	}
	head := audit.Head{Source: "server-1"}
	for i := range records {
		records[i].Link(head)
		head = records[i].Head()
		if i == 2 {
			head.Epoch++
		}
	}
	return records
}

func TestVectors(t *testing.T) {
	const path = "testdata/vectors.jsonl"
	got := lines(vectors())
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the encoding has changed: records of older versions would not verify any more\n%s", diff)
	}
	if diff := cmp.Diff(vectors(), parse(t, want)); diff != "" {
		t.Errorf("decoded (-want +got)\n%s", diff)
	}
	if report := verify(t, want); !report.OK {
		t.Error(describe(report))
	}
}

// The recipe of the package comment, for those who follow the chain without us.
func TestHashCanBeFollowedWithSed(t *testing.T) {
	member := regexp.MustCompile(`,"hash":"([0-9a-f]*)"}$`)
	prev := ""
	for line := range strings.Lines(string(lines(vectors()))) {
		line = strings.TrimSuffix(line, "\n")
		sum := sha256.Sum256([]byte(member.ReplaceAllString(line, "}")))
		hash := member.FindStringSubmatch(line)[1]
		if hash != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: its hash is not reproduced", line)
		}
		if prev != "" && !strings.Contains(line, `"prev_hash":"`+prev+`"`) {
			t.Errorf("%s: does not follow %s", line, prev)
		}
		prev = hash
	}
}

func TestJSONMarshalGivesTheCanonicalBytes(t *testing.T) {
	for _, r := range vectors() {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, r.Canonical()) {
			t.Errorf("json.Marshal gives\n%s\ninstead of\n%s", b, r.Canonical())
		}
		var back audit.Record
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Error(diff)
		}
	}
	unlinked := audit.Record{Action: audit.SignIn, Actor: "a\nb\u202e"}
	b, err := json.Marshal(unlinked)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Decode(b); err != nil {
		t.Errorf("a record that was not cleaned does not survive JSON: %v", err)
	}
}

// anyRecord has texts of all kinds in every field.
func anyRecord(t *rapid.T) audit.Record {
	text := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"", "\n", "\u202e", `{"source":"x"}`, strings.Repeat("\x00", 3000), strings.Repeat("<", 9000), strings.Repeat("ы", 5000)}),
	)
	return audit.Record{
		Time:  time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "time")),
		Actor: text.Draw(t, "actor"), Origin: text.Draw(t, "origin"), Action: audit.Action(text.Draw(t, "action")),
		Run: text.Draw(t, "run"), Task: text.Draw(t, "task"), Attempt: rapid.Int().Draw(t, "attempt"), Service: text.Draw(t, "service"),
		Environment: text.Draw(t, "environment"), Host: text.Draw(t, "host"), ScenarioDigest: text.Draw(t, "digest"),
		Params: rapid.MapOf(text, text).Draw(t, "params"), Reason: text.Draw(t, "reason"), Outcome: text.Draw(t, "outcome"), Detail: text.Draw(t, "detail"),
	}
}

func TestLinkedRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord(t)
		r.Clean()
		once := r
		r.Clean()
		if diff := cmp.Diff(once, r); diff != "" {
			t.Fatalf("cleaning twice is not cleaning once:\n%s", diff)
		}
		r.Link(audit.Head{Source: strings.Repeat("s", 128), Epoch: 1 << 62, Seq: 1 << 62, Hash: strings.Repeat("a", 64)})
		b := r.Canonical()
		if len(b) > audit.MaxSize {
			t.Fatalf("%d bytes", len(b))
		}
		for _, c := range string(b) {
			if c < 0x20 || c >= 0x7f && c < 0xa0 || c >= 0x202a && c <= 0x202e || c == 0x2028 || c == 0xfffe {
				t.Fatalf("%q is in %s", c, b)
			}
		}
		back, err := audit.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Fatalf("decoded (-want +got)\n%s", diff)
		}
		if !back.Intact() {
			t.Fatal("not intact")
		}
	})
}

func TestAReasonIsNeverCut(t *testing.T) {
	for _, c := range []string{"ы", "<", `"`, "🔥"} {
		r := audit.Record{Reason: strings.Repeat(c, 500)}
		if r.Clean(); r.Reason != strings.Repeat(c, 500) {
			t.Errorf("500 times %s: %s", c, r.Reason)
		}
	}
}

func TestCleanDoesNotTouchTheCallersMap(t *testing.T) {
	params := map[string]string{"a": "\n"}
	r := audit.Record{Params: params}
	r.Clean()
	if params["a"] != "\n" || r.Params["a"] != `\n` {
		t.Errorf("the caller has %q, the record %q", params, r.Params)
	}
}

func TestDecodeRefusesOtherBytes(t *testing.T) {
	whole := string(chained(1)[0].Canonical())
	if _, err := audit.Decode([]byte(whole)); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"blank":            strings.Replace(whole, `,"seq"`, `, "seq"`, 1),
		"order":            strings.Replace(whole, `"epoch":1,"seq":1`, `"seq":1,"epoch":1`, 1),
		"unknown key":      strings.Replace(whole, `"actor":`, `"xactor":`, 1),
		"upper case key":   strings.Replace(whole, `"actor":`, `"Actor":`, 1),
		"repeated key":     strings.Replace(whole, `"actor":"anna"`, `"actor":"eve","actor":"anna"`, 1),
		"other escape":     strings.Replace(whole, `"anna"`, `"\u0061nna"`, 1),
		"null":             strings.Replace(whole, `"actor":"anna"`, `"actor":null`, 1),
		"empty text":       strings.Replace(whole, `"anna"`, `""`, 1),
		"zone":             strings.Replace(whole, `Z","actor"`, `+00:00","actor"`, 1),
		"seconds":          regexp.MustCompile(`\.\d{6}Z`).ReplaceAllString(whole, "Z"),
		"mark":             strings.Replace(whole, `"anna"`, `"anna\u202e"`, 1),
		"control":          strings.Replace(whole, `"anna"`, `"anna\u000a"`, 1),
		"mark in a value":  strings.Replace(whole, `"a=b]"`, `"a\u2067"`, 1),
		"invalid UTF-8":    strings.Replace(whole, `"anna"`, "\"anna\xff\"", 1),
		"half a surrogate": strings.Replace(whole, `"anna"`, `"anna\ud800"`, 1),
		"number":           strings.Replace(whole, `"epoch":1`, `"epoch":1.0`, 1),
		"behind":           whole + " ",
		"two":              whole + whole,
		"cut":              whole[:len(whole)-3],
		"nothing":          "",
		"array":            "[]",
	} {
		if line == whole {
			t.Errorf("%s: the case changes nothing", name)
		}
		if r, err := audit.Decode([]byte(line)); err == nil {
			t.Errorf("%s: accepted as %+v", name, r)
		}
	}
}

func TestEachFieldIsHashed(t *testing.T) {
	changes := map[string]func(*audit.Record){
		"source": func(r *audit.Record) { r.Source += "x" }, "epoch": func(r *audit.Record) { r.Epoch++ }, "seq": func(r *audit.Record) { r.Seq++ },
		"prev_hash": func(r *audit.Record) { r.PrevHash = "" }, "time": func(r *audit.Record) { r.Time = r.Time.Add(time.Microsecond) },
		"actor": func(r *audit.Record) { r.Actor += "x" }, "origin": func(r *audit.Record) { r.Origin += "x" }, "action": func(r *audit.Record) { r.Action += "x" },
		"run": func(r *audit.Record) { r.Run += "x" }, "task": func(r *audit.Record) { r.Task += "x" }, "attempt": func(r *audit.Record) { r.Attempt++ },
		"service": func(r *audit.Record) { r.Service += "x" }, "environment": func(r *audit.Record) { r.Environment += "x" }, "host": func(r *audit.Record) { r.Host += "x" },
		"digest": func(r *audit.Record) { r.ScenarioDigest += "x" }, "params": func(r *audit.Record) { r.Params["y"] = "x" }, "reason": func(r *audit.Record) { r.Reason += "x" },
		"outcome": func(r *audit.Record) { r.Outcome += "x" }, "detail": func(r *audit.Record) { r.Detail += "x" }, "hash": func(r *audit.Record) { r.Hash = "" },
	}
	for name, change := range changes {
		r := chained(2)[1]
		if change(&r); r.Intact() {
			t.Errorf("%s can be changed unnoticed", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range vectors() {
		f.Add(r.Canonical())
	}
	f.Add([]byte(`{"source":"a","seq":0}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := audit.Decode(line)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Canonical(), line) {
			t.Errorf("%q is accepted, and written as %q", line, r.Canonical())
		}
		if bytes.ContainsAny(line, "\n\r\x1b\x00") {
			t.Errorf("%q is accepted", line)
		}
	})
}
