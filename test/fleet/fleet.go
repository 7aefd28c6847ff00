package fleet

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

//go:embed keeper.sh
var keeper string

// Options of a fleet. The zero value is the server's host and five web hosts.
type Options struct {
	Web   int    // hosts web01… with nginx; 0 = one of each of Kinds, or 5
	Log   bool   // a host log.example.com beside them
	Bare  bool   // web hosts alone: no host for the server
	Kinds []Kind // of web01…, in this order; the others are of the zero value
}

// Fleet is a set of running hosts.
type Fleet struct {
	Hosts  []*Host // all
	Web    []*Host // those with nginx
	Server *Host
	Log    *Host

	t     testing.TB
	id    string
	dir   string
	tools []string // control groups of what runs beside the hosts
}

var fleets atomic.Int32

// New boots a fleet and takes it down at the end of the test.
func New(t testing.TB, o Options) *Fleet {
	t.Helper()
	need(t)
	f := &Fleet{t: t, id: fmt.Sprintf("rfleet%d-%d", os.Getpid(), fleets.Add(1))}
	switch {
	case o.Web == 0 && len(o.Kinds) > 0:
		o.Web = len(o.Kinds)
	case o.Web == 0:
		o.Web = 5
	}
	kinds := make([]Kind, 1+o.Web) // of the server and the log host, then of each web host
	copy(kinds[1:], o.Kinds)
	began := time.Now()
	roots, err := rootsOf(kinds)
	f.must(err)
	if took := time.Since(began); took > time.Second {
		t.Logf("made the root file systems in %s", took.Round(time.Second))
	}
	f.dir, err = os.MkdirTemp("", f.id+"-") //nolint:usetesting // the keeper removes it, also when the test is killed
	f.must(err)
	f.must(os.Chmod(f.dir, 0o755)) // services of the hosts pass through it
	f.tools = f.groups("tools")

	add := func(name string, number, kind int) *Host {
		h := &Host{Name: name + ".example.com", Address: fmt.Sprint(prefix, number), Kind: kinds[kind].filled(), fleet: f, root: roots[kind]}
		h.dir, h.cgroups = filepath.Join(f.dir, h.short()), f.groups(h.short())
		f.Hosts = append(f.Hosts, h)
		return h
	}
	if !o.Bare {
		f.Server = add("restartilka", 2, 0)
	}
	if o.Log {
		f.Log = add("log", 3, 0)
	}
	for i := range o.Web {
		f.Web = append(f.Web, add(fmt.Sprintf("web%02d", i+1), 11+i, 1+i))
	}
	f.keep()
	f.boot()
	return f
}

func (f *Fleet) boot() {
	f.t.Helper()
	f.must(f.makeNetwork())
	for _, group := range f.tools {
		f.must(os.MkdirAll(group, 0o755))
	}
	for _, h := range f.Hosts {
		f.must(h.prepare())
	}
	for _, h := range f.Hosts {
		f.must(h.start())
	}
	for _, h := range f.Hosts {
		f.must(h.await(f.t.Context()))
	}
}

// keep starts the process that takes everything down when the test is over,
// or is killed, and waits for it at the end.
func (f *Fleet) keep() {
	f.t.Helper()
	tops := []string{}
	for _, h := range hierarchies() {
		tops = append(tops, filepath.Join(h, f.id))
	}
	// A session of its own: an interrupt at the terminal is not for it.
	cmd := exec.CommandContext(context.WithoutCancel(f.t.Context()), "setsid", append([]string{"/bin/sh", "-c", keeper, "keeper", f.id, f.dir}, tops...)...)
	input, err := cmd.StdinPipe()
	f.must(err)
	cmd.Stderr = os.Stderr
	f.must(cmd.Start())
	f.t.Cleanup(func() {
		if f.t.Failed() {
			f.showConsoles()
		}
		input.Close()
		if err := cmd.Wait(); err != nil {
			f.t.Errorf("take the fleet down: %v", err)
		}
		for _, h := range f.Hosts {
			if h.ended != nil {
				<-h.ended
			}
		}
	})
}

// showConsoles tells what the hosts wrote, for who looks for the cause.
func (f *Fleet) showConsoles() {
	for _, h := range f.Hosts {
		b, err := os.ReadFile(filepath.Join(h.dir, "console"))
		if err == nil && len(b) > 0 {
			f.t.Logf("console of %s:\n%s", h.short(), tail(string(b), 1500))
		}
	}
}

// hierarchies are the mount points in which a host needs a group of its own:
// cgroup v2, and beside it systemd's own of v1 where the machine has that.
func hierarchies() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
		return []string{"/sys/fs/cgroup"}
	}
	return []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"}
}

func (f *Fleet) groups(name string) []string {
	var out []string
	for _, h := range hierarchies() {
		out = append(out, filepath.Join(h, f.id, name))
	}
	return out
}

// enter is the beginning of a shell script that moves itself into the groups.
func (f *Fleet) enter(groups []string) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "echo $$ >%s/cgroup.procs; ", g)
	}
	return b.String()
}

// names is a host's /etc/hosts.
func (f *Fleet) names() string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, h := range f.Hosts {
		fmt.Fprintf(&b, "%s %s %s\n", h.Address, h.Name, h.short())
	}
	fmt.Fprintf(&b, "%s1 client.example.com\n", prefix)
	return b.String()
}

// Host gives a host by its short name.
func (f *Fleet) Host(short string) *Host {
	f.t.Helper()
	for _, h := range f.Hosts {
		if h.short() == short {
			return h
		}
	}
	f.t.Fatalf("there is no host %s", short)
	return nil
}

// Each does something on several hosts at once, and waits.
func Each(hosts []*Host, do func(h *Host) error) error {
	errs := make(chan error, len(hosts))
	for _, h := range hosts {
		go func() { errs <- do(h) }()
	}
	var first error
	for range hosts {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// On gives the same fleet for a part of a test that has a t of its own.
func (f *Fleet) On(t testing.TB) *Fleet {
	g := *f
	g.t = t
	for _, h := range f.Hosts {
		h.fleet = &g // the parts of a test come one after another
	}
	return &g
}

func (f *Fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// Run runs a command within the fleet's network and gives what it wrote.
func (f *Fleet) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := f.Command(ctx, name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Copy streams a file of one host to another.
func Copy(from *Host, path string, to *Host, mode os.FileMode) error {
	in, err := os.Open(from.Path(path))
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to.Path(path)), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to.Path(path), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
