package spool_test

import (
	"testing"

	"github.com/restartilka/restartilka/internal/agent/spool"
)

// What stands in the place of a task's folder hides the task: nobody can ask
// whether it is at work, so that its service stays its own.
func testAHiddenTaskKeepsItsService(t *testing.T, b *bed) {
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.receive(t, s, e)
	root := b.folder(t)
	folder := sub(t, root, e.Task)
	for _, name := range []string{".started", ".done", "received"} {
		if err := folder.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := root.RemoveFolder(e.Task); err != nil {
		t.Fatal(err)
	}
	write(t, root, e.Task, []byte("a file"))
	c, err := s.Load()
	if err != nil || len(c.Tasks) != 0 || len(c.Broken) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if holder := s.Holder("nginx"); holder != e.Task {
		t.Errorf("nginx is held by %q", holder)
	}
	// So does a task of which one file is hidden.
	other := envelopeFor("redis")
	b.receive(t, s, other)
	folder = sub(t, root, other.Task)
	if err := folder.Make("started"); err != nil {
		t.Fatal(err)
	}
	c, err = s.Load()
	if err != nil || len(c.Tasks) != 1 || c.Tasks[0].Err == nil || c.Tasks[0].Received == nil {
		t.Errorf("%+v, %v", c, err)
	}
	if holder := s.Holder("redis"); holder != other.Task {
		t.Errorf("redis is held by %q", holder)
	}
	if err := s.Receive(envelopeFor("redis"), spool.Received{}); err == nil {
		t.Error("redis was given to another")
	}
}
