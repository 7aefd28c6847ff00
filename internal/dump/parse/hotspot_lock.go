package parse

import (
	"bytes"
	"slices"

	"github.com/restartilka/restartilka/internal/dump"
)

// settle works out what the thread that was read does, from all of its lines.
func (h *hotspot) settle() {
	t := &h.thread
	h.settleState(t)
	for i := range t.Stack {
		for _, m := range t.Stack[i].Locks {
			switch m.Mark {
			case dump.Locked:
				hold(t, m.Lock)
			case dump.WaitingToLock:
				wait(t, m.Lock, dump.Blocked)
			case dump.WaitingOn, dump.ParkingFor:
				wait(t, m.Lock, "")
			case dump.Eliminated:
			}
		}
	}
}

func (h *hotspot) settleState(t *dump.Thread) {
	if len(h.java) == 0 {
		return
	}
	t.Internal = isInternal([]byte(t.Name))
	word, _, _ := bytes.Cut(h.java, []byte(" "))
	if s, ok := javaStates[string(word)]; ok {
		t.State = s
	}
	if string(word) != "RUNNABLE" || t.Detail != "runnable" {
		t.Detail = h.names.text([]byte(join(t.Detail, string(h.java))))
	}
	if t.State == dump.Running && len(t.Stack) > 0 && t.Stack[0].Native && ioFunctions[t.Stack[0].Function] {
		t.State = dump.InIO
	}
}

// hold notes a lock that a frame has taken. What the thread waits on in a frame
// further in was given back for that time.
func hold(t *dump.Thread, l dump.Lock) {
	if w := t.WaitsFor; w != nil && w.ID == l.ID && w.Class == l.Class {
		return
	}
	if !slices.ContainsFunc(t.Holds, func(other dump.Lock) bool { return other.ID == l.ID && l.ID != "" }) {
		t.Holds = append(t.Holds, l)
	}
}

// wait notes what the thread waits for: the innermost frame says it.
func wait(t *dump.Thread, l dump.Lock, s dump.State) {
	if t.WaitsFor != nil {
		return
	}
	t.WaitsFor = &l
	if s != "" && t.State == dump.Unclear {
		t.State = s
	}
}

// ownLocks tells of each lock that is waited for who holds it, as the threads
// that hold it say.
func ownLocks(d *dump.Dump) {
	owners := map[string]dump.Lock{}
	for i := range d.Threads {
		for _, l := range d.Threads[i].Holds {
			if l.ID != "" {
				l.Owner = d.Threads[i].ID
				owners[l.ID] = l
			}
		}
	}
	for i := range d.Threads {
		w := d.Threads[i].WaitsFor
		if w == nil || w.ID == "" || w.Owner != "" {
			continue
		}
		held, ok := owners[w.ID]
		switch {
		case !ok || held.Owner == d.Threads[i].ID:
		case w.Kind == dump.Condition && held.Kind == dump.Synchronizer:
			w.Kind, w.Owner = dump.Synchronizer, held.Owner
		case w.Kind != dump.Condition:
			w.Owner = held.Owner
		}
	}
}
