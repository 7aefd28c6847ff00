package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// How long things may take before they count as hanging.
const (
	confirmTime  = 40 * time.Second // for a run to be asked for and confirmed
	settleTime   = 90 * time.Second // for a run to end, with a person at hand
	recoveryTime = 75 * time.Second // for a run to get over a fault: twice contactTimeout, and some
)

// round is one injection: runs are started, broken at a moment, got over,
// brought to their end by a person, and judged.
type round struct {
	*lane
	injection
	random  *rand.Rand
	runs    []string
	target  *host       // of a kind that prepares one, with what it had before
	kept    credentials //
	expiry  time.Time   //
	release func()      // takes away what was made ahead of the runs; nil = nothing was
	faults  []finding   // what the injection itself has found

	mu       sync.Mutex
	at       time.Time // of the fault; zero = not yet
	watching sync.WaitGroup
	recovery []time.Duration
	notes    []string
	stops    []stop
}

// ledger is what a lane remembers until its end.
type ledger struct {
	witness string
	runs    []string
	seen    []run
}

// tries is how often an injection is tried that found nothing to break at its
// moment: the call that a process was to be killed at was not made, say.
const tries = 4

// play makes one injection. An error means that the harness could not go on.
func (l *lane) play(ctx context.Context, inj injection, f *figures) error {
	for try := range tries {
		inj.seed += uint64(try) << 32
		if made, err := l.once(ctx, inj, f); made || err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) once(ctx context.Context, inj injection, f *figures) (made bool, err error) {
	r := &round{lane: l, injection: inj, random: rand.New(rand.NewPCG(inj.seed, 1))} //nolint:gosec // to be had again
	k := inj.kind
	if k.before != nil {
		k.before(r)
	}
	if err := r.start(ctx); err != nil {
		return false, fmt.Errorf("start runs: %w", err)
	}
	moment := time.Duration(r.random.Int64N(int64(400 * time.Millisecond)))
	if k.early {
		moment /= 4
	}
	if !pause(ctx, moment) {
		return false, ctx.Err()
	}
	if err := k.inject(ctx, r); err != nil {
		return false, err
	}
	l.mend()
	missed := r.struck().IsZero()
	if missed {
		r.strike() // so that it is looked after all the same
	}
	r.attend(ctx)
	if !l.serversReady(60 * time.Second) {
		r.find(f, finding{Kind: foundStuck, Text: "a server is not ready within 60 s after the fault has gone"})
	}
	over := r.settle(ctx, f)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	seen, err := l.witness.read()
	if err != nil {
		return false, err
	}
	for _, x := range slices.Concat(r.faults, judge(seen, over), touched(r.stops, over)) {
		r.find(f, x)
	}
	l.ledger.seen = append(l.ledger.seen, over...)
	r.book(f, over, missed)
	return !missed, nil
}

// attend waits until every run has got over the fault, and meanwhile starts
// what dies of it late, as a service manager does.
func (r *round) attend(ctx context.Context) {
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watching.Wait()
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-watched:
			return
		case <-tick.C:
			if ctx.Err() == nil {
				r.revive()
			}
		}
	}
}

// book adds a round to the figures.
func (r *round) book(f *figures, over []run, missed bool) {
	o := outcome{kind: r.kind.name, recovery: r.recovery}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range over {
		o.tasks += x.met(r.at)
		f.tasks += len(x.Tasks)
		for _, t := range x.Tasks {
			if t.State == restart.TaskUnknown {
				o.unknown++
			}
		}
	}
	f.runs += len(over)
	f.unknown += o.unknown
	if missed {
		f.missed[r.kind.name]++
		return
	}
	f.outcomes = append(f.outcomes, o)
}

// find tells of something that must not be, with all that is needed to look
// into it.
func (r *round) find(f *figures, x finding) {
	r.b.say("FOUND %s: %s\n  seed %d, injection %d, kind %s, lane %s, run %s\n  the witness: %s\n  logs: %s", strings.ToUpper(x.Kind), x.Text,
		f.seed, r.n, r.kind.name, r.lane.name, x.Run, strings.Join(x.Said, " | "), r.dir)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.findings = append(f.findings, x)
}

// strike says that the fault is there, from now on: the watch begins.
func (r *round) strike() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() {
		return
	}
	r.at = time.Now()
	for _, id := range r.runs {
		r.watching.Go(func() { r.watch(id) })
	}
}

func (r *round) struck() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// start asks for a run of each service, and is sure that each was confirmed.
func (r *round) start(ctx context.Context) error {
	ids, errs := make([]string, len(r.services)), make([]error, len(r.services))
	var starting sync.WaitGroup
	for i, service := range r.services {
		r.keys++
		key := fmt.Sprintf("%s-%d", r.prefix, r.keys)
		starting.Go(func() { ids[i], errs[i] = r.ask(ctx, service, key) })
	}
	starting.Wait()
	r.runs = ids
	r.ledger.runs = append(r.ledger.runs, ids...)
	return errors.Join(errs...)
}

// request is what a person asks for.
type request struct {
	Service string `json:"service"`
	Reason  string `json:"reason"`
	Start   bool   `json:"start"`
}

func (r *round) ask(ctx context.Context, service, key string) (string, error) {
	var made run
	in := request{service, fmt.Sprintf("injection %d: %s", r.n, r.kind.name), true}
	if err := r.askAny(ctx, confirmTime, http.MethodPost, "/api/v1/runs", key, in, &made); err != nil {
		return "", err
	}
	if made.State != restart.RunDraft {
		return made.ID, nil
	}
	return made.ID, r.askAny(ctx, confirmTime, http.MethodPost, "/api/v1/runs/"+made.ID+"/start", "", struct{}{}, nil)
}

func (l *lane) run(ctx context.Context, most time.Duration, id string) (run, error) {
	var out run
	err := l.askAny(ctx, most, http.MethodGet, "/api/v1/runs/"+id, "", nil, &out)
	return out, err
}

// watch looks at a run until it has got over the fault, and notes how long
// that took. One that was over before has nothing to get over.
func (r *round) watch(id string) {
	ctx, cancel := context.WithTimeout(r.b.Context(), recoveryTime+r.kind.lasts)
	defer cancel()
	for {
		x, err := r.run(ctx, recoveryTime, id)
		if err == nil && x.over(r.at) {
			return
		}
		if err == nil && x.recovered(r.at) {
			r.mu.Lock()
			r.recovery = append(r.recovery, time.Since(r.at))
			r.mu.Unlock()
			return
		}
		if !pause(ctx, 25*time.Millisecond) {
			break
		}
	}
	if r.b.Context().Err() == nil {
		r.mu.Lock()
		r.notes = append(r.notes, id)
		r.mu.Unlock()
	}
}

// settle is the person: what is paused is decided, resumed or aborted, until
// every run is over.
func (r *round) settle(ctx context.Context, f *figures) []run {
	for _, id := range r.notes {
		x, err := r.run(ctx, 5*time.Second, id)
		r.find(f, finding{Kind: foundStuck, Run: id, Text: fmt.Sprintf("a run has not got over the fault within %s: %s (%v)", recoveryTime+r.kind.lasts, describe(x), err)})
	}
	var out []run
	for _, id := range r.runs {
		x, err := r.finish(ctx, id)
		var no *refusal
		switch {
		case ctx.Err() != nil:
			return out
		case errors.As(err, &no) && no.Status == http.StatusNotFound:
			r.find(f, finding{Kind: foundLost, Run: id, Text: "a run that was confirmed is not there any more"})
		case err != nil:
			r.find(f, finding{Kind: foundStuck, Run: id, Text: fmt.Sprintf("%v; %s", err, describe(x))})
			r.ledger.seen = append(r.ledger.seen, x) // its tasks are known, at least
		default:
			out = append(out, x)
		}
	}
	return out
}

func describe(r run) string {
	s := fmt.Sprintf("run is %s (%s) %q", r.State, r.Cause, r.Explanation)
	for _, t := range r.Tasks {
		s += fmt.Sprintf("; %s %s %s", t.Host, t.State, t.Error)
	}
	return s
}

// finish brings one run to its end. Whatever it has come to is given, with the
// error that says why that is not an end.
func (r *round) finish(ctx context.Context, id string) (x run, err error) {
	deadline, aborted := time.Now().Add(settleTime), false
	var refused error
	for time.Now().Before(deadline) {
		r.revive()
		if x, err = r.run(ctx, 20*time.Second, id); err != nil {
			return x, err
		}
		switch {
		case x.State.Final():
			return x, nil
		case x.State == restart.RunPaused && (x.Cause == "" || x.Explanation == ""):
			return x, errors.New("paused without saying why")
		case x.settled() && !aborted:
			aborted, refused = r.press(ctx, x)
		}
		if !pause(ctx, 60*time.Millisecond) {
			return x, ctx.Err()
		}
	}
	return x, fmt.Errorf("not over within %s; the person's last word had the answer: %w", settleTime, refused)
}

// press is what a person does about a run that waits: each unknown host is
// decided, and the run goes on, or is given up.
func (r *round) press(ctx context.Context, x run) (aborted bool, err error) {
	verb := "resume"
	if r.random.IntN(6) == 0 || x.Control == restart.ControlAbort || x.Control == restart.ControlForceAbort {
		verb = "abort"
	}
	if verb == "resume" && !r.noDecide.Load() {
		for _, t := range x.Tasks {
			if t.State == restart.TaskUnknown && t.Decision == nil {
				r.decide(ctx, x.ID, t)
			}
		}
	}
	err = r.askAny(ctx, 20*time.Second, http.MethodPost, "/api/v1/runs/"+x.ID+"/"+verb, "", nil, nil)
	return err == nil && verb == "abort", err
}

// decide settles an unknown host as a person would who has looked at it, once
// nothing of the task runs there any more.
func (r *round) decide(ctx context.Context, id string, t task) {
	eventually(ctx, 5*time.Second, func() bool { return len(r.scripts(t.Host)) == 0 })
	verdict := "did-not"
	if seen, err := r.witness.read(); err == nil && seen.times(t.ID, "begin") > 0 {
		verdict = []string{"happened", "again"}[r.random.IntN(2)]
	}
	err := r.askAny(ctx, 10*time.Second, http.MethodPost, "/api/v1/runs/"+id+"/decide", "", map[string]string{
		"host": t.Host, "verdict": verdict, "reason": "looked at the host: " + r.kind.name,
	}, nil)
	var no *refusal
	if errors.As(err, &no) && (no.Status == http.StatusNotFound || no.Status == http.StatusMethodNotAllowed) {
		r.noDecide.Store(true)
	}
}

// choose gives one of several.
func choose[T any](r *round, from []T) T { return from[r.random.IntN(len(from))] }

// some gives a few of the hosts, at least one.
func (r *round) some() []*host {
	out := slices.Clone(r.hosts)
	r.random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:1+r.random.IntN(len(out))]
}

// aim gives one of the hosts: more often than not one whose turn it is.
func (r *round) aim(ctx context.Context) *host {
	h := choose(r, r.hosts)
	if r.random.IntN(4) > 0 {
		if at, _ := r.busy(ctx, 300*time.Millisecond); at != nil {
			return at
		}
	}
	return h
}

// aimAtSome gives a few of the hosts, with one whose turn it is.
func (r *round) aimAtSome(ctx context.Context) []*host {
	out, at := r.some(), r.aim(ctx)
	if !slices.Contains(out, at) {
		out = append(out, at)
	}
	return out
}

// between gives a random time from a range.
func (r *round) between(from, to time.Duration) time.Duration {
	return from + time.Duration(r.random.Int64N(int64(to-from)))
}

// busy waits until a script runs on one of the hosts, and gives that host; nil
// = none does.
func (r *round) busy(ctx context.Context, most time.Duration) (found *host, with supervisor) {
	eventually(ctx, most, func() bool {
		for _, h := range r.hosts {
			if s := h.supervisors(); len(s) > 0 {
				found, with = h, choose(r, s)
				return true
			}
		}
		return false
	})
	return found, with
}
