package control

import (
	"context"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Trail is the part of audit.Trail that stands between a request and its hosts.
type Trail interface {
	// Late tells why no host may be touched: records wait here for longer than
	// they may. nil = it may.
	Late() error
	// Room tells whether the records of a run over so many hosts have room beside
	// those of the hosts in hand.
	Room(inHand, hosts int, past bool) error
	Standing() audit.Standing
}

// Log tells how the trail stands between requests and hosts, for every page.
// The zero value where nothing stands there.
func (c *Control) Log() audit.Standing {
	if c.cfg.Trail == nil {
		return audit.Standing{Level: audit.LevelSpool, Fill: audit.FillLow}
	}
	return c.cfg.Trail.Standing()
}

// behind is why a run may not start for the log's sake: it takes no records, or
// what waits for it leaves no room for those of so many hosts. Broken glass
// waives the wait, and may use the room that is kept for outcomes.
func (c *Control) behind(ctx context.Context, run restart.Run, hosts int) error {
	if c.cfg.Trail == nil {
		return nil
	}
	past := run.Waives(restart.SafeguardRemoteLog)
	if err := c.cfg.Trail.Late(); err != nil && !past {
		return err
	}
	inHand := 0
	if c.cfg.Trail.Standing().Used > 0 {
		var err error
		if inHand, err = c.cfg.Store.HostsInHand(ctx); err != nil {
			return err
		}
	}
	return c.cfg.Trail.Room(inHand, hosts, past)
}

// waivedLog says for people that broken glass waives the wait for the log; ""
// where nothing would be waited for.
func (c *Control) waivedLog(run restart.Run) string {
	if c.cfg.Trail == nil || !run.Waives(restart.SafeguardRemoteLog) {
		return ""
	}
	if err := c.cfg.Trail.Late(); err != nil {
		return messageOf(err)
	}
	return ""
}

func messageOf(err error) string { return personal(err).Message }
