package capture

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what the kernel counts for each thread.
type usage struct {
	cpu    map[int64]int64
	states map[int64]string
	notes  []string
}

// maxUsage bounds the threads whose use is counted: their list stands in one line.
const maxUsage = 100_000

// usage looks at all threads, as near to the moment of the dump as can be.
func (p *process) usage(ctx context.Context) usage {
	threads, err := p.threads()
	if err != nil {
		return usage{} // the dump itself says why
	}
	out := usage{cpu: make(map[int64]int64, len(threads)), states: map[int64]string{}}
	dir, err := os.Open(p.proc("task"))
	if err != nil {
		return usage{}
	}
	defer dir.Close()
	buffer := make([]byte, 4096)
	for i, tid := range threads {
		if ctx.Err() != nil || i >= maxUsage {
			out.notes = append(out.notes, fmt.Sprintf("the processor time of %d threads was not read", len(threads)-i))
			break
		}
		st, err := parseStat(readSmall(dir, strconv.Itoa(tid)+"/stat", buffer))
		if err != nil {
			continue // it has ended
		}
		out.cpu[int64(tid)] = int64(processorTime(readSmall(dir, strconv.Itoa(tid)+"/schedstat", buffer), st))
		if st.state != 'S' {
			out.states[int64(tid)] = string(st.state)
		}
	}
	return out
}

// processorTime gives how much a thread has run: exactly, where the kernel
// counts that in its schedstat, and otherwise in hundredths of a second.
func processorTime(schedstat []byte, st stat) time.Duration {
	if ns, err := strconv.ParseInt(string(schedstat[:max(bytes.IndexByte(schedstat, ' '), 0)]), 10, 64); err == nil {
		return time.Duration(ns)
	}
	return time.Duration(st.ticks) * tick
}

// readSmall reads a small file of /proc below an open folder; nil where there is
// none. It is called twice for every thread of a process, so it makes three
// system calls and no more.
func readSmall(dir *os.File, name string, buffer []byte) []byte {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buffer)
	if err != nil {
		return nil
	}
	return buffer[:n]
}
