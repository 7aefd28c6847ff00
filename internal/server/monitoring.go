package server

import (
	"context"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/silence"
)

// openMonitoring makes what keeps monitoring quiet about hosts in hand, the
// gates of alerts, and who is told how the server is. It gives the systems.
func (s *Server) openMonitoring() (silence.Systems, error) {
	systems, err := s.cfg.Monitoring.Open()
	if err != nil {
		return systems, err
	}
	systems.Observe(s.meters.monitored)
	s.gates = silence.NewGates(systems, s.log, nil)
	// Also where no system is to be silenced any more: what was is lifted.
	s.keeper = silence.New(silence.Config{
		Store: s.store, Systems: systems, Server: s.cfg.Name, URL: strings.TrimRight(s.cfg.URL, "/"), Committed: s.trail.Wake, Logger: s.log,
	})
	s.told, err = s.cfg.Notify.Health()
	return systems, err
}

// tellHealth tells one receiver how the server is, until ctx ends. That a server
// is gone is seen by its silence.
func (s *Server) tellHealth(ctx context.Context, to notify.Health) {
	tick := time.NewTicker(to.Every)
	defer tick.Stop()
	silent := false
	for {
		wrong, notes := s.health(ctx)
		switch err := to.Tell(ctx, s.cfg.Name, wrong, notes); {
		case err != nil && !silent && ctx.Err() == nil:
			silent = true
			s.log.WarnContext(ctx, "nobody is told how the server is; trying again", "receiver", to.String(), "error", err)
		case err == nil && silent:
			silent = false
			s.log.InfoContext(ctx, "it is told again how the server is", "receiver", to.String())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// health is what /readyz says, in words: which checks fail, without the why,
// which is for the log alone, and what is worth knowing.
func (s *Server) health(ctx context.Context) (wrong, notes []string) {
	for _, c := range s.ready(ctx) {
		if c.Err != nil {
			wrong = append(wrong, c.Name)
		}
		if c.Note != "" {
			notes = append(notes, c.Name+": "+c.Note)
		}
	}
	return wrong, notes
}
