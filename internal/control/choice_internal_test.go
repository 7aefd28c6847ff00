package control

import (
	"testing"

	"github.com/restartilka/restartilka/internal/authz"
)

func TestWhatTakesASecondStep(t *testing.T) {
	usual, own, none := New(Config{}), New(Config{SecondStep: []string{"shop-*", "Live"}}), New(Config{SecondStep: []string{}})
	for environment, want := range map[string][3]bool{
		"production": {true, false, false}, "PROD": {true, false, false}, "prod-eu": {true, false, false}, "live": {true, true, false},
		"shop-eu": {false, true, false}, "testing": {}, "preproduction": {}, "": {},
	} {
		for i, c := range []*Control{usual, own, none} {
			if got := c.deliberate(authz.Restart, authz.Object{Environment: environment}); got != want[i] {
				t.Errorf("%q, setting %d: %t", environment, i, got)
			}
		}
	}
}
