package server

import (
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// SchedulesConfig sets when runs can be planned for a time to come.
type SchedulesConfig struct {
	Grace   time.Duration               `yaml:"grace"`   // 15m; how late what was given a time may start; 1m to 24h
	Windows []restart.MaintenanceWindow `yaml:"windows"` // maintenance windows, by name
}

func (c SchedulesConfig) check() error {
	if c.Grace != 0 && (c.Grace < time.Minute || c.Grace > 24*time.Hour) {
		return fmt.Errorf("schedules.grace: %s is not from 1m to 24h", c.Grace)
	}
	seen := map[string]bool{}
	for i, w := range c.Windows {
		if err := w.Check(); err != nil {
			return fmt.Errorf("schedules.windows[%d]: %w", i, err)
		}
		if seen[w.Name] {
			return fmt.Errorf("schedules.windows[%d]: there are two windows %s", i, w.Name)
		}
		seen[w.Name] = true
	}
	return nil
}
