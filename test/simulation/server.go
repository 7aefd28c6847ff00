package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// server is one server of restartilka: an orchestrator, which may be killed,
// frozen and started again.
type server struct {
	w     *world
	name  string
	life  int
	p     *process // nil = it is down
	stop  context.CancelFunc
	orch  *orchestrator.Orchestrator
	skew  time.Duration
	links map[string]*link
	// shipsSince is when it began to ship what it has recorded.
	shipsSince time.Duration
}

func (s *server) up() bool { return s.p != nil && !s.p.dead }

func (s *server) start() {
	if s.up() {
		return
	}
	if s.w.plan.servers == 1 {
		s.w.store.EndLeases() // as opening a SQLite file does
	}
	s.life++
	s.shipsSince = s.w.now
	s.w.trail.soon()
	s.p = &process{name: fmt.Sprintf("%s/%d", s.name, s.life)}
	s.links = map[string]*link{}
	for _, m := range s.w.hosts {
		s.links[m.name] = &link{}
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	var locks orchestrator.Locks
	if s.w.plan.shares {
		own := s.w.outside.locks(s)
		locks = own
		s.w.spawn(s.p, func() {
			for ctx.Err() == nil {
				_ = own.Tend(ctx) // which is tried again
				s.w.wait(ctx, tended)
			}
		})
	}
	s.orch = orchestrator.New(orchestrator.Config{
		Owner: s.p.name, Runs: desk{s, s.p}, Tasks: desk{s, s.p}, Agents: calls{s, s.p}, Key: s.w.key, Clock: clock{s.w.loop, s.p, &s.skew},
		MayGoOn: s.w.mayGoOn, Trail: posted{s, s.p}, Locks: locks,
		Lease: s.w.plan.lease, Poll: 2 * time.Second, ContactTimeout: 40 * time.Second, DialRetry: 3 * time.Second,
		AutoResume: s.w.plan.autoResume,
		Logger:     s.w.logger(s.p.name),
	})
	s.w.log("%s starts", s.p.name)
	orch, p := s.orch, s.p
	s.w.spawn(p, func() {
		orch.Run(ctx)
		s.w.log("%s has stopped", p.name)
		s.w.trail.ship()
		p.dead = true
	})
}

// kill is kill -9.
func (s *server) kill() {
	if !s.up() {
		return
	}
	s.w.log("%s is killed", s.p.name)
	s.w.trail.ship()
	s.w.kill(s.p)
}

// terminate is SIGTERM: it has its time to leave.
func (s *server) terminate() {
	if !s.up() {
		return
	}
	s.w.log("%s is told to stop", s.p.name)
	s.stop()
}

// freeze is SIGSTOP, and thaw SIGCONT.
func (s *server) freeze(d time.Duration) {
	if !s.up() || s.p.frozen {
		return
	}
	p := s.p
	s.w.log("%s is frozen for %s", p.name, d)
	s.w.trail.ship()
	p.frozen = true
	s.w.after(d, func() {
		if p.frozen {
			s.w.log("%s goes on", p.name)
			p.frozen, p.thawed = false, s.w.now
			s.w.trail.soon()
		}
	})
}

// desk is a server's way to the database: it takes time, and may fail before or
// after the commit.
type desk struct {
	s *server
	p *process
}

var errDatabase = restart.Errorf(restart.CodeUnavailable, "the database does not answer")

// through takes a call to the database and back.
func through[T any](ctx context.Context, d desk, what string, call func() (T, error)) (T, error) {
	w := d.s.w
	var none T
	w.wait(context.Background(), w.between(0, 2*time.Millisecond))
	if ctx.Err() != nil {
		return none, ctx.Err()
	}
	failed, lost := w.databaseFails()
	if failed {
		return none, errDatabase
	}
	w.asking = d.p
	v, err := call()
	w.asking = nil
	w.log("%s: %s %v", d.p.name, what, restart.CodeOf(err))
	w.wait(context.Background(), w.between(0, 2*time.Millisecond))
	if lost {
		return none, errDatabase
	}
	return v, err
}

// only is through for calls that give nothing but an error.
func only(ctx context.Context, d desk, what string, call func() error) error {
	_, err := through(ctx, d, what, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (d desk) Claim(ctx context.Context, owner string, ttl time.Duration, limit int) ([]store.Claim, error) {
	return through(ctx, d, "claim", func() ([]store.Claim, error) {
		claims, err := d.s.w.store.Claim(ctx, owner, ttl, limit)
		for _, c := range claims {
			d.s.w.log("%s takes run %s at epoch %d", owner, c.RunID, c.Epoch)
			d.s.w.ledger.claimed(c)
		}
		return claims, err
	})
}

func (d desk) Renew(ctx context.Context, owner string, ttl time.Duration) ([]string, error) {
	return through(ctx, d, "renew", func() ([]string, error) { return d.s.w.store.Renew(ctx, owner, ttl) })
}

func (d desk) Release(ctx context.Context, run string, fence store.Fence) error {
	return only(ctx, d, "release", func() error { return d.s.w.store.Release(ctx, run, fence) })
}

func (d desk) Run(ctx context.Context, id string) (restart.Run, error) {
	return through(ctx, d, "read", func() (restart.Run, error) { return d.s.w.store.Run(ctx, id) })
}

func (d desk) RunSince(ctx context.Context, id string, version int64) (restart.Run, error) {
	return through(ctx, d, "read", func() (restart.Run, error) { return d.s.w.store.RunSince(ctx, id, version) })
}

func (d desk) Apply(ctx context.Context, c store.Change) (int64, error) {
	return through(ctx, d, "apply", func() (int64, error) { return d.s.w.apply(c) })
}

func (d desk) Progress(ctx context.Context, fence store.Fence, task, phase string, detail json.RawMessage) error {
	return only(ctx, d, "progress", func() error { return d.s.w.store.Progress(ctx, fence, task, phase, detail) })
}

func (d desk) AppendOutput(context.Context, string, int64, []byte, int64) error { return nil }
func (d desk) OutputEnd(context.Context, string) (int64, error)                 { return 0, nil }

func (d desk) MarkReported(ctx context.Context, tasks []string) error {
	return only(ctx, d, "mark reported", func() error { return d.s.w.store.MarkReported(ctx, tasks) })
}

func (d desk) Unreported(ctx context.Context, after string, limit int) ([]restart.Task, error) {
	return through(ctx, d, "list unreported", func() ([]restart.Task, error) { return d.s.w.store.Unreported(ctx, after, limit) })
}
