package audit

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	firstExpiry = 10 * time.Minute // after the start, which has other things to do
	expireEvery = 24 * time.Hour
	expireRest  = time.Second // between two transactions, so that others get their turn

	leastKeep = 30 * 24 * time.Hour // a run can be paused for long, and its records are looked for
	mostKeep  = 20 * 366 * 24 * time.Hour
)

// Expiry says which records of a source the database need not keep any more:
// those older than Keep that every one of Sinks has, and a seal stands behind.
//
// Whatever expires is the beginning of the chain, so what is kept is a chain
// too. The record audit.expired tells of it: its params are first and last,
// the numbers of the records, and epoch and head, the epoch and hash of the
// last, behind which the kept chain goes on.
type Expiry struct {
	Source string
	Keep   time.Duration
	Sinks  []string // their names; all of them have to have a record
}

// Expirer deletes what has expired. Some thousands at once, so that it is called
// again until there are no more.
type Expirer interface {
	ExpireAudit(ctx context.Context, e Expiry) (n int, err error)
}

// checkKeep tells whether records may expire after so long: somebody must have
// answered for them.
func (s Settings) checkKeep() error {
	keep := time.Duration(s.Keep)
	if keep == 0 {
		return nil
	}
	if keep < leastKeep || keep > mostKeep {
		return restart.Errorf(restart.CodeInvalid, "audit.keep: %s is not from 30d to 7320d", s.Keep).WithHint("0 keeps records for ever")
	}
	if s.Key == "" {
		return restart.Errorf(restart.CodeInvalid, "audit.keep: without audit.key no seal ever stands behind a record, so that none may be deleted").
			WithHint("restartilka audit key new makes a key; or take audit.keep out")
	}
	for _, c := range s.Sinks {
		if kinds[c.Kind].level.AtLeast(LevelReceived) {
			return nil
		}
	}
	return restart.Errorf(restart.CodeInvalid, "audit.keep: no sink answers for records on another machine, so that none may be deleted here").
		WithHint("add one of the kinds receiver, relp or http; or take audit.keep out")
}

// expire deletes what has expired, now and then, until ctx is over.
func (t *Trail) expire(ctx context.Context) {
	e := Expiry{Source: t.source, Keep: t.keep}
	for _, s := range t.shippers {
		e.Sinks = append(e.Sinks, s.sink.Name())
	}
	for pause := firstExpiry; wait(ctx, pause, nil); pause = expireEvery {
		t.expireAll(ctx, e)
	}
}

func (t *Trail) expireAll(ctx context.Context, e Expiry) {
	total := 0
	for {
		for _, s := range t.shippers {
			if s.lacks.Load() {
				t.logger.Warn("no audit records expire: a sink has lost some that it had", "sink", s.sink.Name())
				return
			}
		}
		n, err := t.expirer.ExpireAudit(ctx, e)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.logger.Warn("let old audit records expire", "error", err)
			return
		}
		total += n
		if n == 0 {
			break
		}
		t.Wake()
		if !wait(ctx, expireRest, nil) {
			return
		}
	}
	if total > 0 {
		t.logger.Info("old audit records have expired here", "records", total, "keep", restart.Days(t.keep))
	}
}
