package control

import (
	"context"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// lookAtScenarios is how often what is new in the folder is taken over, and the
// ends of versions are looked at, while nobody asks.
const lookAtScenarios = 30 * time.Second

// WatchScenarios takes over what is new in the folder of scenarios, and warns
// of those in force whose last day is near, until ctx ends.
func (c *Control) WatchScenarios(ctx context.Context) {
	said := ""
	look := func() {
		err := c.WarnOfExpiry(ctx)
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			c.cfg.Logger.WarnContext(ctx, "look at the scenarios", "error", err)
		}
	}
	look()
	tick := time.NewTicker(lookAtScenarios)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			look()
		}
	}
}

// WarnOfExpiry sends a message for every version in force whose end has come
// nearer than 30, 14 or 3 days: once each, however many servers look.
func (c *Control) WarnOfExpiry(ctx context.Context) error {
	s, err := c.versions(ctx)
	if err != nil {
		return err
	}
	now := c.now()
	for _, j := range s.judged {
		days := review.Ahead(j.Scenario, now)
		if j.Standing != review.InForce || days == 0 {
			continue
		}
		n := wire.Notification{
			ID: restart.NewID(now), Event: wire.EventScenarioExpires, At: now, URL: c.cfg.URL + "/scenarios/" + j.Name, Scenario: j.Name, Digest: j.Digest,
			Reason: fmt.Sprintf("scenario %s serial %d may be used until the end of %s, and no longer", j.Name, j.Serial, j.Scenario.LastDay()), ExpiresAt: &j.Scenario.Expires,
			Owners: []string{}, Hosts: []string{},
		}
		var messages []store.Message
		message, told, err := notify.Message(n, c.cfg.Channels(n))
		if err != nil {
			return err
		}
		if told {
			messages = append(messages, message)
		}
		first, err := c.cfg.Store.WarnedOf(ctx, j.Digest, days, now, messages)
		if err != nil {
			return err
		}
		if first {
			c.cfg.Announced()
			c.cfg.Logger.WarnContext(ctx, "a scenario expires soon", "scenario", j.Name, "serial", j.Serial, "last_day", j.Scenario.LastDay())
		}
	}
	return nil
}

// ScenarioCounts is what metrics tell of scenarios.
type ScenarioCounts struct {
	InForce, Waiting, Problems int
	Expired                    int       // whose place nothing has taken
	Lost                       int       // that had their quorum once, have lost it, and nothing has taken their place
	NextExpiry                 time.Time // of those in force; zero = none expires
	Expiring                   int       // in force, and over within 30 days
}

// CountScenarios counts versions by their standing. It needs no rights: names
// are not told.
func (c *Control) CountScenarios(ctx context.Context) (ScenarioCounts, error) {
	var out ScenarioCounts
	s, err := c.versions(ctx)
	if err != nil {
		return out, err
	}
	now := c.now()
	for i, j := range s.judged {
		switch j.Standing {
		case review.InForce:
			out.InForce++
			if end := j.Scenario.Expires; !end.IsZero() && (out.NextExpiry.IsZero() || end.Before(out.NextExpiry)) {
				out.NextExpiry = end
			}
			if review.Ahead(j.Scenario, now) > 0 {
				out.Expiring++
			}
		case review.Waiting:
			out.Waiting++
		case review.Expired:
			out.Expired++
		case review.Lost:
			if i == 0 || s.judged[i-1].Name != j.Name { // the highest of its name
				out.Lost++
			}
		}
	}
	c.library.mu.Lock()
	out.Problems = len(c.library.problems)
	c.library.mu.Unlock()
	if !c.cfg.Review.Signed {
		out.Problems = len(c.cfg.Scenarios.problems())
	}
	return out, nil
}
