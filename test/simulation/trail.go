package simulation

import (
	"context"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// trail is what servers have recorded, and how much of it the log has. Each
// server ships its own records, in order, a while after their commit; one that
// is down or frozen ships none, and none is taken while the log is away.
type trail struct {
	w       *world
	away    bool
	since   time.Duration         // when it came back last
	records map[string][]recorded // by server, in the order of their commits
	taken   map[string]int        // by server: how many of them the log has
	waiting []chan struct{}       // of those who wait for the log
}

type recorded struct {
	run    string
	intent bool
	at     time.Duration
}

// shipping is how long a record is on its way.
const shipping = 20 * time.Millisecond

// backlogDeadline is audit.deadline of every history.
const backlogDeadline = 10 * time.Second

func newTrail(w *world) *trail {
	return &trail{w: w, records: map[string][]recorded{}, taken: map[string]int{}}
}

// committed keeps the records of a change; a person's are those of the server
// at which he pressed.
func (t *trail) committed(c store.Change) {
	w := t.w
	t.ship()
	by := w.anyServer()
	if w.asking != nil {
		by = w.serverOf(w.asking)
	}
	for _, r := range c.Records {
		t.records[by.name] = append(t.records[by.name], recorded{run: c.RunID, intent: r.Intent(), at: w.now})
	}
}

// ship brings the log what has had the time to get there. It is called before
// whatever may stop that, and by those who want to know.
func (t *trail) ship() {
	w := t.w
	if t.away {
		return
	}
	moved := false
	for _, s := range w.servers {
		if !s.up() || s.p.frozen {
			continue
		}
		since := max(s.shipsSince, s.p.thawed)
		for n := t.taken[s.name]; n < len(t.records[s.name]) && max(t.records[s.name][n].at, since, t.since)+shipping <= w.now; n++ {
			t.taken[s.name], moved = n+1, true
		}
	}
	if !moved {
		return
	}
	for _, c := range t.waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// soon lets the log take what is on its way by then.
func (t *trail) soon() { t.w.after(shipping, t.ship) }

// lacks tells what keeps the hosts of a run from being touched: its newest
// intent is not in the log; "" = it is.
func (t *trail) lacks(run string) string {
	if by, n := t.intentOf(run); n < 0 {
		return "it has no intent"
	} else if n >= t.taken[by] {
		return fmt.Sprintf("record %d of %s, its intent, is not there", n, by)
	}
	return ""
}

// intentOf finds the newest intent of a run: whose record it is, and which.
func (t *trail) intentOf(run string) (by string, n int) {
	newest := time.Duration(-1)
	n = -1
	for _, s := range t.w.servers {
		for i, r := range t.records[s.name] {
			if r.run == run && r.intent && r.at >= newest {
				newest, by, n = r.at, s.name, i
			}
		}
	}
	return by, n
}

// owed tells whether another server than this one has recorded something of the
// run, since its newest intent, that is not in the log.
func (t *trail) owed(run, server string) bool {
	by, n := t.intentOf(run)
	if n < 0 {
		return true
	}
	since := t.records[by][n].at
	for _, s := range t.w.servers {
		if s.name == server {
			continue
		}
		for i, r := range t.records[s.name] {
			if r.run == run && r.at >= since && i >= t.taken[s.name] {
				return true
			}
		}
	}
	return false
}

// leave lets the log go away for a while.
func (t *trail) leave(d time.Duration) {
	t.ship()
	t.away = true
	t.w.after(d, t.back)
}

func (t *trail) back() {
	if t.away {
		t.away, t.since = false, t.w.now
		t.soon()
	}
}

// oldest gives for how long the oldest record of a run, or of all, has waited
// at a server; 0 = none does.
func (t *trail) oldest(server, run string) time.Duration {
	for _, r := range t.records[server][t.taken[server]:] {
		if run == "" || r.run == run {
			return t.w.now - r.at
		}
	}
	return 0
}

// posted is a server's orchestrator.Trail.
type posted struct {
	s *server
	p *process
}

func (x posted) Secure(ctx context.Context, run string) error {
	w := x.s.w
	t := w.trail
	own := len(t.records[x.s.name])
	moved := make(chan struct{}, 1)
	t.waiting = append(t.waiting, moved)
	defer func() {
		for i, c := range t.waiting {
			if c == moved {
				t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
				return
			}
		}
	}()
	t.soon()
	for deadline := w.now + backlogDeadline; ; {
		t.ship()
		if t.taken[x.s.name] >= own && !t.owed(run, x.s.name) {
			return nil
		}
		if w.now >= deadline {
			return restart.Errorf(restart.CodeAuditBacklog, "the log has not taken the intent of this run within %s", backlogDeadline)
		}
		w.wait(ctx, deadline-w.now, moved)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (x posted) Late() error {
	x.s.w.trail.ship()
	if waited := x.s.w.trail.oldest(x.s.name, ""); waited > backlogDeadline {
		return restart.Errorf(restart.CodeAuditBacklog, "the log takes no records: what was recorded %s ago is still here alone", waited)
	}
	return nil
}

// serverOf finds whose process it is.
func (w *world) serverOf(p *process) *server {
	for _, s := range w.servers {
		if s.p == p {
			return s
		}
	}
	panic("a process of no server: " + p.name)
}
