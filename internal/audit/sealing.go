package audit

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	sealEvery   = time.Minute // how long records wait for a seal, and how often a silent server is heard
	sealRecords = 1000        // how many of them, but for a batch
)

// sealer has the sequencer seal the chain: at its start, once a minute, and
// when so many records have got their place. It belongs to the sequencer, but
// for asked.
type sealer struct {
	key    *Key
	asked  atomic.Bool // somebody wants a seal now
	next   time.Time   // of the heartbeat; zero = at once
	placed int         // records without a seal, as far as this program knows
	warned bool        // that the key has changed unsigned
}

func (s *sealer) due(now time.Time) bool {
	return s != nil && (s.asked.Load() && s.placed > 0 || !now.Before(s.next) || s.placed >= sealRecords)
}

// Seal has every record that was committed before the call sealed, and waits as
// Flush does. A server does so when it stops, so that its trail ends with a
// seal.
func (t *Trail) Seal(ctx context.Context) error {
	if t.sealer != nil {
		t.sealer.asked.Store(true)
	}
	return t.Flush(ctx)
}

// seal puts a seal behind the chain, where one is due. It has a transaction of
// its own: one that is lost with its server is made at the next start, and
// nothing is ever sealed that was not placed.
func (t *Trail) seal(ctx context.Context) error {
	s := t.sealer
	now := time.Now()
	if !s.due(now) {
		return nil
	}
	made := false
	err := t.store.Seal(ctx, t.source, func(head Head, last *Record) []Record {
		made = head.Seq > 0
		if !made {
			return nil // there is nothing to sign yet
		}
		return s.records(head, last, now, t)
	})
	if err != nil || !made {
		return err
	}
	s.asked.Store(false)
	s.next, s.placed = now.Add(sealEvery), 0
	for _, shipper := range t.shippers {
		signal(shipper.wake)
	}
	return nil
}

// records gives the linked records that seal all up to head: before the seal
// that of a new key, where the last seal is of another.
func (s *sealer) records(head Head, last *Record, now time.Time, t *Trail) (records []Record) {
	head.Source = t.source
	first := int64(1)
	if last != nil {
		first = last.Seq
		if before, err := ReadSeal(last); err == nil {
			way, signed := s.key.since(before.Key)
			if !signed {
				way = []KeyChange{{Key: before.Key, Next: s.key.Public()}}
				if !s.warned {
					t.logger.Warn("the audit trail is sealed with another key, and the key before has not signed that: give auditors the public half", "key", KeyID(s.key.Public()), "before", KeyID(before.Key))
				}
				s.warned = true
			}
			for _, change := range way {
				r := change.record(t.source, now)
				r.Link(head)
				records, head = append(records, r), r.Head()
			}
		}
	}
	r := s.key.Seal(head, first, now)
	r.Link(head)
	return append(records, r)
}
