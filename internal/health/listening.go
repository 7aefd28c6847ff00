package health

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Listening gives the TCP ports on which each process listens, ascending, by
// process id. Processes that hide their descriptors from us are left out, as
// root is not bound by that.
func (s System) Listening() (map[int][]int, error) {
	ports := map[string]int{} // by the name of the socket
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		f, err := os.Open(s.proc(table))
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, unavailable(err, "the table of sockets %s can't be read", table)
		}
		err = eachListener(f, func(at endpoint, inode uint64) { ports[fmt.Sprintf("socket:[%d]", inode)] = int(at.port) })
		f.Close()
		if err != nil {
			return nil, unavailable(err, "the table of sockets %s can't be read", table)
		}
	}
	processes, err := os.ReadDir(s.proc())
	if err != nil {
		return nil, unavailable(err, "the processes of this host can't be listed")
	}
	out := map[int][]int{}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		descriptors, err := os.ReadDir(s.proc(process.Name(), "fd"))
		if err != nil {
			continue // it has gone, or hides them
		}
		for _, fd := range descriptors {
			target, err := os.Readlink(s.proc(process.Name(), "fd", fd.Name()))
			if port, ok := ports[target]; err == nil && ok {
				out[pid] = append(out[pid], port)
			}
		}
		slices.Sort(out[pid])
		out[pid] = slices.Compact(out[pid])
	}
	return out, nil
}
