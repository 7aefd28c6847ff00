package audit

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Store is what the trail needs of the database. Records are put there by
// others, unsequenced, in the transaction of the change that they tell of.
type Store interface {
	// Sequence takes up to limit unsequenced records in the order of their
	// commit, calls link on each with the head of source's chain at that point
	// (Head{Source: source} for a new one), and stores records and head, all in
	// one transaction. It returns how many there were.
	Sequence(ctx context.Context, source string, limit int, link func(head Head, r *Record)) (n int, err error)
	// Sequenced gives up to limit records of source with seq > after, by seq.
	Sequenced(ctx context.Context, source string, after int64, limit int) ([]Record, error)
	// AuditHead gives the head of source's chain.
	AuditHead(ctx context.Context, source string) (Head, error)
	// Cursor gives the seq up to which sink has everything of source, or 0.
	Cursor(ctx context.Context, sink, source string) (int64, error)
	// SetCursor stores it durably.
	SetCursor(ctx context.Context, sink, source string, seq int64) error
	// Seal calls seal with the head of source's chain and the last record
	// audit.sealed of it, nil without one, and stores the linked records that it
	// gives behind that head, in one transaction.
	Seal(ctx context.Context, source string, seal func(head Head, last *Record) []Record) error
}

// Config is what a Trail is made of.
type Config struct {
	Store  Store
	Source string // this server's name in the trail, see CheckSource
	Sinks  []Sink // the trail closes them when Run returns
	Key    *Key   // seals the trail once a minute; nil = it is not sealed
	// Need is what must be true of an intent before a host is touched; the zero
	// value waits for nothing but the database's commit. Ledger is needed where
	// it asks for more, or a limit is to be held.
	Need   Need
	Ledger Ledger
	Logger *slog.Logger
	// Poll is how often the database is asked without a Wake, for what other
	// programs have committed; 2 s by default.
	Poll time.Duration
	// Batch is the most records that are sequenced or sent at once, 1 to 1000;
	// 256 by default.
	Batch int
}

// gather is how long a Wake waits for more of its kind, so that a busy server
// pays one commit for the places of many records.
const gather = 20 * time.Millisecond

var errStopped = errors.New("the audit trail has stopped")

// maxInFlight bounds the records that a sink was sent and has not settled, and
// so how far back a duplicate can lie at the receiver.
const maxInFlight = 8192

// Trail gives the records of one server their place and ships them to every
// sink. It never drops a record and never changes their order: a sink that
// fails is tried again, later and later, while the others go on.
type Trail struct {
	store    Store
	source   string
	logger   *slog.Logger
	poll     time.Duration
	batch    int
	wake     chan struct{}
	requests chan chan struct{} // each is closed after a whole pass of the sequencer that began later
	stopped  chan struct{}      // closed at the end of Run
	shippers []*shipper
	sealer   *sealer // nil = the trail is not sealed
	need     Need
	ledger   Ledger
	reach    *reach
	spool    *spool

	mu      sync.Mutex
	failure error // of the sequencer
}

// CheckSource accepts the name of a source: a host name or a name of our own.
func CheckSource(s string) error {
	if len(s) <= maxText && (restart.CheckHost(s) == nil || restart.CheckServiceName(s) == nil) {
		return nil
	}
	return restart.Errorf(restart.CodeInvalid, "%s can't name a source of audit records", restart.Quote(s)).
		WithHint("a host name, or a-z 0-9 @ . _ -; at most %d characters", maxText)
}

// AgentSource marks the source of a host's own records. No server can be named
// so: CheckSource refuses the colon.
const AgentSource = "agent:"

// AskedSource stands behind the host's name in the source of its record of what
// servers have asked.
const AskedSource = "/asked"

// checkAnySource accepts a server's name, and that of a host's own chain.
func checkAnySource(s string) error {
	if host, ok := strings.CutPrefix(s, AgentSource); ok {
		return restart.CheckHost(strings.TrimSuffix(host, AskedSource))
	}
	return CheckSource(s)
}

// New makes a trail; Run starts it.
func New(c Config) (*Trail, error) {
	if err := CheckSource(c.Source); err != nil {
		return nil, err
	}
	if c.Store == nil {
		return nil, errors.New("audit trail: no store")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Poll <= 0 {
		c.Poll = 2 * time.Second
	}
	if c.Batch <= 0 {
		c.Batch = 256
	}
	c.Batch = min(c.Batch, 1000)
	if c.Need.Level == "" {
		c.Need.Level = LevelSpool
	}
	if c.Ledger == nil && c.Need.waits() {
		return nil, errors.New("audit trail: no ledger to wait by")
	}
	t := &Trail{
		store: c.Store, source: c.Source, logger: c.Logger, poll: c.Poll, batch: c.Batch,
		wake: make(chan struct{}, 1), requests: make(chan chan struct{}), stopped: make(chan struct{}),
		need: c.Need, ledger: c.Ledger, reach: newReach(c.Need), spool: newSpool(c.Need, c.Sinks),
	}
	if c.Ledger == nil {
		t.spool.level = ""
	}
	if c.Key != nil {
		t.sealer = &sealer{key: c.Key}
	}
	for _, sink := range c.Sinks {
		t.shippers = append(t.shippers, newShipper(t, sink))
	}
	return t, nil
}

// Wake says that a commit has brought new records. It never blocks.
func (t *Trail) Wake() { signal(t.wake) }

// Run sequences and ships until ctx is over, then closes the sinks. It does
// not give up: errors are logged, shown by Stats, and tried again. A trail
// runs once.
func (t *Trail) Run(ctx context.Context) {
	defer close(t.stopped)
	var running sync.WaitGroup
	running.Go(func() { t.sequence(ctx) })
	running.Go(func() { t.measure(ctx) })
	for _, s := range t.shippers {
		running.Go(func() { s.run(ctx) })
	}
	running.Wait()
	for _, s := range t.shippers {
		if err := s.sink.Close(); err != nil {
			t.logger.Warn("close audit sink", "sink", s.sink.Name(), "error", err)
		}
	}
}

// Flush waits until every record that was committed before the call has its
// place and is in every sink on this machine's disk (LevelSpool). It returns
// an error if ctx or Run is over first.
func (t *Trail) Flush(ctx context.Context) error {
	head, err := t.pass(ctx)
	if err != nil {
		return err
	}
	for _, s := range t.shippers {
		if s.sink.Level() != LevelSpool {
			continue
		}
		if err := s.await(ctx, head.Seq); err != nil {
			return err
		}
	}
	return nil
}

// pass waits until every record that was committed before the call has its
// place, and gives the chain's head then.
func (t *Trail) pass(ctx context.Context) (Head, error) {
	passed := make(chan struct{})
	select {
	case t.requests <- passed:
	case <-t.stopped:
		return Head{}, errStopped
	case <-ctx.Done():
		return Head{}, ctx.Err()
	}
	select {
	case <-passed:
	case <-t.stopped:
		return Head{}, errStopped
	case <-ctx.Done():
		return Head{}, ctx.Err()
	}
	return t.store.AuditHead(ctx, t.source)
}

// sequence is the sequencer's loop.
func (t *Trail) sequence(ctx context.Context) {
	retry := newBackoff()
	var flushing []chan struct{}
	for {
		began := time.Now()
		err := t.sequenceAll(ctx)
		if err == nil {
			err = t.note(ctx, began)
		}
		if ctx.Err() != nil {
			return
		}
		t.mu.Lock()
		t.failure = err
		t.mu.Unlock()
		if err != nil {
			t.reach.stuck(began)
			pause := retry.next()
			t.logger.Error("sequence audit records", "error", err, "retry_in", pause)
			if !wait(ctx, pause, nil) {
				return
			}
			continue
		}
		retry.reset()
		t.reach.unstuck()
		for _, passed := range flushing {
			close(passed)
		}
		flushing = nil
		timer := time.NewTimer(t.poll)
		select {
		case <-t.wake:
			timer.Reset(gather)
			select {
			case <-timer.C:
			case passed := <-t.requests:
				flushing = append(flushing, passed)
			case <-ctx.Done():
			}
		case passed := <-t.requests:
			flushing = append(flushing, passed)
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// note tells those who wait how far the chain has come, after a pass, whoever
// has put records behind its head.
func (t *Trail) note(ctx context.Context, began time.Time) error {
	if t.spool.level == "" {
		return nil
	}
	head, err := t.store.AuditHead(ctx, t.source)
	if err != nil {
		return err
	}
	t.reach.placed(t.shippers, began, head.Seq)
	t.spool.placed(head.Seq)
	return nil
}

func (t *Trail) sequenceAll(ctx context.Context) error {
	for {
		n, err := t.store.Sequence(ctx, t.source, t.batch, func(head Head, r *Record) {
			head.Source = t.source
			r.Link(head)
		})
		if err != nil {
			return err
		}
		if n > 0 {
			for _, s := range t.shippers {
				signal(s.wake)
			}
		}
		if t.sealer != nil {
			t.sealer.placed += n
		}
		if err := t.seal(ctx); err != nil {
			return err
		}
		if n < t.batch {
			return nil
		}
	}
}

// Stats is the state of the trail for /readyz, metrics and pages.
type Stats struct {
	Source string      `json:"source"`
	Error  string      `json:"error,omitempty"` // why records get no place at the moment
	Sinks  []SinkStats `json:"sinks"`
}

// SinkStats is the state of one sink.
type SinkStats struct {
	Name    string        `json:"name"`
	Level   Level         `json:"level"`
	Settled int64         `json:"settled"`          // seq up to which everything has settled
	Backlog int64         `json:"backlog"`          // records with a place that have not settled
	Oldest  time.Duration `json:"oldest_ns"`        // age of the oldest of them, 0 for none
	Error   string        `json:"error,omitempty"`  // the last failure, "" once records flow again
	Since   time.Time     `json:"since,omitzero"`   // of the first failure in a row
	Shipped time.Time     `json:"shipped,omitzero"` // when it last took a record; zero = not since the start
}

// Stats asks the database for the head, and the shippers for the rest.
func (t *Trail) Stats(ctx context.Context) (Stats, error) {
	head, err := t.store.AuditHead(ctx, t.source)
	if err != nil {
		return Stats{}, err
	}
	out := Stats{Source: t.source}
	t.mu.Lock()
	if t.failure != nil {
		out.Error = t.failure.Error()
	}
	t.mu.Unlock()
	for _, s := range t.shippers {
		out.Sinks = append(out.Sinks, s.stats(head.Seq))
	}
	return out, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// backoff gives pauses that double from half a second to half a minute, each
// shortened by up to a half at random, so that servers do not march in step.
type backoff struct {
	current time.Duration
}

const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
)

func newBackoff() *backoff { return &backoff{} }

func (b *backoff) next() time.Duration {
	b.current = min(max(b.current*2, firstPause), lastPause)
	return b.current - rand.N(b.current/2) //nolint:gosec // jitter is no secret
}

func (b *backoff) reset() { b.current = 0 }
