package e2e

import (
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
	"github.com/restartilka/restartilka/test/foreign/fleetlock"
	"github.com/restartilka/restartilka/test/foreign/zookeeper"
)

// sharedLocks are a real ZooKeeper and a FleetLock server that a company shares
// with others.
type sharedLocks struct {
	t     *testing.T
	slots *fleetlock.Server
	zoo   *zookeeper.Server
	conn  *zk.Conn // somebody else's
}

func newSharedLocks(t *testing.T) *sharedLocks {
	t.Helper()
	if lacks := zookeeper.Missing(); lacks != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there is no %s here", lacks)
		}
		t.Skipf("there is no %s here: scripts/deps.sh", lacks)
	}
	l := &sharedLocks{t: t, slots: fleetlock.New(1)}
	t.Cleanup(l.slots.Close)
	var err error
	l.zoo, err = zookeeper.Start(t.TempDir())
	must(t, err)
	t.Cleanup(l.zoo.Stop)
	conn, events, err := zk.Connect([]string{l.zoo.Address}, zookeeper.Session, zk.WithLogger(log.New(io.Discard, "", 0)))
	must(t, err)
	l.conn = conn
	t.Cleanup(func() {
		conn.Close()
		for range events {
		}
	})
	return l
}

const lockPlace = "/locks/" + demo.ServiceName

// settings are the lines of server.yaml that name them.
func (l *sharedLocks) settings() string {
	return fmt.Sprintf("locks:\n  - {name: deploys, kind: zookeeper, servers: [%q], path: '/locks/#service#', session: 1m}\n  - {name: reboots, kind: fleetlock, url: %s}\n", l.zoo.Address, l.slots.URL)
}

// contenders are the nodes of the lock.
func (l *sharedLocks) contenders() []string {
	names, _, err := l.conn.Children(lockPlace)
	if err != nil {
		l.t.Fatal(err)
	}
	return names
}

// held wants the run to have both locks.
func (l *sharedLocks) held(run string) {
	l.t.Helper()
	names := l.contenders()
	if len(names) != 1 || !strings.Contains(names[0], "__lock__") {
		l.t.Fatalf("the nodes of the lock: %v", names)
	}
	data, _, err := l.conn.Get(lockPlace + "/" + names[0])
	if err != nil || !strings.Contains(string(data), run) {
		l.t.Errorf("the node says %s, %v", data, err)
	}
	if got := l.slots.Held("default"); !slices.Equal(got, []string{"restartilka-" + run}) {
		l.t.Errorf("the slot is %v's", got)
	}
}

func (l *sharedLocks) free() bool {
	return len(l.contenders()) == 0 && len(l.slots.Held("default")) == 0
}

// A run waits for those with whom it shares a lock, and says for whom; taken
// away from it in mid-run, the next host is not touched, until somebody resumes.
func TestLocksAreSharedWithOthers(t *testing.T) {
	t.Parallel()
	locks := newSharedLocks(t)
	c := company.New(t, company.Options{Server: locks.settings()})
	others := zk.NewLock(locks.conn, lockPlace, zk.WorldACL(zk.PermAll))
	must(t, others.LockWithData([]byte("deploy-7")))
	c.Hold()
	run := c.Start(reason)
	x := c.Client(c.DevToken)
	c.Eventually("the run to wait", func() bool {
		now, err := x.Run(t.Context(), run.ID)
		return err == nil && now.State == restart.RunQueued && strings.Contains(now.Explanation, `"deploy-7" is there since`)
	})
	out, talk, code := c.CLI("locks")
	if code != 0 || !strings.Contains(out, "deploys") || !strings.Contains(out, "waiting") || !strings.Contains(out, lockPlace) {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	if len(c.WitnessLines()) != 0 {
		t.Error("a host was touched")
	}

	must(t, others.Unlock())
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) == 1 })
	locks.held(run.ID)
	must(t, locks.conn.Delete(lockPlace+"/"+locks.contenders()[0], -1))
	must(t, others.LockWithData([]byte("deploy-8")))
	c.Release()
	paused := until(t, c, x, run.ID, restart.RunPaused)
	if paused.Cause != restart.CauseLockLost || !strings.Contains(paused.Explanation, `"deploy-8" is there since`) || states(paused) != "succeeded planned planned" {
		t.Errorf("%s: %s; %s", paused.Cause, paused.Explanation, states(paused))
	}
	must(t, others.Unlock())
	if _, err := x.Resume(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	account(t, c, until(t, c, x, run.ID, restart.RunCompleted))
	c.Eventually("the locks to be given back", locks.free)
}
