package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Bounds of what is looked at of the past before something is asked for: the
// answers are wanted while a person fills in a form.
const (
	lookBack  = 200  // runs of a service in an environment, the newest ones
	timedRuns = 10   // of those, runs of the same scenario
	timedMost = 1000 // hosts of them
)

// Asked is one thing that somebody has asked for.
type Asked struct {
	Service, Environment, Reason string
	At                           time.Time
}

// AskedBy lists what somebody has asked for last, the newest first; drafts are
// left out.
func (s *Store) AskedBy(ctx context.Context, actor string, limit int) (out []Asked, err error) {
	err = s.ask(ctx, "read what "+actor+" has asked for", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT service, environment, reason, created_at FROM runs WHERE actor = ? AND state <> 'draft' ORDER BY id DESC LIMIT ?", actor, page(limit))
		out, err = collect(rows, err, func(r *sql.Rows) (a Asked, err error) {
			var at int64
			err = r.Scan(&a.Service, &a.Environment, &a.Reason, &at)
			a.At = fromMicros(at)
			return a, err
		})
		return err
	})
	return out, err
}

// Alike names runs of which one says something about another.
type Alike struct {
	Service, Environment, Scenario string
	Work                           restart.Work
}

// alike selects the newest of those runs. What is looked at is bounded, however
// long the history is.
func (a Alike) recent(columns string) (text string, args []any) {
	return "(SELECT " + columns + ", scenario, work FROM runs WHERE service = ? AND environment = ? AND state <> 'draft' ORDER BY id DESC LIMIT ?) AS recent WHERE scenario = ? AND work = ?",
		[]any{a.Service, a.Environment, lookBack, a.Scenario, string(a.Work)}
}

// HostTimes tells how long hosts took on which the last runs succeeded.
type HostTimes struct {
	Median      time.Duration
	Hosts, Runs int // that it is the median of; 0 = not known
}

// HostTimes looks at the last runs that are alike.
func (s *Store) HostTimes(ctx context.Context, a Alike) (out HostTimes, err error) {
	recent, args := a.recent("id")
	type one struct {
		run  string
		took int64
	}
	var times []one
	err = s.ask(ctx, "read how long hosts took", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT tasks.run_id, tasks.finished_at - tasks.started_at FROM tasks JOIN (SELECT id FROM "+recent+" ORDER BY id DESC LIMIT ?) AS alike ON alike.id = tasks.run_id "+
			"WHERE tasks.state = 'succeeded' AND tasks.started_at IS NOT NULL AND tasks.finished_at IS NOT NULL LIMIT ?", append(args, timedRuns, timedMost)...)
		times, err = collect(rows, err, func(r *sql.Rows) (x one, err error) { return x, r.Scan(&x.run, &x.took) })
		return err
	})
	if err != nil || len(times) == 0 {
		return out, err
	}
	runs := map[string]bool{}
	var took []int64
	for _, x := range times {
		runs[x.run] = true
		took = append(took, max(x.took, 0))
	}
	slices.Sort(took)
	return HostTimes{Median: time.Duration(took[len(took)/2]) * time.Microsecond, Hosts: len(took), Runs: len(runs)}, nil
}

// Ended is how the last of some runs has ended.
type Ended struct {
	Run, Actor, Explanation string
	State                   restart.RunState
	At                      time.Time
}

// LastEnded gives the newest of the runs that are alike and over; nil where
// there is none.
func (s *Store) LastEnded(ctx context.Context, a Alike) (found *Ended, err error) {
	recent, args := a.recent("id, actor, explanation, state, finished_at")
	err = s.ask(ctx, "read how the last run ended", func(ctx context.Context, t tx) error {
		var e Ended
		var at int64
		err := t.row(ctx, "SELECT id, actor, explanation, state, finished_at FROM "+recent+" AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1", args...).
			Scan(&e.Run, &e.Actor, &e.Explanation, &e.State, &at)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		e.At, found = fromMicros(at), &e
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// LastOn is the last restart on one host.
type LastOn struct {
	Host, Run, Actor string
	State            restart.TaskState
	At               time.Time // its beginning
}

// LastOn tells when a service was restarted last on each of some hosts, at most
// 200 of them, by whichever scenario: dumps and rehearsals do not count. A host
// that has never been is left out.
func (s *Store) LastOn(ctx context.Context, service string, hosts []string) (map[string]LastOn, error) {
	hosts = hosts[:min(len(hosts), maxPage)]
	out := map[string]LastOn{}
	if len(hosts) == 0 {
		return out, nil
	}
	var args []any
	for _, h := range hosts {
		args = append(args, h)
	}
	text := fmt.Sprintf(`WITH named (host) AS (VALUES (?)%s)
		SELECT tasks.host, tasks.run_id, runs.actor, tasks.state, tasks.started_at FROM named JOIN tasks ON tasks.id =
			(SELECT t.id FROM tasks AS t JOIN runs AS r ON r.id = t.run_id WHERE t.host = named.host AND t.service = ? AND t.started_at IS NOT NULL
				AND r.kind <> 'thread-dump' AND r.work = '' ORDER BY t.run_id DESC, t.attempt DESC LIMIT 1)
		JOIN runs ON runs.id = tasks.run_id`, strings.Repeat(", (?)", len(hosts)-1))
	err := s.ask(ctx, "read when hosts were restarted", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, text, append(args, service)...)
		list, err := collect(rows, err, func(r *sql.Rows) (l LastOn, err error) {
			var at int64
			err = r.Scan(&l.Host, &l.Run, &l.Actor, &l.State, &at)
			l.At = fromMicros(at)
			return l, err
		})
		for _, l := range list {
			out[l.Host] = l
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
