package web

import (
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// silent is what of a run's alerts woke nobody.
type silent struct {
	Alerts string
	Hosts  int // of which some system was told
	Now    int // of which one is silent still, perhaps
}

// mostUntold bounds the hosts that are named where monitoring could not be told.
const mostUntold = 5

// silenced sums up what monitoring was told for a run, and says where it could
// not be. nil where it was told nothing.
func silenced(l language, run restart.Run) (s *silent, untold []string) {
	told, open := map[string]bool{}, map[string]bool{}
	for _, x := range run.Silenced {
		switch {
		case x.State == restart.SilenceRefused, x.State.Open() && x.Failure != "":
			if len(untold) < mostUntold {
				untold = append(untold, x.Host+": "+said.In(l, x.Failure))
			}
		case x.State.Open():
			open[x.Host] = true
		}
		if x.State != restart.SilenceRefused {
			told[x.Host] = true
		}
	}
	slices.Reverse(untold) // as they came
	if len(told) == 0 {
		return nil, untold
	}
	return &silent{strings.Join(run.Plan.Silence, ", "), len(told), len(open)}, untold
}
