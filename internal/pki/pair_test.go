package pki_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

const pairHost = "web1.example.com"

func pairOf(f files) pki.Pair { return pki.Pair{Cert: f.cert, Key: f.key} }

// renewPair does a whole renewal.
func renewPair(ca *pki.CA, p pki.Pair, caFile string, now time.Time) error {
	csr, err := p.Prepare(pairHost)
	if err != nil {
		return err
	}
	cert, err := ca.SignAgentCSR(csr, pairHost, now)
	if err != nil {
		return err
	}
	_, err = p.Replace(cert, caFile, pairHost, now)
	return err
}

func serialOf(t *testing.T, f files) string {
	t.Helper()
	c, err := pki.LoadCredentials(f.cert, f.key, f.ca)
	if err != nil {
		t.Fatal(err)
	}
	return pki.SerialOf(c.Leaf())
}

func leftovers(t *testing.T, f files) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(f.cert), "*.next"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAPairIsExchanged(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now.Add(-24*time.Hour))
	f := agent(t, ca, pairHost, now.Add(-time.Hour))
	credentials, err := pki.LoadCredentials(f.cert, f.key, f.ca)
	if err != nil {
		t.Fatal(err)
	}
	before := serialOf(t, f)
	if err := renewPair(ca, pairOf(f), f.ca, now); err != nil {
		t.Fatal(err)
	}
	if after := serialOf(t, f); after == before || pki.SerialOf(credentials.Leaf()) != after || len(leftovers(t, f)) > 0 {
		t.Errorf("serial %s, then %s, in use %s, left %v", before, after, pki.SerialOf(credentials.Leaf()), leftovers(t, f))
	}
	if info, err := os.Stat(f.key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info.Mode(), err)
	}
}

func TestAPairIsNotExchangedForAnything(t *testing.T) {
	now := time.Now()
	ca, other := newCA(t, "ca", now.Add(-24*time.Hour)), newCA(t, "another", now)
	sign := func(ca *pki.CA, host string, at time.Time) func([]byte) []byte {
		return func(csr []byte) []byte {
			text, err := ca.SignAgentCSR(csr, host, at)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	for name, c := range map[string]struct {
		host  string // in the request
		offer func(csr []byte) []byte
		says  string
	}{
		"another authority": {pairHost, sign(other, pairHost, now), "not trusted"},
		"another host":      {"web2.example.com", sign(ca, "web2.example.com", now), "web2.example.com"},
		"not valid yet":     {pairHost, sign(ca, pairHost, now.Add(time.Hour)), "valid only from"},
		"no longer life":    {pairHost, sign(ca, pairHost, now.Add(-2*time.Hour)), "no later than"},
		"another key": {pairHost, func([]byte) []byte {
			text, _, err := ca.IssueAgent(pairHost, nil, now)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}, "not for the key"},
		"a server's": {pairHost, func([]byte) []byte {
			text, _, err := ca.IssueClient(pairHost, now)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}, "direction"},
		"rubbish": {pairHost, func([]byte) []byte { return []byte("rubbish") }, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			f := agent(t, ca, pairHost, now.Add(-time.Hour))
			before := serialOf(t, f)
			csr, err := pairOf(f).Prepare(c.host)
			if err != nil {
				t.Fatal(err)
			}
			_, err = pairOf(f).Replace(c.offer(csr), f.ca, pairHost, now)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if after := serialOf(t, f); after != before {
				t.Error("the pair was exchanged")
			}
			if err := renewPair(ca, pairOf(f), f.ca, now); err != nil { // and nothing stands in the way of the next
				t.Error(err)
			}
		})
	}
	f := agent(t, ca, pairHost, now)
	if err := errors.Join(os.Rename(f.cert, f.cert+".real"), os.Symlink(f.cert+".real", f.cert)); err != nil {
		t.Fatal(err)
	}
	if _, err := pairOf(f).Prepare(pairHost); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("a link that somebody has laid: %v", err)
	}
}

// pairEnv tells a process of this test's what to do: DIR:STEP.
const pairEnv = "RESTARTILKA_TEST_PAIR"

// TestMain lets the test binary be the process that is killed in the middle of
// an exchange.
func TestMain(m *testing.M) {
	dir, step, ok := strings.Cut(os.Getenv(pairEnv), ":")
	if !ok {
		os.Exit(m.Run())
	}
	if err := exchangeUntil(dir, step); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

// exchangeUntil renews the pair of a folder, and is killed at a step.
func exchangeUntil(dir, step string) error {
	n, err := strconv.Atoi(step)
	if err != nil {
		return err
	}
	ca, err := pki.LoadCA(filepath.Join(dir, "authority", "ca.crt"), filepath.Join(dir, "authority", "ca.key"))
	if err != nil {
		return err
	}
	p := pki.Pair{Cert: filepath.Join(dir, "agent.crt"), Key: filepath.Join(dir, "agent.key")}.Stepping(func(string) {
		if n--; n == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	return renewPair(ca, p, filepath.Join(dir, "authority", "ca.crt"), time.Now())
}

// At each step of an exchange the process is killed. What Recover makes of it
// can be loaded, is the old pair or the new one, and can be renewed.
func TestAPairSurvivesAKillAtEveryStep(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now.Add(-24*time.Hour))
	exchanged := 0
	const steps = 5 // key.next, cert.next, cert, key, done
	for n := 1; n <= steps; n++ {
		f := agent(t, ca, pairHost, now.Add(-time.Hour))
		dir := t.TempDir()
		moved := files{cert: filepath.Join(dir, "agent.crt"), key: filepath.Join(dir, "agent.key"), ca: filepath.Join(dir, "authority", "ca.crt")}
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "authority"), 0o755), ca.Save(filepath.Join(dir, "authority")), copyFile(f.cert, moved.cert), copyFile(f.key, moved.key)); err != nil {
			t.Fatal(err)
		}
		before := serialOf(t, moved)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), pairEnv+"="+dir+":"+strconv.Itoa(n))
		out, err := cmd.CombinedOutput()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v\n%s", n, err, out)
		}
		if err := pairOf(moved).Recover(); err != nil {
			t.Errorf("step %d: %v", n, err)
		}
		after := serialOf(t, moved)
		if left := leftovers(t, moved); len(left) > 0 {
			t.Errorf("step %d: left %v", n, left)
		}
		if after != before {
			exchanged++
		}
		if want := n >= 3; (after != before) != want {
			t.Errorf("step %d: exchanged %v", n, after != before)
		}
		if err := renewPair(ca, pairOf(moved), moved.ca, now.Add(time.Minute)); err != nil {
			t.Errorf("step %d: the next renewal: %v", n, err)
		}
	}
	if exchanged == 0 || exchanged == steps {
		t.Errorf("%d of %d were exchanged", exchanged, steps)
	}
}

// The disk may get the two renames in the other order.
func TestAPairIsRecoveredInAnyOrder(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now.Add(-24*time.Hour))
	f := agent(t, ca, pairHost, now.Add(-time.Hour))
	fresh := agent(t, ca, pairHost, now)
	if err := errors.Join(copyFile(fresh.cert, f.cert+".next"), copyFile(fresh.key, f.key)); err != nil {
		t.Fatal(err)
	}
	if err := pairOf(f).Recover(); err != nil {
		t.Fatal(err)
	}
	if serialOf(t, f) != serialOf(t, fresh) {
		t.Error("not the new pair")
	}
	// Nothing that fits is made of files that do not.
	if err := copyFile(agent(t, ca, pairHost, now).key, f.key); err != nil {
		t.Fatal(err)
	}
	if err := pairOf(f).Recover(); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.LoadCredentials(f.cert, f.key, f.ca); restart.CodeOf(err) != restart.CodeCertificate {
		t.Error(err)
	}
	if _, err := os.Stat(f.key + ".next"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A join beside an agent that is just being asked to renew: the two are other
// programs, and neither waits. Whoever joins must not take that for done, nor
// throw away the key that it needs to do it again.
func TestAPairThatSomebodyElseExchangesIsNotInstalled(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now.Add(-24*time.Hour))
	f := agent(t, ca, pairHost, now.Add(-time.Hour))
	cert, key, err := ca.IssueAgent(pairHost, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	other := func(name string) {
		if name != "cert.next" { // the new key is laid, and not yet its certificate
			return
		}
		if _, err := pairOf(f).Prepare(pairHost); err != nil {
			t.Error(err)
		}
	}
	if err := pairOf(f).Stepping(other).Install(key, cert); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("%v", err)
	}
	if err := pairOf(f).Install(key, cert); err != nil || !pairOf(f).Whole() || !pairOf(f).Belongs(key) {
		t.Errorf("again: %v", err)
	}
}
