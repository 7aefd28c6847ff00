package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is one line of the process table.
type process struct {
	pid, parent, group int
	state              byte
	start              string // in clock ticks since boot: tells a pid used again
}

type identity struct {
	pid   int
	start string
}

func (p process) id() identity { return identity{p.pid, p.start} }

// processes reads the process table.
func processes() (map[int]process, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + n + "/stat")
		if err != nil {
			continue // it has gone
		}
		if p, err := parseStat(pid, b); err == nil {
			all[pid] = p
		}
	}
	return all, nil
}

// parseStat reads /proc/PID/stat. The second field is the command's name in
// brackets, and may hold anything.
func parseStat(pid int, b []byte) (process, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return process{}, fmt.Errorf("stat of process %d has no name", pid)
	}
	fields := strings.Fields(string(b[i+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return process{}, fmt.Errorf("stat of process %d has %d fields", pid, len(fields)+2)
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, fmt.Errorf("stat of process %d: %w", pid, err)
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil {
		return process{}, fmt.Errorf("stat of process %d: %w", pid, err)
	}
	return process{pid: pid, parent: parent, group: group, state: fields[0][0], start: fields[19]}, nil
}

// descendants gives everything below root, without what is in spared and below
// that, and without the dead.
func descendants(all map[int]process, root int, spared map[identity]bool) []process {
	children := map[int][]process{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	var out []process
	seen := map[int]bool{root: true}
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			if seen[p.pid] || spared[p.id()] {
				continue
			}
			seen[p.pid] = true
			queue = append(queue, p.pid)
			if p.state != 'Z' && p.state != 'X' {
				out = append(out, p)
			}
		}
	}
	return out
}

// buryOrphans takes in the dead among the orphans that came to us as their
// reaper, except the one that somebody else waits for.
func buryOrphans(except int) {
	all, err := processes()
	if err != nil {
		return
	}
	self := os.Getpid()
	for _, p := range all {
		if p.parent == self && p.state == 'Z' && p.pid != except {
			unix.Wait4(p.pid, nil, unix.WNOHANG, nil) //nolint:errcheck // it will be tried again
		}
	}
}
