package audit

import (
	"fmt"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Level says what a sink knows of a record that it calls settled.
type Level string

// The levels, from the weakest to the strongest.
const (
	LevelSpool    Level = "spool"    // on this machine's disk, by fsync
	LevelSent     Level = "sent"     // taken by the receiver's kernel, on a connection that lived on
	LevelReceived Level = "received" // acknowledged by the receiver's program
	LevelStored   Level = "stored"   // acknowledged after the receiver's fsync
)

// Levels lists them, from the weakest to the strongest.
func Levels() []Level { return []Level{LevelSpool, LevelSent, LevelReceived, LevelStored} }

// AtLeast tells whether l promises what o does, or more. What is no level
// promises nothing.
func (l Level) AtLeast(o Level) bool {
	have, want := slices.Index(Levels(), l), slices.Index(Levels(), o)
	return have >= 0 && want >= 0 && have >= want
}

// Need is how far a run's intent must have come before a host is touched, and
// what there is room for until then.
type Need struct {
	Level    Level         // LevelSpool: the commit of the database is enough
	Deadline time.Duration // how long that is waited for
	Limit    int64         // bytes of records that may wait here for the log
}

// The bounds of the settings, and their values where nothing is written.
const (
	DefaultDeadline   = 10 * time.Second
	leastDeadline     = time.Second
	mostDeadline      = 5 * time.Minute
	DefaultSpoolLimit = 1 << 30
	leastSpoolLimit   = 1 << 20
	mostSpoolLimit    = 1 << 40
)

// SpoolSettings bound what waits in the database for the log.
type SpoolSettings struct {
	Limit restart.Bytes `yaml:"limit" json:"limit"` // 0 = 1GiB; 1MiB to 1TiB
}

// Remote tells whether a sink of the settings leaves this machine.
func (s Settings) Remote() bool { return s.strongest() != LevelSpool }

// strongest gives the strongest level that a sink of the settings offers.
func (s Settings) strongest() Level {
	best := LevelSpool
	for _, c := range s.Sinks {
		if l := kinds[c.Kind].level; l.AtLeast(best) {
			best = l
		}
	}
	return best
}

// Need gives what the settings ask for, their defaults filled in. Errors are
// *restart.Error with CodeInvalid.
func (s Settings) Need() (Need, error) {
	need := Need{Level: Level(s.Require), Deadline: s.Deadline, Limit: int64(s.Spool.Limit)}
	best := s.strongest()
	switch {
	case need.Level == "" && best == LevelSpool:
		return need, restart.Errorf(restart.CodeInvalid, "no sink ships the audit trail to another machine, and audit.require is not set").
			WithHint("add a sink of a log server under audit.sinks; or write \"require: spool\", so that everybody can read that records stay on this server's own disk")
	case need.Level == "":
		need.Level = best
	case !slices.Contains(Levels(), need.Level):
		return need, restart.Errorf(restart.CodeInvalid, "audit.require: %s is not a level", restart.Quote(s.Require)).WithHint("one of: spool, sent, received, stored")
	case !best.AtLeast(need.Level):
		return need, restart.Errorf(restart.CodeInvalid, "audit.require: no sink offers %s; the strongest of those configured is %s", need.Level, best).
			WithHint("which kind offers what: docs/reference/server.md; or require less")
	}
	if need.Deadline == 0 {
		need.Deadline = DefaultDeadline
	}
	if need.Deadline < leastDeadline || need.Deadline > mostDeadline {
		return need, restart.Errorf(restart.CodeInvalid, "audit.deadline: %s is not from %s to 5m", need.Deadline, leastDeadline)
	}
	if need.Limit == 0 {
		need.Limit = DefaultSpoolLimit
	}
	if need.Limit < leastSpoolLimit || need.Limit > mostSpoolLimit {
		return need, restart.Errorf(restart.CodeInvalid, "audit.spool.limit: %s is not from 1MiB to 1TiB", s.Spool.Limit)
	}
	return need, nil
}

// levelOf gives the level of a sink by its name, which begins with its kind; ""
// where this version knows of no such kind.
func levelOf(sink string) Level {
	for name, k := range kinds {
		if len(sink) > len(name) && sink[len(name)] == ':' && sink[:len(name)] == name {
			return k.level
		}
	}
	return ""
}

// waits tells whether more than the database's commit is waited for.
func (n Need) waits() bool { return n.Level.AtLeast(LevelSent) }

// backlog makes the error of what has not come far enough.
func (n Need) backlog(format string, args ...any) error {
	return restart.Errorf(restart.CodeAuditBacklog, "%s (audit.require: %s)", fmt.Sprintf(format, args...), n.Level).
		WithHint("see that a log server takes records again, then go on; where it can't wait, who has the right starts past it with --break-glass")
}
