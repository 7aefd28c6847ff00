package signing_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

var (
	body = []byte("format: 1\nname: nginx-restart\nserial: 3\nauthor: anna@example.com\n")
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// newKey makes a key of a person in memory.
func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, private)
}

func signerOf(t testing.TB, key crypto.Signer) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// line is a person's line of allowed_signers.
func line(names, options string, key ssh.PublicKey) string {
	if options != "" {
		options += " "
	}
	return names + " " + options + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
}

func parse(t testing.TB, text string) signing.Allowed {
	t.Helper()
	a, err := signing.ParseAllowed([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func sign(t testing.TB, name string, key ssh.Signer) signing.Signature {
	t.Helper()
	b, err := signing.Sign(body, key)
	if err != nil {
		t.Fatal(err)
	}
	return signing.Signature{Principal: name, Armored: b}
}

// A quorum is one of people: neither a second file, nor a second key, nor a
// second name makes two of one.
func TestVerify(t *testing.T) {
	anna, olga, olga2, ivan, eve := newKey(t), newKey(t), newKey(t), newKey(t), newKey(t)
	list := line("anna@example.com", "", anna.PublicKey()) +
		line("olga@example.com,olga", "", olga.PublicKey()) + line("olga@example.com", "", olga2.PublicKey()) +
		line("ivan@example.com", `namespaces="git,restartilka-*"`, ivan.PublicKey()) +
		line("eve@example.com", `namespaces="git"`, eve.PublicKey()) +
		line("o.petrova", "", olga.PublicKey())
	byOlga, byIvan := sign(t, "olga@example.com", olga), sign(t, "ivan@example.com", ivan)
	sum := sha256.Sum256(body)
	tests := []struct {
		name    string
		author  string
		sigs    []signing.Signature
		revoked string
		enough  bool
		why     string // of the last that does not count
	}{
		{"two people", "", []signing.Signature{byOlga, byIvan}, "", true, ""},
		{"nobody", "", nil, "", false, ""},
		{"one", "", []signing.Signature{byOlga}, "", false, ""},
		{"one file twice", "", []signing.Signature{byOlga, byOlga}, "", false, "signed already"},
		{"two signatures by one key", "", []signing.Signature{byOlga, sign(t, "olga@example.com", olga)}, "", false, "signed already"},
		{"two keys of one person", "", []signing.Signature{byOlga, sign(t, "olga@example.com", olga2)}, "", false, "signed already"},
		{"two names of one key", "", []signing.Signature{byOlga, sign(t, "olga", olga)}, "", false, "signed already"},
		{"a name in another line", "", []signing.Signature{sign(t, "olga@example.com", olga2), sign(t, "o.petrova", olga)}, "", false, "signed already"},
		{"the author", "", []signing.Signature{byOlga, sign(t, "anna@example.com", anna)}, "", false, "the author"},
		{"the author, with his name before his mail", "Ivan <IVAN@example.com>", []signing.Signature{byOlga, byIvan}, "", false, "the author"},
		{"one of two authors", "Anna <anna@example.com>, Ivan <ivan@example.com>", []signing.Signature{byOlga, byIvan}, "", false, "the author"},
		{"the author, with a remark", "ivan@example.com (Ivan)", []signing.Signature{byOlga, byIvan}, "", false, "the author"},
		{"the author by another of his names", "o.petrova", []signing.Signature{byIvan, sign(t, "olga@example.com", olga2)}, "", false, "the author"},
		{"the author by the name that he signs in by", "Ivan", []signing.Signature{byOlga, byIvan}, "", false, "the author"},
		{"the author by it, with a remark and beside another", "anna, ivan (web)", []signing.Signature{byOlga, byIvan}, "", false, "the author"},
		{"the author's address, where the signer's name is what stands before the @", "o.petrova@example.com", []signing.Signature{byIvan, byOlga}, "", false, "the author"},
		{"somebody else of that first name", "Ivan Petrov <petrov@example.com>", []signing.Signature{byOlga, byIvan}, "", true, ""},
		{"the same name in another company", "ivan@example.org", []signing.Signature{byOlga, byIvan}, "", true, ""},
		{"not for scenarios", "", []signing.Signature{byOlga, sign(t, "eve@example.com", eve)}, "", false, "not among those"},
		{"a stranger", "", []signing.Signature{byOlga, sign(t, "ivan@example.com", newKey(t))}, "", false, "not among those"},
		{"under another's name", "", []signing.Signature{byOlga, sign(t, "ivan@example.com", anna)}, "", false, "is one of anna@example.com"},
		{"a name that is a path", "", []signing.Signature{byOlga, {Principal: "../ivan", Armored: byIvan.Armored}}, "", false, "not the name of one person"},
		{"a revoked key", "", []signing.Signature{byOlga, byIvan}, "key " + ssh.FingerprintSHA256(ivan.PublicKey()), false, "was revoked"},
		{"a revoked person, by another name and key", "", []signing.Signature{byIvan, sign(t, "olga@example.com", olga2)}, "principal O.Petrova", false, "were revoked"},
		{"a revoked version", "", []signing.Signature{byOlga, byIvan}, "scenario " + hex.EncodeToString(sum[:]), false, "this version"},
		{"something else revoked", "", []signing.Signature{byOlga, byIvan}, "# none\nscenario " + strings.Repeat("0", 64) + " # old\n", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			revoked, err := signing.ParseRevoked([]byte(tt.revoked))
			if err != nil {
				t.Fatal(err)
			}
			author := tt.author
			if author == "" {
				author = "anna@example.com"
			}
			v := signing.Verify(body, author, tt.sigs, signing.Policy{Allowed: parse(t, list), Revoked: revoked, Quorum: 2, Now: now})
			if v.Enough() != tt.enough || (v.Err() == nil) != tt.enough {
				t.Errorf("enough %v: %+v", v.Enough(), v)
			}
			if tt.why != "" && (len(v.Bad) == 0 || !strings.Contains(v.Bad[len(v.Bad)-1].Err.Error(), tt.why)) {
				t.Errorf("not counted: %+v, want %q", v.Bad, tt.why)
			}
		})
	}
}

func TestValidity(t *testing.T) {
	key := newKey(t)
	allowed := parse(t, line("olga", `valid-after="20260301Z",valid-before="202604011200Z"`, key.PublicKey()))
	for at, want := range map[time.Time]bool{
		time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC): false, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC): true,
		time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC): true, time.Date(2026, 4, 1, 12, 0, 1, 0, time.UTC): false,
	} {
		_, err := signing.Check(body, sign(t, "olga", key), signing.Policy{Allowed: allowed, Now: at})
		if (err == nil) != want {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

// What was damaged, or is something else, counts for nothing and breaks nothing.
func TestHostileSignatures(t *testing.T) {
	key := newKey(t)
	p := signing.Policy{Allowed: parse(t, line("olga", "", key.PublicKey())), Now: now}
	good := sign(t, "olga", key).Armored
	other, err := sshsig.Sign(bytes.NewReader(body), key, sshsig.HashSHA512, "git")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	for name, armored := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "cut": good[:len(good)/2], "twice": append(bytes.Clone(good), good...), "before": append([]byte("hello\n"), good...),
		"other type": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}), "cut inside": pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes[:60]}),
		"longer inside": pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: append(bytes.Clone(block.Bytes), 0)}),
		"header":        pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes, Headers: map[string]string{"a": "b"}}),
		"huge":          bytes.Repeat([]byte("A"), signing.MaxSignature+1), "namespace": sshsig.Armor(other),
	} {
		if _, err := signing.Check(body, signing.Signature{Principal: "olga", Armored: armored}, p); restart.CodeOf(err) != restart.CodeBadSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range block.Bytes {
		b := bytes.Clone(block.Bytes)
		b[i] ^= 1
		if _, err := signing.Check(body, signing.Signature{Principal: "olga", Armored: pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: b})}, p); err == nil {
			t.Errorf("byte %d was changed, and it counts", i)
		}
	}
	if _, err := signing.Check(append(bytes.Clone(body), '\n'), signing.Signature{Principal: "olga", Armored: good}, p); err == nil {
		t.Error("it counts for other bytes")
	}
}

func TestParseAllowed(t *testing.T) {
	key := newKey(t)
	ed := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	short, err := rsa.GenerateKey(rand.Reader, 1024) // it is to be refused
	if err != nil {
		t.Fatalf("this Go makes no short keys: %v", err)
	}
	weak := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signerOf(t, short).PublicKey())))
	for text, want := range map[string]string{
		"anna " + ed:              "",
		"\t anna  " + ed + " a b": "",
		`"anna,olga" ` + ed:       "",
		`anna NAMESPACES="restartilka-scenario" ` + ed: "",
		`anna namespaces="x,y z\"" ` + ed:              "",
		"# all\n\r\n":                                  "",
		"* " + ed:                                      "line 1 ",
		"\n\n*@example.com " + ed:                      "line 3 ",
		"!anna " + ed:                                  "name of one person",
		"anna,,olga " + ed:                             "name of one person",
		"-anna " + ed:                                  "name of one person",
		"anna cert-authority " + ed:                    "cert-authority",
		"anna color=red " + ed:                         "option",
		`anna namespaces="x ` + ed:                     "quote",
		`anna valid-after="yesterday" ` + ed:           "no time",
		`anna valid-after="20260230Z" ` + ed:           "no time",
		`anna valid-after="2027Z" ` + ed:               "no time",
		`anna valid-after=20270101Z,valid-before=20260101Z ` + ed: "later",
		"anna":                                       "too early",
		"anna ssh-ed25519":                           "too early",
		"anna ssh-ed25519 !!!":                       "base64",
		"anna ssh-ed25519 AAAA":                      "read",
		"anna ssh-rsa " + strings.Fields(ed)[1]:      "of type ssh-ed25519",
		"anna ssh-dss AAAAB3NzaC1kc3M=":              "too weak",
		"anna ssh-ed25519-cert-v01@openssh.com AAAA": "certificate",
		"anna " + weak:                               "1024 bits",
		"anna ssh-ed25519 AAAA\x1b[31m":              "base64",
	} {
		_, err := signing.ParseAllowed([]byte(text))
		switch {
		case want == "" && err != nil, want != "" && err == nil:
			t.Errorf("%q: %v, want %q", text, err, want)
		case err != nil && (!strings.Contains(err.Error(), want) || restart.CodeOf(err) != restart.CodeInvalid || restart.Escape(err.Error()) != err.Error()):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := signing.ParseAllowed(bytes.Repeat([]byte{'\n'}, signing.MaxList+1)); restart.CodeOf(err) != restart.CodeTooLarge {
		t.Errorf("a huge list: %v", err)
	}
}

func TestParseRevoked(t *testing.T) {
	print := ssh.FingerprintSHA256(newKey(t).PublicKey())
	for text, good := range map[string]bool{
		"": true, "# x\n\nkey " + print + "\nprincipal anna # left\nscenario " + strings.Repeat("a", 64): true,
		"key SHA256:abc": false, "key": false, "key " + print + " x": false, "scenario abc": false, "principal *": false, "host web1": false, "nonsense": false,
	} {
		if _, err := signing.ParseRevoked([]byte(text)); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Whatever people have and sign, a quorum never has more people in it than
// there are, and never the author.
func TestQuorumNeverCountsTwice(t *testing.T) {
	keys := make([]ssh.Signer, 6)
	for i := range keys {
		keys[i] = newKey(t)
	}
	names := []string{"anna", "olga", "ivan", "petr"}
	rapid.Check(t, func(t *rapid.T) {
		owner := rapid.SliceOfN(rapid.IntRange(0, 3), 6, 6).Draw(t, "owner of each key")
		var list strings.Builder
		for i, who := range owner {
			list.WriteString(line(names[who], "", keys[i].PublicKey()))
		}
		allowed, err := signing.ParseAllowed([]byte(list.String()))
		if err != nil {
			t.Fatal(err)
		}
		var sigs []signing.Signature
		people := map[int]bool{}
		for _, k := range rapid.SliceOfN(rapid.IntRange(0, 5), 0, 10).Draw(t, "signed by key") {
			as := rapid.SampledFrom(names).Draw(t, "as")
			b, err := signing.Sign(body, keys[k])
			if err != nil {
				t.Fatal(err)
			}
			sigs = append(sigs, signing.Signature{Principal: as, Armored: b})
			if as == names[owner[k]] && as != "anna" {
				people[owner[k]] = true
			}
		}
		v := signing.Verify(body, "anna", sigs, signing.Policy{Allowed: allowed, Quorum: 2, Now: now})
		if len(v.Good) != len(people) || len(v.Good)+len(v.Bad) != len(sigs) {
			t.Fatalf("%d counted, %d people have signed: %+v", len(v.Good), len(people), v)
		}
	})
}

// run runs a program of OpenSSH.
func run(t *testing.T, stdin []byte, program string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd.CombinedOutput()
}

func must(t *testing.T, stdin []byte, program string, args ...string) []byte {
	t.Helper()
	out, err := run(t, stdin, program, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return out
}

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What ssh-keygen makes we verify, and what we make ssh-keygen verifies, for
// every kind of key, with and without a passphrase.
func TestSSHKeygen(t *testing.T) {
	for _, kind := range [][]string{{"-t", "ed25519"}, {"-t", "ecdsa", "-b", "256"}, {"-t", "ecdsa", "-b", "521"}, {"-t", "rsa", "-b", "2048"}} {
		t.Run(strings.Join(kind, ""), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "key")
			must(t, nil, "ssh-keygen", append(kind, "-q", "-N", "secret", "-C", "olga", "-f", path)...)
			public, err := os.ReadFile(path + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			list := write(t, filepath.Join(dir, "allowed_signers"), []byte("olga@example.com namespaces=\""+signing.Namespace+"\" "+string(public)))
			text, err := os.ReadFile(list)
			if err != nil {
				t.Fatal(err)
			}
			p := signing.Policy{Allowed: parse(t, string(text)), Now: now}

			asked := 0
			key, closer, err := signing.ReadKey(path, func(string) ([]byte, error) { asked++; return []byte("secret"), nil })
			if err != nil || asked != 1 {
				t.Fatalf("read the key: %v, asked %d times", err, asked)
			}
			closer.Close()
			ours := sign(t, "olga@example.com", key)
			sig := write(t, filepath.Join(dir, "ours.sig"), ours.Armored)
			out := must(t, body, "ssh-keygen", "-Y", "verify", "-f", list, "-I", "olga@example.com", "-n", signing.Namespace, "-s", sig)
			if !strings.Contains(string(out), "Good") {
				t.Errorf("ssh-keygen says %s", out)
			}
			if out, err := run(t, append(body, 'x'), "ssh-keygen", "-Y", "verify", "-f", list, "-I", "olga@example.com", "-n", signing.Namespace, "-s", sig); err == nil {
				t.Errorf("ssh-keygen takes it for other bytes: %s", out)
			}

			must(t, nil, "ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", path)
			theirs := must(t, body, "ssh-keygen", "-q", "-Y", "sign", "-f", path, "-n", signing.Namespace)
			theirs = theirs[bytes.Index(theirs, []byte("-----BEGIN")):]
			seal, err := signing.Check(body, signing.Signature{Principal: "olga@example.com", Armored: theirs}, p)
			if err != nil || seal.Fingerprint != ssh.FingerprintSHA256(key.PublicKey()) {
				t.Errorf("ours says of ssh-keygen's signature: %+v, %v", seal, err)
			}
			if _, err := signing.Check(append(body, 'x'), signing.Signature{Principal: "olga@example.com", Armored: theirs}, p); err == nil {
				t.Error("it counts for other bytes")
			}
		})
	}
}

// A key that ssh-agent holds is named by its .pub file.
func TestSSHAgent(t *testing.T) {
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "key"), filepath.Join(dir, "agent")
	must(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Process.Kill(); agent.Wait() }) // it was killed
	t.Setenv("SSH_AUTH_SOCK", socket)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // another program's start
		if c, err := net.Dial("unix", socket); err == nil { // the file is there before anybody listens
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("ssh-agent does not listen")
		}
	}
	if _, _, err := signing.ReadKey(path+".pub", nil); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("a key that it does not hold: %v", err)
	}
	must(t, nil, "ssh-add", "-q", path)
	key, closer, err := signing.ReadKey(path+".pub", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	p := signing.Policy{Allowed: parse(t, line("olga", "", key.PublicKey())), Now: now}
	if _, err := signing.Check(body, sign(t, "olga", key), p); err != nil {
		t.Error(err)
	}
}

func TestReadKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	must(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", path)
	wrong := func(string) ([]byte, error) { return []byte("wrong"), nil }
	for name, try := range map[string]func() (string, func(string) ([]byte, error)){
		"absent":       func() (string, func(string) ([]byte, error)) { return path + ".no", wrong },
		"passphrase":   func() (string, func(string) ([]byte, error)) { return path, wrong },
		"nobody asked": func() (string, func(string) ([]byte, error)) { return path, nil },
		"nonsense": func() (string, func(string) ([]byte, error)) {
			return write(t, filepath.Join(dir, "x"), []byte("x")), wrong
		},
	} {
		p, ask := try()
		if _, _, err := signing.ReadKey(p, ask); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := signing.ReadKey(path, wrong); err == nil || !strings.Contains(err.Error(), "0644") {
		t.Errorf("open to all: %v", err)
	}
}

func TestReadFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x.yaml"+signing.FolderSuffix)
	if sigs, errs := signing.ReadFolder(dir); sigs != nil || errs != nil {
		t.Errorf("absent: %v, %v", sigs, errs)
	}
	if err := os.MkdirAll(filepath.Join(dir, "dir.sig"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "olga@example.com.sig"), []byte("a"))
	write(t, filepath.Join(dir, "ivan.sig"), []byte("b"))
	write(t, filepath.Join(dir, "README"), []byte("c"))
	write(t, filepath.Join(dir, "huge.sig"), make([]byte, signing.MaxSignature+1))
	sigs, errs := signing.ReadFolder(dir)
	if len(sigs) != 2 || sigs[0].Principal != "ivan" || sigs[1].Principal != "olga@example.com" || len(errs) != 3 {
		t.Errorf("%v, %v", sigs, errs)
	}
}
