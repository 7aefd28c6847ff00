// Package dumps takes thread dumps of real processes through the whole product:
// a Tomcat that hangs in three ways, a group of JVMs of which two hang alike, a
// program of each runtime, and what a restart keeps of them. Server and agents
// are the real programs, and what is asked is what people ask.
package dumps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// goService makes this program the Go service of which a dump is taken: its
// value is the address of the pprof endpoint.
const goService = "RESTARTILKA_TEST_GO_SERVICE"

func TestMain(m *testing.M) {
	if address := os.Getenv(goService); address != "" {
		serveGo(address)
		return
	}
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

const (
	service = "shop"
	reason  = "requests hang since the 14:00 deploy"
)

// need skips where a program or a file of a Debian package is absent; CI has
// them all.
func need(t testing.TB, what ...string) {
	t.Helper()
	for _, name := range what {
		_, err := exec.LookPath(name)
		if filepath.Ext(name) == ".jar" {
			_, err = os.Stat(name)
		}
		if err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is needed: scripts/deps.sh installs it", name)
		}
		t.Skipf("NOT TESTED: %s is not there; scripts/deps.sh installs it", name)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shop stands a company up whose service is called shop, and reviews scenarios
// on all its hosts.
func shop(t testing.TB, hosts int, server string, scenarios map[string]string) *company.Company {
	t.Helper()
	var names []string
	for i := range hosts {
		names = append(names, fmt.Sprintf("shop%d.example.com", i+1))
	}
	return company.New(t, company.Options{
		Hosts: hosts, Names: names, Server: server,
		Scenario: func(*company.Company) (string, string) {
			return "none", scenario("none", "custom", "steps: {run: {script: \"true\"}}")
		},
		Prepare: func(c *company.Company) {
			inventory := filepath.Join(c.ServerDir(), "inventory.yaml")
			b, err := os.ReadFile(inventory)
			must(t, err)
			b = bytes.ReplaceAll(b, []byte("name: "+demo.ServiceName), []byte("name: "+service))
			b = bytes.ReplaceAll(b, []byte("services: ["+demo.ServiceName+"]"), []byte("services: ["+service+"]"))
			must(t, os.WriteFile(inventory, b, 0o600))
			for name, text := range scenarios {
				must(t, os.WriteFile(filepath.Join(c.ServerDir(), "scenarios", name+".yaml"), []byte(text), 0o600))
			}
			for _, h := range c.Hosts {
				must(t, os.Rename(filepath.Join(h.Dir, "services.d", "hello.yaml"), filepath.Join(h.Dir, "services.d", service+".yaml")))
				for name, text := range scenarios {
					must(t, os.WriteFile(filepath.Join(h.Dir, "scenarios.d", name+".yaml"), []byte(text), 0o600))
				}
			}
		},
	})
}

// scenario gives a reviewed file for the shop.
func scenario(name, kind, rest string) string {
	strategy := "{batches: [50], task_timeout: 1m, on_failure: continue}"
	if kind == "restart" {
		strategy = "{batches: [1], task_timeout: 1m, on_failure: continue, max_failures: 1}"
	}
	return fmt.Sprintf("format: 1\nname: %s\nserial: 1\nauthor: test@restartilka.invalid\nkind: %s\nservices: [%s]\ndescription: The shop, under test\nstrategy: %s\n%s", name, kind, service, strategy, rest)
}

// pidDump is a scenario that takes dumps of the process whose number stands in a
// host's own file.
func pidDump(name, dir, rest string) string {
	return scenario(name, "thread-dump", fmt.Sprintf("dump:\n  process: {pid_file: %s/#host#.pid}\n%s", dir, rest))
}

// click starts a run by a scenario over some hosts, "" = all of them.
func click(t testing.TB, c *company.Company, scenario, hosts string) restart.Run {
	t.Helper()
	run, err := c.Dev.Draft(t.Context(), restart.Request{Service: service, Scenario: scenario, Hosts: hosts, Environment: demo.Environment, Reason: reason}, "")
	must(t, err)
	run, err = c.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
	must(t, err)
	return run
}

// over waits until a run is over, and as many dumps of an origin are stored.
func over(t testing.TB, c *company.Company, run restart.Run, origin string, dumps int) (restart.Run, wire.RunDumps) {
	t.Helper()
	run = c.Until(run.ID, restart.RunCompleted, restart.RunPaused, restart.RunAborted, restart.RunFailed)
	var found wire.RunDumps
	c.Eventually(fmt.Sprintf("%d dumps", dumps), func() (ok bool) {
		var err error
		found, err = c.Dev.RunDumps(t.Context(), run.ID, origin)
		return err == nil && len(found.Dumps) >= dumps
	})
	return run, found
}

// finding gives the first finding of a kind.
func finding(findings []analyse.Finding, kind analyse.FindingKind) (analyse.Finding, bool) {
	for _, f := range findings {
		if f.Kind == kind {
			return f, true
		}
	}
	return analyse.Finding{}, false
}

func said(findings []analyse.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "\n  %s %s: %s", f.Severity, f.Kind, f)
	}
	return b.String()
}

// process is a program of the test, which ends with it.
type process struct {
	*exec.Cmd
	output string // the file with all that it has said
}

// launch starts a program, its output in a file, and waits until that holds a
// word. The program is ended at the end of the test.
func launch(t testing.TB, ready string, env []string, words ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(words[0], words[1:]...), output: filepath.Join(t.TempDir(), "output")}
	f, err := os.Create(p.output)
	must(t, err)
	defer f.Close()
	p.Stdout, p.Stderr, p.Env = f, f, append(os.Environ(), env...)
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() { // Pdeathsig is of the thread that starts
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.Start()
		started <- err
		if err == nil {
			p.Wait()
		}
		close(ended)
	}()
	must(t, <-started)
	t.Cleanup(func() {
		p.Process.Signal(syscall.SIGCONT)
		p.Process.Kill()
		<-ended
	})
	waitFor(t, ended, func() (string, bool) {
		b, _ := os.ReadFile(p.output)
		return fmt.Sprintf("%s: %s", words, b), strings.Contains(string(b), ready)
	})
	return p
}

func (p *process) writePID(t testing.TB, dir, host string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, host+".pid"), []byte(strconv.Itoa(p.Process.Pid)+"\n"), 0o644))
}

// compile compiles Java sources into a folder.
func compile(t testing.TB, into, classPath string, sources ...string) {
	t.Helper()
	args := append([]string{"-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-nowarn", "-cp", classPath, "-d", into}, sources...)
	if out, err := exec.Command("javac", args...).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
}

// quickly are the options of a JVM that is not to run for long.
func quickly() []string {
	return []string{"-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"}
}

// serveGo is the Go service: its handlers wait for a lock that nobody gives back.
func serveGo(address string) {
	var lock sync.Mutex
	lock.Lock()
	for range 8 {
		go handleOrder(&lock)
	}
	fmt.Println("ready")
	fmt.Println(http.ListenAndServe(address, nil))
}

func handleOrder(lock *sync.Mutex) {
	lock.Lock()
	defer lock.Unlock()
}

// get asks a URL, and wants status 200.
func get(ctx context.Context, c *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
