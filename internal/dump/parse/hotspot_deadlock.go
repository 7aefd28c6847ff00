package parse

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/restartilka/restartilka/internal/dump"
)

// circleName reads `"Thread-1":`, with which the report of a deadlock begins
// what it says of a thread.
func circleName(line []byte) ([]byte, bool) {
	end := bytes.LastIndexByte(line, '"')
	if end < 1 || string(line[end+1:]) != ":" {
		return nil, false
	}
	return line[1:end], true
}

// circleThread begins what the report says of one thread. The stacks that follow
// the circle name the threads once more.
func (h *hotspot) circleThread(name []byte) {
	if h.part == inDeadlockStacks {
		return
	}
	d := &h.dump.Deadlocks[len(h.dump.Deadlocks)-1]
	d.Threads = append(d.Threads, dump.DeadlockedThread{Name: h.names.text(name), Lock: dump.Lock{Kind: dump.Monitor}})
}

// circle takes what stands below a thread's name in the report:
//
//	waiting to lock monitor 0x00007f10 (object 0x00000007, a java.lang.Object),
//	which is held by "Thread-0"
//	waiting for ownable synchronizer 0x00000007, (a java.util.concurrent.locks.ReentrantLock$NonfairSync),
func (h *hotspot) circle(text []byte) bool {
	d := &h.dump.Deadlocks[len(h.dump.Deadlocks)-1]
	if len(d.Threads) == 0 {
		return false
	}
	t := &d.Threads[len(d.Threads)-1]
	text = bytes.TrimPrefix(text, []byte("in JNI, "))
	if behind, ok := bytes.CutPrefix(text, []byte("waiting for ownable synchronizer ")); ok {
		t.Lock = h.circleLock(behind, dump.Synchronizer, "(a ")
	} else if _, behind, ok := bytes.Cut(text, []byte("(object ")); ok && bytes.HasPrefix(text, []byte("waiting to lock ")) {
		t.Lock = h.circleLock(behind, dump.Monitor, "a ")
	} else if behind, ok := bytes.CutPrefix(text, []byte("which is held by ")); ok {
		t.Owner = h.names.text(bytes.Trim(bytes.TrimRight(behind, ", "), `"`))
	} else if !bytes.HasPrefix(text, []byte("waiting to lock ")) {
		return false
	}
	h.known()
	return true
}

// circleLock reads "0x00000007, a java.lang.Object),".
func (h *hotspot) circleLock(text []byte, kind dump.LockKind, before string) dump.Lock {
	id, class, _ := bytes.Cut(text, []byte(","))
	class = bytes.TrimPrefix(bytes.TrimSpace(class), []byte(before))
	if end := bytes.LastIndexByte(class, ')'); end >= 0 {
		class = class[:end]
	}
	return dump.Lock{ID: h.names.text(bytes.TrimSpace(id)), Class: h.names.text(class), Kind: kind}
}

// class takes a line of the histogram of the heap:
//
//	1:         12345        1234567  [B (java.base@17.0.9)
func (h *hotspot) class(text []byte) bool {
	fields := bytes.Fields(text)
	switch {
	case bytes.HasPrefix(text, []byte("-----")):
	case len(fields) == 3 && string(fields[0]) == "Total":
		h.part = between
		slices.SortStableFunc(h.dump.Classes, func(a, b dump.ClassCount) int {
			return int(max(-1, min(1, b.Bytes-a.Bytes)))
		})
	case len(fields) >= 4 && fields[0][len(fields[0])-1] == ':':
		instances, err := strconv.ParseInt(string(fields[1]), 10, 64)
		size, err2 := strconv.ParseInt(string(fields[2]), 10, 64)
		if err != nil || err2 != nil || instances < 0 || size < 0 {
			return false
		}
		h.dump.Classes = append(h.dump.Classes, dump.ClassCount{Class: h.names.text(fields[3]), Instances: instances, Bytes: size})
	default:
		return false
	}
	h.known()
	return true
}
