package dispatch_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/restart"
)

// touchOthers uses the ways to more hosts than are remembered.
func touchOthers(t *testing.T, c *dispatch.Client) {
	t.Helper()
	for i := range dispatch.KeptOpen + 20 {
		give, err := c.Touch(restart.Host{Name: fmt.Sprintf("other%d.example.com", i), Address: "192.0.2.1"})
		must(t, err)
		give()
	}
}

// Of very many hosts, those that were not asked for long are not remembered,
// and their connections leave memory at once: a plan over 10,000 hosts goes by
// hundreds a second, each of which costs some 50 KB.
func TestAHostNotAskedForLongCostsNothing(t *testing.T) {
	a := newAuthority(t, "ours")
	w := &witness{connections: map[string]bool{}}
	here := restart.Host{Name: host, Address: agent(t, a, a, host, w)}
	c := newClient(t, a)
	must(t, get(t, c, here.Address))
	gone := c.Gone(here)
	touchOthers(t, c)
	if n := c.Lines(); n > dispatch.KeptOpen {
		t.Errorf("%d hosts are remembered; %d should be at most", n, dispatch.KeptOpen)
	}
	for deadline := time.Now().Add(5 * time.Second); !gone(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the connection is closed, and still in memory")
		}
		runtime.GC()
	}
	must(t, get(t, c, here.Address))
	if w.seen() != 2 {
		t.Errorf("%d connections; the second request should have made another", w.seen())
	}
}

// A host that is being asked keeps its connection, however many others are
// asked meanwhile.
func TestAHostInHandKeepsItsConnection(t *testing.T) {
	a := newAuthority(t, "ours")
	w := &witness{connections: map[string]bool{}, wait: make(chan struct{}), arrived: make(chan struct{}, 2)}
	here := restart.Host{Name: host, Address: agent(t, a, a, host, w)}
	c := newClient(t, a)
	answered := make(chan error)
	go func() { answered <- get(t, c, here.Address) }()
	<-w.arrived
	touchOthers(t, c)
	go func() { answered <- get(t, c, here.Address) }()
	<-w.arrived
	close(w.wait)
	must(t, <-answered)
	must(t, <-answered)
	if w.seen() != 1 {
		t.Errorf("%d connections; the host was in hand all the time", w.seen())
	}
}
