package apitest

import (
	"context"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Log stands for the audit trail between requests and hosts: how far records
// have come is what a test says.
type Log struct {
	mu  sync.Mutex
	now audit.Standing
}

// Stand changes how it stands.
func (l *Log) Stand(now audit.Standing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
}

// Standing implements control.Trail.
func (l *Log) Standing() audit.Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Late implements control.Trail and orchestrator.Trail.
func (l *Log) Late() error {
	if now := l.Standing(); !now.Late.IsZero() {
		return restart.Errorf(restart.CodeAuditBacklog, "the log takes no records: what was recorded %s ago is still here alone (audit.require: %s)", time.Since(now.Late).Round(time.Second), now.Level).
			WithHint("--break-glass starts past it")
	}
	return nil
}

// Room implements control.Trail.
func (l *Log) Room(inHand, _ int, past bool) error {
	if now := l.Standing(); now.Fill == audit.FillFull && !past {
		return restart.Errorf(restart.CodeAuditBacklog, "the spool of the audit trail is full: %d %%, %d hosts in hand", now.Percent(), inHand)
	}
	return nil
}

// Secure implements orchestrator.Trail.
func (l *Log) Secure(context.Context, string) error { return l.Late() }
