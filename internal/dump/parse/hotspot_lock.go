package parse

import (
	"bytes"
	"slices"

	"github.com/restartilka/restartilka/internal/dump"
)

// settle works out what the thread that was read does, from all of its lines.
func (h *hotspot) settle() {
	t := &h.thread
	if len(h.java) > 0 {
		h.settleState(t)
	}
	if t.State == dump.Unclear && (t.Virtual || h.plainly) {
		t.State = stateOfStack(t.Stack)
		if last := len(h.dump.Threads) - 1; t.Carrier != "" && last >= 0 && h.dump.Threads[last].State == dump.Unclear {
			h.dump.Threads[last].State = t.State
		}
	}
	settleMarks(t)
}

func (h *hotspot) settleState(t *dump.Thread) {
	t.Internal = isInternal([]byte(t.Name))
	words := t.Detail
	word, _, _ := bytes.Cut(h.java, []byte(" "))
	if s, ok := javaStates[string(word)]; ok {
		t.State = s
	}
	if string(word) != "RUNNABLE" || words != "runnable" {
		t.Detail = h.names.text([]byte(join(words, string(h.java))))
	}
	switch {
	case t.State != dump.Running:
	case len(t.Stack) > 0 && t.Stack[0].Native && ioFunctions[t.Stack[0].Function]:
		t.State = dump.InIO
	case words == "waiting on condition": // within the machine
		t.State = dump.Waiting
	case t.Internal:
		t.State = dump.Unclear
	}
}

// settleMarks works out what a thread holds and waits for, from what stands
// below its frames.
func settleMarks(t *dump.Thread) {
	for i := range t.Stack {
		for _, m := range t.Stack[i].Locks {
			switch m.Mark {
			case dump.Locked:
				hold(t, m.Lock)
			case dump.WaitingToLock, dump.WaitingOn, dump.ParkingFor:
				wait(t, m.Lock)
			case dump.Eliminated:
			}
		}
	}
	if t.State == dump.Running && t.WaitsFor != nil && t.WaitsFor.Kind == dump.Class {
		t.State = dump.Waiting
	}
}

// maxHolds bounds the locks that one thread is noted to hold; its frames have all.
const maxHolds = 1000

// hold notes a lock that a frame has taken. What the thread waits on in a frame
// further in was given back for that time.
func hold(t *dump.Thread, l dump.Lock) {
	if w := t.WaitsFor; w != nil && w.ID == l.ID && w.Class == l.Class {
		return
	}
	if len(t.Holds) < maxHolds && !slices.ContainsFunc(t.Holds, func(other dump.Lock) bool { return other.ID == l.ID && l.ID != "" }) {
		t.Holds = append(t.Holds, l)
	}
}

// wait notes what the thread waits for: the innermost frame says it.
func wait(t *dump.Thread, l dump.Lock) {
	if t.WaitsFor == nil {
		t.WaitsFor = &l
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
