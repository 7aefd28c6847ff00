package lock

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
	slotserver "github.com/restartilka/restartilka/test/foreign/fleetlock"
	zooserver "github.com/restartilka/restartilka/test/foreign/zookeeper"
)

// company is a store with runs, and servers of ours that share locks with others.
type company struct {
	t     *testing.T
	store *store.Store
	slots *slotserver.Server

	mu      sync.Mutex
	answers map[string]int // as servers have told
}

func newCompany(t *testing.T) *company {
	c := &company{t: t, store: storetest.Open(t, storetest.SQLite(t)), slots: slotserver.New(1), answers: map[string]int{}}
	t.Cleanup(c.slots.Close)
	return c
}

func (c *company) server(name string, settings ...Setting) *Locks {
	c.t.Helper()
	if len(settings) == 0 {
		settings = []Setting{{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, Services: []string{"shop"}}}
	}
	l, err := New(Config{Settings: settings, Ledger: c.store, Server: name, Observe: func(lock string, a Answer) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answers[lock+" "+string(a)]++
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, o := range l.all {
		if f, ok := o.Lock.(*fleetLock); ok {
			f.trust = 0
		}
	}
	c.t.Cleanup(l.Close)
	return l
}

// run is one that holds its service.
func (c *company) run(service string, change func(*restart.Run)) restart.Run {
	c.t.Helper()
	now := time.Now().UTC()
	run := restart.Run{ID: restart.NewID(now), Service: service, Environment: "production", Kind: restart.KindRestart, Actor: "anna", Via: "cli", Reason: "workers hang", State: restart.RunQueued, CreatedAt: now}
	if _, err := c.store.CreateRun(c.t.Context(), run, "", nil, nil); err != nil {
		c.t.Fatal(err)
	}
	c.apply(store.Change{RunID: run.ID, Hold: true, Run: &store.RunChange{To: restart.RunRunning}})
	run, err := c.store.Run(c.t.Context(), run.ID)
	if err != nil {
		c.t.Fatal(err)
	}
	if change != nil {
		change(&run)
	}
	return run
}

func (c *company) apply(change store.Change) {
	c.t.Helper()
	if _, err := c.store.Apply(c.t.Context(), change); err != nil {
		c.t.Fatal(err)
	}
}

// rows are what the ledger has, in words.
func (c *company) rows(want ...string) {
	c.t.Helper()
	rows, err := c.store.OutsideLocks(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, strings.TrimSpace(r.Name+" "+string(r.State)+" "+r.Server+" "+r.Note))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		c.t.Errorf("the ledger has %q, want %q", got, want)
	}
}

func (c *company) has(id string) bool {
	return slices.Contains(c.slots.Held("default"), id)
}

// What a run has is stored before it is asked for and dropped when it is given
// back; whoever waits, or has lost it, says so.
func TestTheLedger(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	one := c.server("one")
	run, other := c.run("shop", nil), c.run("cart", nil)
	if !one.Concern(run) || one.Concern(other) {
		t.Error("which runs take it?")
	}
	wantCode(t, "a run that it is not for", one.Take(soon(t), other), "")
	c.rows()

	c.slots.Take("default", "host7")
	err := one.Take(soon(t), run)
	if wantCode(t, "taken by others", err, restart.CodeLocked); !strings.HasPrefix(sentence(err), "the lock reboots, which is shared with others, is taken: no slot of group default is free") {
		t.Error(err)
	}
	note := `no slot of group default is free ("failed_lock": "all 1 semaphore slots currently locked")`
	c.rows("reboots waiting one " + note)
	c.slots.Free("default", "host7")
	wantCode(t, "take", one.Take(soon(t), run), "")
	c.rows("reboots held one")
	if cause, why := one.Held(t.Context(), run); cause != "" || !c.has("restartilka-"+run.ID) {
		t.Error(cause, why)
	}

	c.slots.Free("default", "restartilka-"+run.ID)
	c.slots.Take("default", "host7")
	cause, why := one.Held(t.Context(), run)
	if cause != restart.CauseLockLost || !strings.HasPrefix(why, "the lock reboots, which is shared with others, is lost: no slot") {
		t.Error(cause, why)
	}
	c.rows("reboots lost one " + note)
	c.slots.Free("default", "host7")
	wantCode(t, "taken anew", one.Take(soon(t), run), "")
	c.rows("reboots held one")
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	one.Release(t.Context(), run)
	if c.rows(); c.has("restartilka-" + run.ID) {
		t.Error("the slot is still taken")
	}
}

// A lock of which nobody can say who has it stops a run, unless the settings or
// broken glass let it go on: with a record. What another has is never waived.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	back := (&slots{t: t, server: c.slots}).away()
	strictly := c.server("one")
	mildly := c.server("two", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, WhenDown: lenient})
	run := c.run("shop", nil)
	err := strictly.Take(soon(t), run)
	if wantCode(t, "nobody answers", err, restart.CodeUnavailable); !strings.Contains(sentence(err), "can't be taken: the FleetLock server does not answer") {
		t.Error(err)
	}
	bypassed := func(l *Locks, run restart.Run) {
		t.Helper()
		wantCode(t, "gone without", l.Take(soon(t), run), "")
		if cause, why := l.Held(t.Context(), run); cause != "" {
			t.Error(cause, why)
		}
		found, _, err := c.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.LockBypassed, Run: run.ID})
		if err != nil || len(found) != 1 || found[0].Actor != "anna" || !strings.HasPrefix(found[0].Detail, "reboots, 127.0.0.1:") {
			t.Errorf("%d records: %+v, %v", len(found), found, err)
		}
	}
	bypassed(mildly, run)
	glass := c.run("shop", broken(c))
	bypassed(strictly, glass)

	back()
	c.slots.Take("default", "host7")
	loud := c.run("shop", broken(c))
	wantCode(t, "broken glass, and another has it", strictly.Take(soon(t), loud), restart.CodeLocked)
	wantCode(t, "lenient, and another has it", mildly.Take(soon(t), loud), restart.CodeLocked)
	c.slots.Free("default", "host7")
	wantCode(t, "take", strictly.Take(soon(t), loud), "")

	// A run that has its lock stops before the next host when nobody can say any more.
	quiet := loud
	quiet.BreakGlass = false
	(&slots{t: t, server: c.slots}).away()
	if cause, why := strictly.Held(t.Context(), quiet); cause != restart.CauseLockLost || !strings.Contains(why, "nobody can say: the FleetLock server") {
		t.Error(cause, why)
	}
	if cause, why := strictly.Held(t.Context(), loud); cause != "" {
		t.Error("broken glass:", cause, why)
	}
}

// What came of asking is told, and how each lock stands: also one that a run
// that is over has not given back.
func TestStanding(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	one := c.server("one", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, Services: []string{"shop"}}, Setting{Name: "carts", Kind: "fleetlock", URL: c.slots.URL, Services: []string{"cart"}})
	mildly := c.server("two", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, WhenDown: lenient})
	stands := func(want store.OutsideLockState, left int64) {
		t.Helper()
		runs := map[store.OutsideLockState]int64{store.OutsideWaiting: 0, store.OutsideHeld: 0, store.OutsideLost: 0, store.OutsideBypassed: 0}
		idle := maps.Clone(runs)
		if want != "" {
			runs[want]++
		}
		got, err := one.Standing(t.Context())
		if diff := cmp.Diff(map[string]Standing{"reboots": {Runs: runs, Left: left}, "carts": {Runs: idle}}, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if names := one.Names(); !slices.Equal(names, []string{"reboots", "carts"}) {
		t.Errorf("names: %q", names)
	}
	stands("", 0)
	run := c.run("shop", nil)
	c.slots.Take("default", "host7")
	wantCode(t, "taken by others", one.Take(soon(t), run), restart.CodeLocked)
	stands(store.OutsideWaiting, 0)
	c.slots.Free("default", "host7")
	for range 2 { // what is kept is told once
		wantCode(t, "take", one.Take(soon(t), run), "")
	}
	stands(store.OutsideHeld, 0)
	c.slots.Free("default", "restartilka-"+run.ID)
	c.slots.Take("default", "host7")
	one.Held(t.Context(), run)
	stands(store.OutsideLost, 0)
	c.slots.Free("default", "host7")
	wantCode(t, "taken anew", one.Take(soon(t), run), "")

	back := (&slots{t: t, server: c.slots}).away()
	one.Held(t.Context(), run)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	one.Held(stopped, run) // the server does not wait for the answer: that says nothing of the lock
	if err := one.Take(stopped, run); err == nil {
		t.Error("taken from nobody")
	}
	wantCode(t, "nobody answers", one.Take(soon(t), run), restart.CodeUnavailable)
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	one.Release(t.Context(), run)
	stands("", 1)
	without := c.run("shop", nil)
	wantCode(t, "gone without", mildly.Take(soon(t), without), "")
	stands(store.OutsideBypassed, 1)
	c.apply(store.Change{RunID: without.ID, Run: &store.RunChange{To: restart.RunAborted}})
	back()
	one.cfg.Now = func() time.Time { return time.Now().Add(settled) } // until when what had no answer may come to be
	for range 2 {
		if err := one.Tend(t.Context()); err != nil {
			t.Error(err)
		}
		one.cfg.Now = func() time.Time { return time.Now().Add(3 * settled) }
	}
	stands("", 0)
	want := map[string]int{"reboots locked": 1, "reboots taken": 2, "reboots lost": 1, "reboots unanswered": 2, "reboots bypassed": 1}
	if diff := cmp.Diff(want, c.answers); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A session without a connection is seen before anybody asks for a lock.
func TestAnInterruptedSession(t *testing.T) {
	t.Parallel()
	z, c := newZoo(t), newCompany(t)
	l := c.server("one", Setting{Name: "cluster", Kind: "zookeeper", Servers: []string{z.way.Address}, Path: z.root + "/#service#"})
	interrupted := func(want bool) func(context.Context) error {
		return func(ctx context.Context) error {
			got, err := l.Standing(ctx)
			if err == nil && got["cluster"].Interrupted != want {
				err = restart.Errorf(restart.CodeConflict, "interrupted: %v", !want)
			}
			return err
		}
	}
	wantCode(t, "one that nobody has wanted yet", interrupted(false)(t.Context()), "")
	run := c.run("shop", nil)
	wantCode(t, "take", l.Take(soon(t), run), "")
	wantCode(t, "a session", interrupted(false)(t.Context()), "")
	z.way.Cut()
	eventually(t, "to be interrupted", "", interrupted(true))
	z.way.Mend()
	eventually(t, "to be there again", "", interrupted(false))
	l.Close()
	wantCode(t, "one that has ended", interrupted(false)(t.Context()), "")
}

// broken ends the runs before, and breaks the glass of the next.
func broken(c *company) func(*restart.Run) {
	held, err := c.store.Locks(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, l := range held {
		c.apply(store.Change{RunID: l.RunID, Run: &store.RunChange{To: restart.RunAborted}})
	}
	return func(r *restart.Run) { r.BreakGlass = true }
}

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

// A lock that a run goes on without is asked for before each host: another may
// have taken it since its keeper is back.
func TestTheKeeperComesBack(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	mildly := c.server("one", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, WhenDown: lenient})
	var late atomic.Int64
	mildly.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	later := func() { late.Add(int64(restTime)) }
	goesOn := func(run restart.Run) {
		t.Helper()
		if cause, why := mildly.Held(t.Context(), run); cause != "" {
			t.Error(cause, why)
		}
	}
	run := c.run("shop", nil)
	back := (&slots{t: t, server: c.slots}).away()
	wantCode(t, "gone without", mildly.Take(soon(t), run), "")
	goesOn(run)
	asked := c.slots.Asked()
	goesOn(run)
	if c.slots.Asked() != asked {
		t.Error("a keeper that has not answered is asked again at once")
	}
	later()
	goesOn(run)
	if c.slots.Asked() == asked {
		t.Error("it is not asked again")
	}
	c.bypassed(run, 1)

	back()
	c.slots.Take("default", "deploy")
	later()
	cause, why := mildly.Held(t.Context(), run)
	if cause != restart.CauseLockLost || !strings.HasPrefix(why, "the lock reboots, which is shared with others and which the run went on without, is taken: no slot of group default is free") {
		t.Errorf("another has it: %s %s", cause, why)
	}
	c.rows(`reboots waiting one no slot of group default is free ("failed_lock": "all 1 semaphore slots currently locked")`)
	wantCode(t, "resumed, and another has it", mildly.Take(soon(t), run), restart.CodeLocked)
	c.slots.Free("default", "deploy")
	wantCode(t, "resumed", mildly.Take(soon(t), run), "")
	goesOn(run)

	// What is free is taken.
	back = (&slots{t: t, server: c.slots}).away()
	goesOn(run)
	c.bypassed(run, 2)
	back()
	later()
	goesOn(run)
	c.rows("reboots held one")
	if !c.has("restartilka-" + run.ID) {
		t.Error("the run goes on without a lock that it could have")
	}
	c.slots.Free("default", "restartilka-"+run.ID)
	c.slots.Take("default", "deploy")
	if cause, why := mildly.Held(t.Context(), run); cause != restart.CauseLockLost || !strings.Contains(why, "is lost") {
		t.Error(cause, why)
	}
}

// bypassed wants so many records of a run that has gone on without a lock.
func (c *company) bypassed(run restart.Run, want int) {
	c.t.Helper()
	found, _, err := c.store.AuditSearch(c.t.Context(), store.AuditFilter{Action: audit.LockBypassed, Run: run.ID})
	if err != nil || len(found) != want {
		c.t.Errorf("%d records, want %d: %+v, %v", len(found), want, found, err)
	}
}

// A session that comes back is asked for the lock that a run went on without.
func TestTheSessionComesBack(t *testing.T) {
	t.Parallel()
	z, c := newZoo(t), newCompany(t)
	mildly := c.server("one", Setting{Name: "cluster", Kind: "zookeeper", Servers: []string{z.way.Address}, Path: z.root + "/#service#/#environment#", WhenDown: lenient})
	run := c.run("shop", nil)
	z.way.Cut()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	wantCode(t, "gone without", mildly.Take(short, run), "")
	cancel()
	z.hold(claimOf(run, "one", time.Now()))
	if cause, why := mildly.Held(t.Context(), run); cause != "" {
		t.Error(cause, why)
	}
	z.way.Mend()
	eventually(t, "another to be seen", restart.CodeLocked, func(ctx context.Context) error {
		if cause, why := mildly.Held(ctx, run); cause != "" {
			return restart.Errorf(restart.CodeLocked, "%s", why)
		}
		return nil
	})
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

// broke is a ledger that keeps nothing.
type broke struct{ Ledger }

func (broke) KeepOutsideLock(context.Context, store.OutsideLock, ...audit.Record) error {
	return restart.Errorf(restart.CodeUnavailable, "the database does not answer")
}

// A database that does not answer says nothing of a lock: whoever walks the run
// waits that out.
func TestTheLedgerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	one := c.server("one")
	run := c.run("shop", nil)
	one.cfg.Ledger = broke{c.store}
	wantCode(t, "take", one.Take(soon(t), run), restart.CodeInternal)
	one.cfg.Ledger = c.store
	wantCode(t, "take", one.Take(soon(t), run), "")
	c.rows("reboots held one")
	again := c.server("two")
	again.cfg.Ledger = broke{c.store}
	run.Epoch++
	wantCode(t, "taken over", again.Take(soon(t), run), restart.CodeInternal)
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

func TestRunEnds(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.server("one").Run(ctx)
	}()
	stop()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}
