package spool_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/spool/memdisk"
	"github.com/restartilka/restartilka/internal/protocol"
)

// A supervisor that is slow asks for the right to run while its task, cancelled
// before it started, is being buried: whatever is removed already, it gets no
// right. (Found by make faults: a force-abort, the agent's DELETE 30 ms later,
// and a supervisor on a busy machine.)
func TestNobodyStartsWhatIsBeingBuried(t *testing.T) {
	for order, of := range map[string]func(spool.Folder) spool.Folder{
		"by name": func(f spool.Folder) spool.Folder { return f }, "backwards": func(f spool.Folder) spool.Folder { return backwards{f} }, // a host's disk has any order
	} {
		asked := 0
		for step := range 40 {
			disk := memdisk.New(rand.New(rand.NewPCG(1, 2)))
			s, err := spool.OpenOn(of(disk.Root("agent")), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			b := &bed{open: func() (spool.Folder, error) { return disk.Root("supervisor"), nil }}
			e := envelopeFor("nginx")
			b.receive(t, s, e)
			task := b.task(t, e.Task)
			if _, err := s.Settle(e.Task, doneStatus(e, protocol.OutcomeNotStarted), spool.Started{}); err != nil {
				t.Fatal(err)
			}
			at, asking := 0, false
			disk.Fault = func(memdisk.Operation, string) error {
				if asking {
					return nil // of the supervisor's own calls
				}
				if at == step {
					asking = true
					if err := task.Start(spool.Started{}); err == nil {
						t.Errorf("order %s, call %d of the burial: the supervisor may run", order, step)
					}
					asking = false
					asked++
				}
				at++
				return nil
			}
			s.Bury(stoneFor(e)) // what the supervisor has left in the folder may be in its way: it is told, and tried again
			disk.Fault = nil
			if err := s.Bury(stoneFor(e)); err != nil {
				t.Errorf("order %s, call %d: buried once more: %v", order, step, err)
			}
			s.Close()
		}
		if asked < 8 {
			t.Errorf("the burial makes %d calls only: nothing was tried", asked)
		}
	}
}

// backwards lists its names in another order.
type backwards struct{ spool.Folder }

func (f backwards) Names() ([]string, error) {
	names, err := f.Folder.Names()
	slices.Reverse(names)
	return names, err
}

func (f backwards) Sub(name string) (spool.Folder, error) {
	s, err := f.Folder.Sub(name)
	return backwards{s}, err
}

func (f backwards) Link(from string, to spool.Folder, name string) error {
	if b, ok := to.(backwards); ok {
		to = b.Folder
	}
	return f.Folder.Link(from, to, name)
}
