package review_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

// Keys are made once: k0 to k5.
var keys = func() (out []ssh.Signer) {
	for i := range 6 {
		k, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, ed25519.SeedSize)))
		if err != nil {
			panic(err)
		}
		out = append(out, k)
	}
	return out
}()

var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func body(name string, serial int, author, more string) []byte {
	return fmt.Appendf(nil, "format: 1\nname: %s\nserial: %d\nauthor: %s\nkind: custom\nservices: [shop]\n%ssteps:\n  run: {script: \"true\"}\n", name, serial, author, more)
}

func version(name string, serial int, more string, signers map[string]int) restart.ScenarioVersion {
	b := body(name, serial, "anna", more)
	v := restart.ScenarioVersion{Digest: scenario.Digest(b), Name: name, Serial: serial, Author: "anna", State: restart.VersionProposed, Body: b}
	for _, who := range slices.Sorted(maps.Keys(signers)) {
		k := keys[signers[who]]
		armored, err := signing.Sign(b, k)
		if err != nil {
			panic(err)
		}
		v.Signatures = append(v.Signatures, restart.ScenarioSignature{Principal: who, Fingerprint: ssh.FingerprintSHA256(k.PublicKey()), Armored: armored})
	}
	return v
}

func approved(v restart.ScenarioVersion) restart.ScenarioVersion {
	v.State, v.ApprovedAt = restart.VersionApproved, today
	return v
}

func policy(t interface{ Fatal(...any) }, lines map[string]int, revoked string) signing.Policy {
	var text strings.Builder
	for _, who := range slices.Sorted(maps.Keys(lines)) {
		text.WriteString(who + " " + string(ssh.MarshalAuthorizedKey(keys[lines[who]].PublicKey())))
	}
	p := signing.Policy{Quorum: 2, Now: today}
	var err error
	if p.Allowed, err = signing.ParseAllowed([]byte(text.String())); err == nil {
		p.Revoked, err = signing.ParseRevoked([]byte(revoked))
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var people = map[string]int{"anna": 0, "olga": 1, "ivan": 2, "paul": 3}

func TestJudge(t *testing.T) {
	both := map[string]int{"olga": 1, "ivan": 2}
	one, two, three := approved(version("a", 1, "", both)), approved(version("a", 2, "", both)), version("a", 3, "", map[string]int{"olga": 1})
	withdrawn := two
	withdrawn.State, withdrawn.WithdrawnBy = restart.VersionWithdrawn, "olga"
	over := approved(version("a", 2, "expires: 2026-11-21\n", both))
	last := approved(version("a", 2, "expires: 2026-11-22\n", both))
	weak := approved(version("a", 2, "", map[string]int{"olga": 1, "anna": 0}))
	for _, c := range []struct {
		name     string
		versions []restart.ScenarioVersion
		revoked  string
		want     string // of the highest serial first
	}{
		{"the highest approved", []restart.ScenarioVersion{one, two, three}, "", "waiting in_force superseded"},
		{"a proposal below it", []restart.ScenarioVersion{two, version("a", 1, "", nil)}, "", "in_force superseded"},
		{"withdrawn gives way", []restart.ScenarioVersion{one, withdrawn}, "", "withdrawn in_force"},
		{"revoked gives way", []restart.ScenarioVersion{one, two}, "scenario " + two.Digest, "revoked in_force"},
		{"expired does not", []restart.ScenarioVersion{one, over}, "", "expired superseded"},
		{"the last day", []restart.ScenarioVersion{last}, "", "in_force"},
		{"the author's signature", []restart.ScenarioVersion{one, weak}, "", "lost in_force"},
		{"a key is gone", []restart.ScenarioVersion{one}, "principal ivan", "lost"},
		{"never noted as approved", []restart.ScenarioVersion{version("a", 1, "", both)}, "", "waiting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, j := range review.Judge(c.versions, policy(t, people, c.revoked)) {
				got = append(got, string(j.Standing))
				usable := j.Standing == review.InForce || j.Standing == review.Superseded && j.State == restart.VersionApproved
				if err := j.Usable(false); (err == nil) != usable {
					t.Errorf("%s: %v", j.Standing, err)
				}
				if err := j.Usable(true); (err == nil) != (usable || j.Standing == review.Withdrawn || j.Standing == review.Expired) {
					t.Errorf("undrain, %s: %v", j.Standing, err)
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}

// A quorum is one of distinct people with distinct keys, without the author,
// whatever lines, names, keys and signatures there are.
func TestQuorumIsOneOfPeople(t *testing.T) {
	names := []string{"anna", "olga", "ivan", "paul", "OLGA", "olga.work"}
	rapid.Check(t, func(t *rapid.T) {
		lines := map[string]int{}
		for _, n := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "listed") {
			lines[n] = rapid.IntRange(0, len(keys)-1).Draw(t, "key of "+n)
		}
		signers := map[string]int{}
		for _, n := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "signed") {
			signers[n] = rapid.IntRange(0, len(keys)-1).Draw(t, "signed with, by "+n)
		}
		p := policy(t, lines, "")
		p.Quorum = rapid.IntRange(1, 3).Draw(t, "quorum")
		v := approved(version("a", 1, "", signers))
		j := review.Judge([]restart.ScenarioVersion{v}, p)[0]

		// Slowly: who shares a name, in whatever case, or a key is one person.
		person := map[string]string{}
		for n := range lines {
			person[n] = n
		}
		for range lines {
			for a := range lines {
				for b := range lines {
					if lines[a] == lines[b] || strings.EqualFold(a, b) {
						person[a] = min(person[a], person[b])
						person[b] = person[a]
					}
				}
			}
		}
		count := map[string]bool{}
		for n, k := range signers {
			listed, ok := lines[n]
			if ok && listed == k && (person["anna"] == "" || person[n] != person["anna"]) {
				count[person[n]] = true
			}
		}
		if want := len(count) >= p.Quorum; (j.Standing == review.InForce) != want {
			t.Fatalf("%s with %v of %v signed by %v, quorum %d", j.Standing, count, lines, signers, p.Quorum)
		}
	})
}

func TestWithout(t *testing.T) {
	v := approved(version("a", 1, "", map[string]int{"olga": 1, "ivan": 2}))
	w := approved(version("b", 1, "", map[string]int{"olga": 1, "ivan": 2, "paul": 3}))
	p := policy(t, people, "")
	judged := review.Judge([]restart.ScenarioVersion{v, w, version("c", 1, "", nil)}, p)
	for without, want := range map[string]string{
		"olga": "a 1 true, b 2 false", "anna": "a 2 false, b 3 false", ssh.FingerprintSHA256(keys[3].PublicKey()): "a 2 false, b 2 false",
	} {
		covered, err := review.Without(judged, p, []byte("principal gone\n"), without)
		var got []string
		for _, c := range covered {
			got = append(got, fmt.Sprintf("%s %d %t", c.Name, c.Left, c.Loses))
		}
		if text := strings.Join(got, ", "); err != nil || text != want {
			t.Errorf("without %s: %s (%v), want %s", without, text, err, want)
		}
	}
	for unknown, hint := range map[string]string{"nobody": "scenario_signers", "olha": "did you mean olga?", "SHA256:" + strings.Repeat("A", 43): "scenario_signers"} {
		if _, err := review.Without(judged, p, nil, unknown); restart.CodeOf(err) != restart.CodeNotFound || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v, want %q", unknown, err, hint)
		}
	}
	for _, bad := range []string{"", "a b", "SHA256:x", "x\nscenario " + v.Digest} {
		if _, err := review.Without(judged, p, nil, bad); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAhead(t *testing.T) {
	day := 24 * time.Hour
	for left, want := range map[time.Duration]int{31 * day: 0, 30 * day: 30, 15 * day: 30, 14 * day: 14, 4 * day: 14, 3 * day: 3, time.Second: 3, 0: 0, -day: 0} {
		if got := review.Ahead(restart.Scenario{Expires: today.Add(left)}, today); got != want {
			t.Errorf("%s ahead: %d, want %d", left, got, want)
		}
	}
	if review.Ahead(restart.Scenario{}, today) != 0 {
		t.Error("what never ends is warned of")
	}
}

func TestParts(t *testing.T) {
	s, err := scenario.Parse([]byte("format: 1\nname: a\nserial: 1\nauthor: anna\nkind: restart\nservices: [shop]\nsteps:\n  drain: {script: \"out #host#\"}\n  run: {script: \"systemctl restart #unit#\"}\n" +
		"health:\n  new_process: {unit: \"#unit#\"}\n  http: {url: \"http://127.0.0.1/\", body: up}\n  healthy_for: 1s\n"))
	if err != nil {
		t.Fatal(err)
	}
	parts, err := review.Parts(s, scenario.Facts{Service: "shop", Unit: "shop.service", Host: "web1"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range parts {
		got = append(got, p.Name+": "+p.Text)
	}
	want := "run_as: the service's own user, as services.d of the host names it|drain: out web1|run: systemctl restart shop.service|" +
		"health: a new process of unit shop.service\nGET http://127.0.0.1/ answers 200 with \"up\"\nwithout a break for 1 second"
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	if _, err := review.Parts(s, scenario.Facts{Service: "shop", Host: "web1"}); restart.CodeOf(err) != restart.CodeUnknownService {
		t.Errorf("without a unit: %v", err)
	}
}

// TestPartsOfADump: whoever reviews a dump is told whose rights it is taken with.
func TestPartsOfADump(t *testing.T) {
	for more, want := range map[string]string{"": "the agent's own user", "user: shop\n": "the agent's own user", "run_as: shop\n": "shop"} {
		s, err := scenario.Parse([]byte("format: 1\nname: a\nserial: 1\nauthor: anna\nkind: thread-dump\nservices: [shop]\n" + more + "dump: {}\n"))
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"", "www-data"} { // whatever services.d of the host names
			parts, err := review.Parts(s, scenario.Facts{Service: "shop", Unit: "shop.service", Host: "web1", User: user})
			if err != nil || len(parts) != 1 || parts[0] != (review.Part{Name: "run_as", Text: want}) {
				t.Errorf("%q, user %q: %v, %v; want %s", more, user, parts, err, want)
			}
		}
	}
}
