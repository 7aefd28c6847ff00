package restart_test

import (
	"slices"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

// The specification, a second time and by hand.
var versionEdges = map[restart.VersionState][]restart.VersionState{
	"proposed": {"approved", "withdrawn"},
	"approved": {"withdrawn"},
}

func TestEveryPairOfVersionStates(t *testing.T) {
	for _, from := range restart.VersionStates() {
		for _, to := range restart.VersionStates() {
			want := slices.Contains(versionEdges[from], to)
			if err := from.Transition(to); (err == nil) != want || (!want && restart.CodeOf(err) != restart.CodeConflict) {
				t.Errorf("%s → %s: %v, want allowed=%v", from, to, err, want)
			}
		}
	}
}
