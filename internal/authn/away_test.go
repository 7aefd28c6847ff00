package authn_test

import (
	"context"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

// A directory that did not answer is left alone for ten seconds, however many
// ask meanwhile, and then asked again.
func TestADirectoryThatWasAwayIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.people.Admit(t.Context(), authn.Identity{Name: "vera", Method: authn.MethodLDAP, Subject: "uid=vera", Groups: []string{"web"}})
	w.must(err)
	w.now = w.now.Add(2 * time.Minute)
	w.dir.err = restart.Errorf(restart.CodeUnavailable, "no answer")
	for range 12 {
		if _, err := w.people.Person(t.Context(), "vera"); err != nil {
			t.Error(err)
		}
		w.now = w.now.Add(time.Second)
	}
	if w.dir.asked != 2 {
		t.Errorf("asked %d times within 12 seconds, want 2", w.dir.asked)
	}
	// Who has gone away himself says nothing of the directory.
	w.now = w.now.Add(time.Minute)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.people.Person(gone, "vera"); err == nil {
		t.Log("the store answered all the same")
	}
	w.dir.err, w.dir.asked, w.dir.groups = nil, 0, []string{"shop"}
	who, err := w.people.Person(t.Context(), "vera")
	if err != nil || w.dir.asked != 1 || len(who.Teams) != 1 || who.Teams[0] != "shop" {
		t.Errorf("%+v, asked %d times, %v", who, w.dir.asked, err)
	}
}
