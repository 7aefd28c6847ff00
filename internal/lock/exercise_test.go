package lock

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		stopShared()
		os.Exit(code)
	}))
}

// keeper is a real keeper of locks of some kind.
type keeper interface {
	open() Lock                     // a server of ours
	hold(c Claim) (release func())  // somebody else takes the lock of the claim
	away() (back func())            // the keeper can't be reached by those that are opened after this, nor by those before
	steal(c Claim) (release func()) // the run's lock is taken away, and somebody else has it
}

func claim(n int) Claim {
	return Claim{
		Run: fmt.Sprintf("01k6p8w2zt3f9m4q7r5x1y%04d", n), Epoch: 1, Service: "shop", Environment: "production", Group: "web", Project: "sales",
		Actor: "anna", Server: "one", Since: time.Now(),
	}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func wantCode(t *testing.T, what string, err error, code restart.Code) {
	t.Helper()
	if restart.CodeOf(err) != code {
		t.Fatalf("%s: %v, want %q", what, err, code)
	}
	if err != nil && (strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 1000) {
		t.Errorf("%s: %q is not one line", what, err)
	}
}

// eventually asks again while the answer is another.
func eventually(t *testing.T, what string, code restart.Code, ask func(context.Context) error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = ask(ctx)
		cancel()
		if restart.CodeOf(err) == code {
			return
		}
	}
	t.Fatalf("%s: %v, want %q", what, err, code)
}

// exercise is what every kind of lock passes.
func exercise(t *testing.T, k keeper) {
	one, two := k.open(), k.open() // two servers of ours
	first, second := claim(1), claim(2)

	wantCode(t, "take", one.Take(soon(t), first), "")
	wantCode(t, "take what one has", one.Take(soon(t), first), "")
	wantCode(t, "held", one.Held(soon(t), first), "")
	wantCode(t, "stands", two.Stands(soon(t), first), "")
	wantCode(t, "another run, another server", two.Take(soon(t), second), restart.CodeLocked)
	wantCode(t, "another run, the same server", one.Take(soon(t), claim(3)), restart.CodeLocked)
	wantCode(t, "give a place in the queue back", one.Release(soon(t), claim(3)), "")
	wantCode(t, "release", one.Release(soon(t), first), "")
	wantCode(t, "release again", one.Release(soon(t), first), "")
	wantCode(t, "who waited", two.Take(soon(t), second), "")
	wantCode(t, "release by another server", one.Release(soon(t), second), "")

	release := k.hold(first)
	err := one.Take(soon(t), first)
	wantCode(t, "what others have", err, restart.CodeLocked)
	if err.Error() == "" {
		t.Error("who has it is not said")
	}
	release()
	eventually(t, "after others", "", func(ctx context.Context) error { return one.Take(ctx, first) })

	// A server that takes the run over has a higher epoch; what it took, any
	// server gives back.
	later := first
	later.Epoch, later.Server = 2, "two"
	wantCode(t, "taken over", two.Take(soon(t), later), "")
	wantCode(t, "held by who took over", two.Held(soon(t), later), "")
	wantCode(t, "released by who had it before", one.Release(soon(t), later), "")
	wantCode(t, "free again", one.Take(soon(t), second), "")

	free := k.steal(second)
	eventually(t, "a lock that was lost", restart.CodeLocked, func(ctx context.Context) error { return one.Held(ctx, second) })
	free()
	wantCode(t, "release what is lost", one.Release(soon(t), second), "")

	wantCode(t, "take", one.Take(soon(t), first), "")
	back := k.away()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	wantCode(t, "take from nobody", two.Take(short, second), restart.CodeUnavailable)
	wantCode(t, "give back to nobody", two.Release(short, first), restart.CodeUnavailable)
	wantCode(t, "is anybody there", two.Check(short), restart.CodeUnavailable)
	cancel()
	back()
	eventually(t, "answers again", "", two.Check)
	eventually(t, "release", "", func(ctx context.Context) error { return two.Release(ctx, first) })

	exclude(t, one, two)
	for _, l := range []Lock{one, two} {
		l.Close()
		l.Close()
	}
}

// exclude has many runs of two servers want one lock.
func exclude(t *testing.T, servers ...Lock) {
	var inside, most, done atomic.Int32
	var all sync.WaitGroup
	for n := range 6 {
		l, c := servers[n%len(servers)], claim(10+n)
		all.Go(func() {
			for range 500 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := l.Take(ctx, c)
				if err == nil {
					most.Store(max(most.Load(), inside.Add(1)))
					time.Sleep(2 * time.Millisecond)
					if l.Held(ctx, c) != nil {
						t.Error("not held")
					}
					inside.Add(-1)
					err = l.Release(ctx, c)
					done.Add(1)
					cancel()
					if err != nil {
						t.Error(err)
					}
					return
				}
				cancel()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || done.Load() != 6 {
		t.Errorf("%d at once, %d of 6 had their turn", most.Load(), done.Load())
	}
}

// Whatever a claim has in it, a place is within the lock's own.
func TestPlaces(t *testing.T) {
	for _, c := range []Claim{{}, {Service: "..", Environment: "."}, {Service: "a/../../b", Environment: "x y\n"}, {Service: "#group#", Environment: "prod", Group: "g"}} {
		z := &zookeeper{path: defaultPath}
		if got := z.Place(c); strings.Count(got, "/") != 3 || strings.Contains(got, "/.") || strings.Contains(got, "//") || got != restart.Escape(got) {
			t.Errorf("%+v: %q", c, got)
		}
		f := &fleetLock{group: "#service#.#environment#"}
		if got := f.groupOf(c); got == "" || strings.ContainsFunc(got, func(r rune) bool { return !inGroup(r) }) {
			t.Errorf("%+v: %q", c, got)
		}
	}
	z := &zookeeper{path: "/x/#project#/#group#-#service#"}
	if got := z.Place(Claim{Service: "shop", Group: "web", Project: "sales"}); got != "/x/sales/web-shop" {
		t.Error(got)
	}
}

func TestSettings(t *testing.T) {
	zoo := Setting{Name: "cluster", Kind: "zookeeper", Servers: []string{"zk1.example.com:2181"}}
	fleet := Setting{Name: "reboots", Kind: "fleetlock", URL: "https://fleetlock.example.com/"}
	with := func(s Setting, change func(*Setting)) Setting {
		change(&s)
		return s
	}
	for want, s := range map[string]Setting{
		"":                              with(zoo, func(s *Setting) { s.Services, s.Environments = []string{"shop", "web-*"}, []string{"prod*"} }),
		"neither zookeeper nor":         with(zoo, func(s *Setting) { s.Kind = "etcd" }),
		"is not one: small":             with(zoo, func(s *Setting) { s.Name = "A b" }),
		"neither strict nor lenient":    with(zoo, func(s *Setting) { s.WhenDown = "wait" }),
		`"" is no name or glob`:         with(zoo, func(s *Setting) { s.Services = []string{""} }),
		`"[" is no name or glob`:        with(zoo, func(s *Setting) { s.Environments = []string{"["} }),
		"url and group are of":          with(zoo, func(s *Setting) { s.URL = "https://x" }),
		"are of zookeeper":              with(fleet, func(s *Setting) { s.Session = time.Second }),
		"is not from 4s to 1m0s":        with(zoo, func(s *Setting) { s.Session = time.Second }),
		"is not the path of a node":     with(zoo, func(s *Setting) { s.Path = "/locks/" }),
		"path of a node, such":          with(zoo, func(s *Setting) { s.Path = "locks" }),
		"/zookeeper/x":                  with(zoo, func(s *Setting) { s.Path = "/zookeeper/x" }),
		"#word# that is none of":        with(zoo, func(s *Setting) { s.Path = "/locks/#host#" }),
		"servers is needed":             with(zoo, func(s *Setting) { s.Servers = nil }),
		"is not HOST:PORT":              with(zoo, func(s *Setting) { s.Servers = []string{"zk1"} }),
		"without tls: true":             with(zoo, func(s *Setting) { s.CAFile = "/x" }),
		"auth_file:":                    with(zoo, func(s *Setting) { s.AuthFile = "/nowhere" }),
		"allow_networks:":               with(zoo, func(s *Setting) { s.AllowNetworks = []string{"0.0.0.0/0"} }),
		"url is not usable":             with(fleet, func(s *Setting) { s.URL = "http://fleetlock.example.com" }),
		"the protocol has no query":     with(fleet, func(s *Setting) { s.URL += "?a=b" }),
		"more than letters, digits":     with(fleet, func(s *Setting) { s.Group = "a/b" }),
		"group: it has a #word#":        with(fleet, func(s *Setting) { s.Group = "#host#" }),
		"ca_file: /nowhere":             with(fleet, func(s *Setting) { s.CAFile = "/nowhere" }),
		"allow_networks: \"x\" is neit": with(fleet, func(s *Setting) { s.AllowNetworks = []string{"x"} }),
	} {
		all, err := Settings{s}.open(slog.New(slog.DiscardHandler))
		closeAll(all)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
	if _, err := (Settings{zoo, fleet, zoo}).open(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "locks, number 3: the name cluster is there twice") {
		t.Error(err)
	}
	if s := with(zoo, func(s *Setting) { s.Services, s.Environments = []string{"web-*"}, []string{"production"} }); !s.fits(restart.Run{Service: "web-a", Environment: "production"}) ||
		s.fits(restart.Run{Service: "web-a", Environment: "testing"}) || s.fits(restart.Run{Service: "shop", Environment: "production"}) {
		t.Error(fmt.Sprint(s))
	}
}
