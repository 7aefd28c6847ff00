package orchestrator

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
)

// barred tells why a run may not do what decide says, as MayGoOn and the log
// have it: before it begins, so that what may not begin takes no lock, and while
// it waits between batches, so that a freeze that begins meanwhile is seen within
// a poll; and before hosts are asked for their evidence, which is something done
// to them. Of each host act asks by itself, just before its driver starts.
func (l *loop) barred(ctx context.Context, run restart.Run, c command) (restart.Cause, string) {
	switch c.(type) {
	case take, begin, wait, gather:
		return l.may(ctx, run)
	}
	return "", ""
}
