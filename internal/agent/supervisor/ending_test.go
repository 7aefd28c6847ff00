package supervisor

import (
	"errors"
	"strings"
	"testing"
)

// What is left of a script that could not be killed is said, and not that
// nothing is.
func TestAnEndedTreeIsClaimedOnlyWhereItIsKnown(t *testing.T) {
	if got := ending(errTimeout); got != "the whole process tree was ended" {
		t.Error(got)
	}
	got := ending(errors.Join(errTimeout, &leftError{errors.New("2 processes of the script are left")}))
	if !strings.Contains(got, "could not be ended") || !strings.Contains(got, "2 processes") {
		t.Error(got)
	}
}
