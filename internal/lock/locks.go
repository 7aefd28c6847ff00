package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Ledger remembers what runs have of others. store.Store is one.
type Ledger interface {
	KeepOutsideLock(ctx context.Context, l store.OutsideLock, records ...audit.Record) error
	DropOutsideLock(ctx context.Context, run, name string) error
	OutsideLocks(ctx context.Context) ([]store.OutsideLock, error)
	Locks(ctx context.Context) ([]store.Lock, error)
	Run(ctx context.Context, id string) (restart.Run, error)
}

// Config of Locks. Settings and Ledger are needed.
type Config struct {
	Settings  Settings
	Ledger    Ledger
	Server    string                      // the name of this one, for people
	Committed func()                      // tells the audit trail that there is something to ship
	Changed   func(run string)            // is told of each run whose locks stand otherwise now
	Observe   func(lock string, a Answer) // is told what came of asking for a lock, or after it; nil = nobody is
	Logger    *slog.Logger
	Now       func() time.Time
	// Timeout is context.WithTimeout where nil: a simulation has a time of its own.
	Timeout func(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// Locks are all that the settings name. They are orchestrator.Locks.
type Locks struct {
	cfg Config
	all []opened

	mu     sync.Mutex
	known  map[key]store.OutsideLock // as this process last stored them
	silent map[key]time.Time         // when the keeper of a lock that the run goes on without has not answered
	unsure map[key]time.Time         // by run and lock: since when what was asked for, and had no answer, may come to be
}

// key is a lock of one walk of a run: between two, another server may have
// walked it.
type key struct {
	run   string
	epoch int64
	lock  string
}

func (c Claim) key(lock string) key { return key{c.Run, c.Epoch, lock} }

// Answer is what came of asking for a lock, or whether a run still has it.
type Answer string

// The answers. That a run still has its lock is none: it is asked before each
// host.
const (
	AnswerTaken      Answer = "taken"
	AnswerLocked     Answer = "locked"     // another has it; asked again and again, as the run waits
	AnswerLost       Answer = "lost"       // the run had it
	AnswerUnanswered Answer = "unanswered" // nobody can say, and the run waits or is paused
	AnswerBypassed   Answer = "bypassed"   // nobody can say, and the run goes on without
)

// Answers lists them all.
func Answers() []Answer {
	return []Answer{AnswerTaken, AnswerLocked, AnswerLost, AnswerUnanswered, AnswerBypassed}
}

// New opens the locks. An error is CodeInvalid, and about the settings; whether
// anybody answers is found out when the first run wants one.
func New(cfg Config) (*Locks, error) {
	cfg = cfg.filled()
	all, err := cfg.Settings.open(cfg.Logger)
	if err != nil {
		return nil, err
	}
	return over(cfg, all), nil
}

// Over is New with one lock, which is there already, in place of those that the
// settings name: for a keeper that is simulated.
func Over(cfg Config, s Setting, l Lock) *Locks {
	return over(cfg.filled(), []opened{{l, s}})
}

func over(cfg Config, all []opened) *Locks {
	return &Locks{cfg: cfg, all: all, known: map[key]store.OutsideLock{}, silent: map[key]time.Time{}, unsure: map[key]time.Time{}}
}

func (cfg Config) filled() Config {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timeout == nil {
		cfg.Timeout = context.WithTimeout
	}
	if cfg.Committed == nil {
		cfg.Committed = func() {}
	}
	if cfg.Changed == nil {
		cfg.Changed = func(string) {}
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, Answer) {}
	}
	return cfg
}

// Close ends the sessions, and with them what is kept by them.
func (l *Locks) Close() { closeAll(l.all) }

// Concern tells whether a run takes any of the locks.
func (l *Locks) Concern(run restart.Run) bool {
	return slices.ContainsFunc(l.all, func(o opened) bool { return o.fits(run) })
}

// Take takes the run's locks in their order, and stops at the first that
// another has: see orchestrator.Locks. What was taken before it is kept.
func (l *Locks) Take(ctx context.Context, run restart.Run) error {
	claim := claimOf(run, l.cfg.Server, l.cfg.Now().UTC())
	for _, o := range l.all {
		if !o.fits(run) {
			continue
		}
		if err := l.takeOne(ctx, o, run, claim); err != nil {
			return err
		}
	}
	return nil
}

func (l *Locks) takeOne(ctx context.Context, o opened, run restart.Run, claim Claim) error {
	if err := l.leaveOldPlace(ctx, o, claim); err != nil { // lenient, too: its row is all that knows of the old place
		return err
	}
	if known, ok := l.last(claim.key(o.Name)); !ok || known.State == store.OutsideLost || known.State == store.OutsideBypassed {
		if err := l.keep(ctx, o, claim, store.OutsideWaiting, ""); err != nil { // before anything is taken
			return err
		}
	}
	err := o.Take(ctx, claim)
	switch restart.CodeOf(err) {
	case "":
		if known, _ := l.last(claim.key(o.Name)); known.State == store.OutsideHeld {
			return nil
		}
		l.cfg.Observe(o.Name, AnswerTaken)
		return l.keep(ctx, o, claim, store.OutsideHeld, "")
	case restart.CodeStaleEpoch:
		return err
	case restart.CodeLocked:
		l.cfg.Observe(o.Name, AnswerLocked)
		taken := restart.Errorf(restart.CodeLocked, "the lock %s, which is shared with others, is taken: %s", o.Name, sentence(err))
		return errors.Join(taken, l.keep(ctx, o, claim, store.OutsideWaiting, sentence(err)))
	}
	l.doubt(claim, o.Name, true)
	if o.lenientFor(run) {
		return l.bypass(ctx, o, run, claim, err)
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // else it is us who did not wait
		l.cfg.Observe(o.Name, AnswerUnanswered)
	}
	unknown := restart.Errorf(restart.CodeUnavailable, "the lock %s, which is shared with others, can't be taken: %s", o.Name, sentence(err))
	return errors.Join(unknown, l.keep(ctx, o, claim, store.OutsideWaiting, sentence(err)))
}

// lenientFor tells whether a run goes on without a lock of which nobody can say
// who has it. Broken glass waives that question, and no lock that another has.
func (s Setting) lenientFor(run restart.Run) bool {
	return s.WhenDown == lenient || run.Waives(restart.SafeguardLockKeeper)
}

// bypass stores, with its record, that a run goes on without a lock.
func (l *Locks) bypass(ctx context.Context, o opened, run restart.Run, claim Claim, cause error) error {
	why := sentence(cause)
	l.cfg.Observe(o.Name, AnswerBypassed)
	l.cfg.Logger.Warn("a run goes on without a lock that is shared with others", "run_id", run.ID, "lock", o.Name, "error", cause)
	rec := audit.Record{
		Time: claim.Since, Actor: run.Actor, Origin: run.Via, Action: audit.LockBypassed, Run: run.ID, Service: run.Service, Environment: run.Environment,
		ScenarioDigest: run.Digest, Reason: run.Reason, Outcome: "bypassed", Detail: fmt.Sprintf("%s, %s: %s", o.Name, o.Place(claim), why),
	}
	return l.keep(ctx, o, claim, store.OutsideBypassed, why, rec)
}

// Held tells why a run does not have its locks any more: see orchestrator.Locks.
// One that the run goes on without is asked for again, and taken where it can be.
func (l *Locks) Held(ctx context.Context, run restart.Run) (restart.Cause, string) {
	claim := claimOf(run, l.cfg.Server, l.cfg.Now().UTC())
	for _, o := range l.all {
		if !o.fits(run) {
			continue
		}
		if why := l.lacks(ctx, o, run, claim); why != "" {
			return restart.CauseLockLost, why
		}
	}
	return "", ""
}

// lacks tells why a run must not go on as it stands with one lock; "" = it may.
func (l *Locks) lacks(ctx context.Context, o opened, run restart.Run, claim Claim) string {
	known, _ := l.last(claim.key(o.Name))
	without := known.State == store.OutsideBypassed
	if without && l.restsFrom(claim.key(o.Name)) {
		return ""
	}
	err := l.within(ctx, heldTime, func(ctx context.Context) error {
		err := o.Held(ctx, claim)
		if without && restart.CodeOf(err) == restart.CodeLocked { // its keeper is back: it may be free
			err = o.Take(ctx, claim)
		}
		return err
	})
	code := restart.CodeOf(err)
	if code != "" && code != restart.CodeLocked && code != restart.CodeStaleEpoch {
		l.doubt(claim, o.Name, true)
	}
	switch {
	case code == "" && without:
		l.cfg.Observe(o.Name, AnswerTaken)
		l.try(l.keep(ctx, o, claim, store.OutsideHeld, ""), run.ID)
		return ""
	case code == "":
		return ""
	case code == restart.CodeLocked && without:
		l.cfg.Observe(o.Name, AnswerLocked)
		l.try(l.keep(ctx, o, claim, store.OutsideWaiting, sentence(err)), run.ID)
		return fmt.Sprintf("the lock %s, which is shared with others and which the run went on without, is taken: %s", o.Name, sentence(err))
	case code == restart.CodeLocked:
		l.cfg.Observe(o.Name, AnswerLost)
		l.try(l.keep(ctx, o, claim, store.OutsideLost, sentence(err)), run.ID)
		return fmt.Sprintf("the lock %s, which is shared with others, is lost: %s", o.Name, sentence(err))
	case code == restart.CodeStaleEpoch: // a later server has the run
		return sentence(err)
	case o.lenientFor(run) && without: // which is on record
		l.rest(claim.key(o.Name))
		return ""
	case o.lenientFor(run):
		if err := l.bypass(ctx, o, run, claim, err); err == nil {
			return ""
		}
	case !errors.Is(ctx.Err(), context.Canceled):
		l.cfg.Observe(o.Name, AnswerUnanswered)
	}
	return fmt.Sprintf("whether the run still has the lock %s, which is shared with others, nobody can say: %s", o.Name, sentence(err))
}

const (
	// heldTime bounds the question that goes before each host.
	heldTime = 2 * time.Second
	// noteTime bounds the note of what came of a question.
	noteTime = 5 * time.Second
	// restTime is how long a run does not ask for a lock that it goes on without
	// after its keeper has not answered: else each host of a batch would wait for it
	// anew.
	restTime = 500 * time.Millisecond
)

// rest notes that the keeper of a lock has not answered.
func (l *Locks) rest(k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent[k] = l.cfg.Now()
}

// restsFrom tells whether the keeper of a lock has not answered a moment ago.
func (l *Locks) restsFrom(k key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, noted := l.silent[k]
	since := l.cfg.Now().Sub(at)
	return noted && since >= 0 && since < restTime // else a clock was set back
}

// Release gives back what a run has. What can't be given back now, Run tries
// again; no lock is waited for so long that another has no turn.
func (l *Locks) Release(ctx context.Context, run restart.Run) {
	claim := claimOf(run, l.cfg.Server, l.cfg.Now().UTC())
	for _, o := range l.all {
		if o.fits(run) {
			claim, err := l.where(ctx, o, claim)
			if err != nil {
				l.try(err, run.ID) // the row stays, so that Run gives it back
				continue
			}
			l.try(l.within(ctx, releaseTime, func(ctx context.Context) error { return l.release(ctx, o, claim) }), run.ID)
		}
	}
}

// releaseTime bounds the try to give one lock back for which somebody waits.
const releaseTime = 2 * time.Second

// release gives one lock back, and forgets it. What was asked for and not
// answered may come to be after that: then the row stays, and Run releases again.
func (l *Locks) release(ctx context.Context, o opened, claim Claim) error {
	if err := o.Release(ctx, claim); err != nil {
		return err
	}
	l.mu.Lock()
	delete(l.known, claim.key(o.Name))
	delete(l.silent, claim.key(o.Name))
	at, unsure := l.unsure[key{run: claim.Run, lock: o.Name}]
	l.mu.Unlock()
	if unsure && l.cfg.Now().Sub(at).Abs() < settled {
		return nil
	}
	err := l.cfg.Ledger.DropOutsideLock(ctx, claim.Run, o.Name)
	if err == nil {
		l.mu.Lock()
		delete(l.unsure, key{run: claim.Run, lock: o.Name})
		l.mu.Unlock()
		l.cfg.Changed(claim.Run)
	}
	return err
}

// settled is how long after a question without an answer a keeper may still do
// what it was asked for.
const settled = time.Minute

// doubt notes that what was asked for a run may come to be at any time; anew:
// also where that is noted already.
func (l *Locks) doubt(c Claim, lock string, anew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key{run: c.Run, lock: lock}
	if _, noted := l.unsure[k]; anew || !noted {
		l.unsure[k] = l.cfg.Now()
	}
}

// where gives the claim with the place at which the ledger has it.
func (l *Locks) where(ctx context.Context, o opened, c Claim) (Claim, error) {
	if row, known := l.last(c.key(o.Name)); known {
		return c.at(o, row), nil
	}
	rows, err := l.cfg.Ledger.OutsideLocks(ctx)
	if err != nil {
		return c, &ledgerError{err}
	}
	i := slices.IndexFunc(rows, func(r store.OutsideLock) bool { return r.RunID == c.Run && r.Name == o.Name })
	if i < 0 {
		return c, nil
	}
	return c.at(o, rows[i]), nil
}

// at is the claim on a lock that was taken where a row says.
func (c Claim) at(o opened, row store.OutsideLock) Claim {
	if row.Kind == o.Kind && row.Place != o.Place(c) {
		c.At = row.Place
	}
	return c
}

// leaveOldPlace gives back what the run has at a place that the settings do not
// say any more, before it is asked for at the new one.
func (l *Locks) leaveOldPlace(ctx context.Context, o opened, c Claim) error {
	if _, known := l.last(c.key(o.Name)); known {
		return nil
	}
	old, err := l.where(ctx, o, c)
	if err != nil || old.At == "" {
		return err
	}
	if err := o.Release(ctx, old); err != nil {
		return restart.Errorf(restart.CodeUnavailable, "the lock %s, which is shared with others, can't be taken: %s", o.Name, sentence(err)).
			WithHint("it was taken at %s, before the settings were changed, and can't be given back there", old.At)
	}
	return nil
}

func (l *Locks) last(k key) (store.OutsideLock, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	row, ok := l.known[k]
	return row, ok
}

// keep stores how a run stands with a lock, where that is news.
func (l *Locks) keep(ctx context.Context, o opened, c Claim, state store.OutsideLockState, note string, records ...audit.Record) error {
	row := store.OutsideLock{RunID: c.Run, Name: o.Name, Kind: o.Kind, Place: o.Place(c), State: state, Note: note, Server: c.Server, Since: c.Since}
	if known, ok := l.last(c.key(o.Name)); ok && known.State == state {
		if known.Note == note {
			return nil
		}
		row.Since = known.Since
	}
	if errors.Is(ctx.Err(), context.Canceled) { // the walk is another server's: this one must not write over its row
		return ctx.Err()
	}
	noting := context.WithoutCancel(ctx) // the time for the question may be used up, and what came of it counts
	if err := l.within(noting, noteTime, func(ctx context.Context) error { return l.cfg.Ledger.KeepOutsideLock(ctx, row, records...) }); err != nil {
		return &ledgerError{err}
	}
	l.mu.Lock()
	l.known[c.key(o.Name)] = row
	l.mu.Unlock()
	if len(records) > 0 {
		l.cfg.Committed()
	}
	l.cfg.Changed(c.Run)
	return nil
}

// ledgerError is of the ledger, and without a code of its own: what is wrong with
// the database must not be taken for what the keeper of a lock says.
type ledgerError struct{ err error }

func (e *ledgerError) Error() string { return "note how a run stands with a lock: " + e.err.Error() }

// Standing is how a lock stands: with the runs of the whole database, and with
// this server.
type Standing struct {
	Runs map[store.OutsideLockState]int64 // that wait for it, have it, lost it or went on without; of each state
	// Left are those that are over, and have not given it back: it is in the way of
	// others.
	Left int64
	// Interrupted tells that this server's session with the keeper of the lock is
	// without a connection. A kind that has no sessions never is.
	Interrupted bool
}

// sessioned is a Lock whose keeper knows us by a session.
type sessioned interface {
	// Interrupted tells whether a session that was wanted is not there now.
	Interrupted() bool
}

// queueing is a Lock that keeps those who wait in a line: who waits there may
// come to have it without another question.
type queueing interface {
	// Queues tells that.
	Queues() bool
}

func (o opened) queues() bool {
	q, ok := o.Lock.(queueing)
	return ok && q.Queues()
}

// Names lists the locks, in the order of the settings.
func (l *Locks) Names() []string {
	out := make([]string, 0, len(l.all))
	for _, o := range l.all {
		out = append(out, o.Name)
	}
	return out
}

// Standing tells how each lock of the settings stands, by its name.
func (l *Locks) Standing(ctx context.Context) (map[string]Standing, error) {
	out := map[string]Standing{}
	for _, o := range l.all {
		s := Standing{Runs: map[store.OutsideLockState]int64{store.OutsideWaiting: 0, store.OutsideHeld: 0, store.OutsideLost: 0, store.OutsideBypassed: 0}}
		if z, ok := o.Lock.(sessioned); ok {
			s.Interrupted = z.Interrupted()
		}
		out[o.Name] = s
	}
	if len(out) == 0 {
		return out, nil
	}
	rows, err := l.cfg.Ledger.OutsideLocks(ctx) // first: whoever has a row has had its service before
	if err != nil {
		return nil, err
	}
	services, err := l.cfg.Ledger.Locks(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		s, named := out[row.Name]
		switch {
		case !named:
		case holds(services, row.RunID):
			s.Runs[row.State]++
		default:
			s.Left++
			out[row.Name] = s
		}
	}
	return out, nil
}

// try logs what can be done later as well.
func (l *Locks) try(err error, run string) {
	if err != nil {
		l.cfg.Logger.Warn("tend the locks that a run shares with others; trying again", "run_id", run, "error", err)
	}
}

// sentence gives what an error says to people.
func sentence(err error) string {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e.Message
	}
	return restart.Escape(err.Error())
}

func (l *Locks) within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := l.cfg.Timeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// checkTime bounds the question whether a keeper of locks answers.
const checkTime = 5 * time.Second

// Check asks each keeper of a lock whether it answers, and gives what is wrong.
func (l *Locks) Check(ctx context.Context) (wrong []error) {
	for _, o := range l.all {
		if err := l.within(ctx, checkTime, o.Check); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", o.Name, err))
		}
	}
	return wrong
}
