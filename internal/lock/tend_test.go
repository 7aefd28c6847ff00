package lock

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	slotserver "github.com/restartilka/restartilka/test/foreign/fleetlock"
	zooserver "github.com/restartilka/restartilka/test/foreign/zookeeper"
)

// What crashes leave is given back by any server: once the run holds its service
// no more, and not before.
func TestNothingStaysTaken(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	dead, alive := c.server("one"), c.server("two")
	run := c.run("shop", nil)
	wantCode(t, "take", dead.Take(soon(t), run), "")
	for range 2 {
		if err := alive.Tend(t.Context()); err != nil || !c.has("restartilka-"+run.ID) {
			t.Fatalf("a run that goes on has lost its lock: %v", err)
		}
	}
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	back := (&slots{t: t, server: c.slots}).away()
	if err := alive.Tend(t.Context()); err != nil {
		t.Error(err)
	}
	c.rows("reboots held one") // later, then
	back()
	if err := alive.Tend(t.Context()); err != nil || c.has("restartilka-"+run.ID) {
		t.Errorf("the lock of a run that is over stays taken: %v", err)
	}
	c.rows()

	// What the configuration names no more can only be forgotten.
	again := c.run("shop", nil)
	wantCode(t, "take", dead.Take(soon(t), again), "")
	c.apply(store.Change{RunID: again.ID, Run: &store.RunChange{To: restart.RunAborted}})
	other := c.server("three", Setting{Name: "slots", Kind: "fleetlock", URL: c.slots.URL})
	if err := other.Tend(t.Context()); err != nil {
		t.Error(err)
	}
	c.rows()
}

// A paused run keeps its place in the line. When it comes first it has the lock,
// and keeps others away: that is what is told, and who is before it until then.
func TestAPausedRunComesFirst(t *testing.T) {
	t.Parallel()
	z, c := newZoo(t), newCompany(t)
	setting := Setting{Name: "cluster", Kind: "zookeeper", Servers: []string{z.way.Address}, Path: z.root + "/#service#/#environment#"}
	reboots := Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL}
	c.slots.Take("default", "host7")
	one, two := c.server("one", setting), c.server("two", setting, reboots)
	run := c.run("shop", nil)
	place := claimOf(run, "one", time.Now())
	release := z.hold(place)
	wantCode(t, "others have it", one.Take(soon(t), run), restart.CodeLocked)
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseLockLost, Explanation: "it is taken"}})
	tended := func(server string, state store.OutsideLockState, note string) {
		t.Helper()
		if err := two.Tend(soon(t)); err != nil {
			t.Error(err)
		}
		rows, err := c.store.OutsideLocks(t.Context())
		if err != nil || len(rows) == 0 || rows[0].Name != "cluster" || rows[0].State != state || rows[0].Server != server || !strings.Contains(rows[0].Note, note) || (note == "") != (rows[0].Note == "") {
			t.Errorf("%+v, %v; want %s by %s", rows, err, state, server)
		}
	}
	tended("one", store.OutsideWaiting, "is there since")
	release()
	eventually(t, "others have gone", "", func(ctx context.Context) error { return two.all[0].Stands(ctx, place) })
	tended("two", store.OutsideHeld, "")
	tended("two", store.OutsideHeld, "")

	// A server of slots has no line: what waits there does not come to have one.
	wantCode(t, "no slot", two.Take(soon(t), run), restart.CodeLocked)
	c.slots.Free("default", "host7")
	if err := two.Tend(soon(t)); err != nil {
		t.Error(err)
	}
	rows, err := c.store.OutsideLocks(t.Context())
	if err != nil || len(rows) != 2 || rows[1].State != store.OutsideWaiting {
		t.Errorf("%+v, %v", rows, err)
	}

	free := z.steal(place)
	eventually(t, "a lock that was taken away", restart.CodeLocked, func(ctx context.Context) error { return two.all[0].Stands(ctx, place) })
	tended("two", store.OutsideLost, "is there since")
	free()
}

// lagging is a ledger beside which something happens as soon as it was read.
type lagging struct {
	Ledger
	then func()
}

func (l lagging) OutsideLocks(ctx context.Context) ([]store.OutsideLock, error) {
	rows, err := l.Ledger.OutsideLocks(ctx)
	l.then()
	return rows, err
}

// What a run does while the ledger is looked through is not forgotten: it goes on
// without a lock that it was to go on without.
func TestTakenWhileTheLedgerIsRead(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	l := c.server("one", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, WhenDown: lenient})
	run := c.run("shop", nil)
	back := (&slots{t: t, server: c.slots}).away()
	l.cfg.Ledger = lagging{c.store, func() {
		l.cfg.Ledger = c.store // what happens reads it, too
		wantCode(t, "gone without", l.Take(soon(t), run), "")
	}}
	if err := l.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	back()
	if cause, why := l.Held(t.Context(), run); cause != "" {
		t.Error(cause, why)
	}
	c.bypassed(run, 1)
	back()
}

// A slot that is asked for, and not answered, may be given after it was given
// back: the row stays until that can't be any more.
func TestASlotThatComesLate(t *testing.T) {
	t.Parallel()
	for _, crashed := range []bool{false, true} {
		c := newCompany(t)
		one, two := c.server("one"), c.server("two")
		var late atomic.Int64
		two.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
		run := c.run("shop", nil)
		back := (&slots{t: t, server: c.slots}).away()
		asks := two
		if crashed {
			asks = one
		}
		wantCode(t, "nobody answers", asks.Take(soon(t), run), restart.CodeUnavailable)
		back()
		c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
		if crashed {
			late.Add(int64(time.Hour))
			if err := two.Tend(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			two.Release(t.Context(), run)
		}
		c.slots.Take("default", "restartilka-"+run.ID) // what was asked for is done
		if rows, err := c.store.OutsideLocks(t.Context()); err != nil || len(rows) != 1 {
			t.Errorf("%+v, %v", rows, err)
		}
		late.Add(int64(settled))
		if err := two.Tend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.has("restartilka-" + run.ID) {
			t.Error("the slot stays taken by a run that is over")
		}
		c.rows()
	}
}

// A slot is given back where it was taken, whatever the settings say now.
func TestSettingsThatMove(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	in := func(group string) Setting {
		return Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, Group: group}
	}
	before, after := c.server("one", in("before")), c.server("two", in("after"))
	run := c.run("shop", nil)
	wantCode(t, "take", before.Take(soon(t), run), "")
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	if err := after.Tend(t.Context()); err != nil || len(c.slots.Held("before")) != 0 {
		t.Errorf("left: %v, %v", c.slots.Held("before"), err)
	}
	c.rows()

	run = c.run("shop", nil)
	wantCode(t, "take", before.Take(soon(t), run), "")
	run.Epoch++
	wantCode(t, "taken over", after.Take(soon(t), run), "")
	if was, is := c.slots.Held("before"), c.slots.Held("after"); len(was) != 0 || len(is) != 1 {
		t.Errorf("before %v, after %v", was, is)
	}
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	c.server("three", in("third")).Release(t.Context(), run)
	if is := c.slots.Held("after"); len(is) != 0 {
		t.Errorf("left: %v", is)
	}
	c.rows()

	// Another server of slots is in the settings now.
	run = c.run("shop", nil)
	wantCode(t, "take", before.Take(soon(t), run), "")
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	other := slotserver.New(1)
	t.Cleanup(other.Close)
	moved := c.server("four", Setting{Name: "reboots", Kind: "fleetlock", URL: other.URL, Group: "before"})
	if err := moved.Tend(t.Context()); err != nil || len(c.slots.Held("before")) != 0 {
		t.Errorf("left: %v, %v", c.slots.Held("before"), err)
	}
	c.rows()
}

// resuming is a ledger beside which something happens once services were listed.
type resuming struct {
	Ledger
	then func()
}

func (r resuming) Locks(ctx context.Context) ([]store.Lock, error) {
	held, err := r.Ledger.Locks(ctx)
	r.then()
	return held, err
}

// A run that is resumed while what it has left is given back keeps its new lock,
// or at least the row that says that it may have it.
func TestResumedWhileTheLedgerIsRead(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	one, two := c.server("one"), c.server("two")
	for when := 1; when <= 2; when++ { // before the second look at who holds what, and after it
		run := c.run("shop", nil)
		wantCode(t, "take", one.Take(soon(t), run), "")
		c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseOperator}, Release: true})
		looks := 0
		two.cfg.Ledger = resuming{c.store, func() {
			if looks++; looks == when {
				c.apply(store.Change{RunID: run.ID, Hold: true, Run: &store.RunChange{To: restart.RunRunning}})
				wantCode(t, "taken anew", one.Take(soon(t), run), "")
			}
		}}
		if err := two.Tend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if when == 1 && !c.has("restartilka-"+run.ID) {
			t.Error("a run that was resumed has lost its lock")
		}
		c.rows("reboots held one")
		if cause, why := one.Held(t.Context(), run); cause != "" || !c.has("restartilka-"+run.ID) {
			t.Error(cause, why)
		}
		c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}, Release: true})
		one.Release(t.Context(), run)
		c.rows()
	}
}

// A paused run whose server is gone says that its lock is lost.
func TestALockThatEndedWithItsServer(t *testing.T) {
	t.Parallel()
	z, c := newZoo(t), newCompany(t)
	setting := Setting{Name: "cluster", Kind: "zookeeper", Servers: []string{z.server.Address}, Path: z.root + "/#service#", Session: zooserver.Session}
	gone, alive := c.server("one", setting), c.server("two", setting)
	run := c.run("shop", nil)
	wantCode(t, "take", gone.Take(soon(t), run), "")
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseOperator}})
	if err := alive.Tend(t.Context()); err != nil {
		t.Error(err)
	}
	c.rows("cluster held one")
	gone.Close()
	eventually(t, "the end of its session to be seen", "", func(ctx context.Context) error {
		if err := alive.Tend(ctx); err != nil {
			return err
		}
		rows, err := c.store.OutsideLocks(ctx)
		if err == nil && rows[0].State == store.OutsideHeld {
			err = restart.Errorf(restart.CodeConflict, "it is held")
		}
		return err
	})
	c.rows("cluster lost two its node has gone, with the session or by somebody's hand; nobody has taken the lock since")
	run.Epoch++
	wantCode(t, "taken by the next server", alive.Take(soon(t), run), "")
	c.rows("cluster held two")
}
