package dumps

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// waitFor asks every 20 ms, for at most a minute, and no longer than until ended.
func waitFor(t testing.TB, ended <-chan struct{}, ok func() (what string, done bool)) {
	t.Helper()
	tick, late := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for {
		what, done := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("ended: %s", what)
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// freePort gives a port of 127.0.0.1 on which nobody listens.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}
