package health

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// byPort finds who listens on a TCP port: the listening socket, and of all
// processes that share it (a parent and its workers) the oldest ancestor.
func (s System) byPort(ref string) (Process, string, error) {
	wanted, err := parsePort(ref)
	if err != nil {
		return Process{}, "", err
	}
	sockets, err := s.listening(wanted)
	if err != nil {
		return Process{}, "", err
	}
	if len(sockets) == 0 {
		return Process{}, fmt.Sprintf("nothing listens on port %s", ref), nil
	}
	owners, hidden, err := s.owners(sockets)
	if err != nil {
		return Process{}, "", err
	}
	if len(owners) == 0 {
		if hidden > 0 {
			return Process{}, "", restart.Errorf(restart.CodeUnavailable, "who listens on port %s can't be seen: %d processes hide their descriptors", ref, hidden).
				WithHint("run the agent as root")
		}
		return Process{}, fmt.Sprintf("whoever listened on port %s has just ended", ref), nil
	}
	first, ok := eldest(owners)
	if !ok {
		return Process{}, fmt.Sprintf("on port %s only systemd listens, for a service it has not started", ref), nil
	}
	return Process{PID: first.pid, StartTime: first.startTime, Up: true}, "", nil
}

// Listeners gives the numbers of the processes that listen on a port, which is a
// number or ADDRESS:PORT: a parent and its workers alike. There are none where
// nothing listens there, or who does can't be seen.
func (s System) Listeners(ref string) ([]int, error) {
	wanted, err := parsePort(ref)
	if err != nil {
		return nil, err
	}
	sockets, err := s.listening(wanted)
	if err != nil || len(sockets) == 0 {
		return nil, err
	}
	owners, _, err := s.owners(sockets)
	return slices.Sorted(maps.Keys(owners)), err
}

// endpoint is a port, on one address or, with the zero address, on any.
type endpoint struct {
	addr netip.Addr
	port uint16
}

// parsePort reads "8080", "127.0.0.1:8080" or "[::1]:8080".
func parsePort(ref string) (endpoint, error) {
	bad := restart.Errorf(restart.CodeInvalid, "port %s is not acceptable", restart.Quote(ref)).WithHint("a number from 1 to 65535, or ADDRESS:PORT")
	if !strings.Contains(ref, ":") {
		port, err := strconv.ParseUint(ref, 10, 16)
		if err != nil || port == 0 {
			return endpoint{}, bad
		}
		return endpoint{port: uint16(port)}, nil
	}
	parsed, err := netip.ParseAddrPort(ref)
	if err != nil || parsed.Port() == 0 || parsed.Addr().Zone() != "" {
		return endpoint{}, bad
	}
	return endpoint{addr: parsed.Addr().Unmap(), port: parsed.Port()}, nil
}

// listening gives the inodes of the sockets that take connections to wanted. A
// socket bound to exactly that address goes before one bound to all.
func (s System) listening(wanted endpoint) (map[uint64]bool, error) {
	exact, wild := map[uint64]bool{}, map[uint64]bool{}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		f, err := os.Open(s.proc(table))
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, unavailable(err, "the table of sockets %s can't be read", table)
		}
		err = eachListener(f, func(at endpoint, inode uint64) {
			switch {
			case at.port != wanted.port:
			case !wanted.addr.IsValid() || at.addr == wanted.addr:
				exact[inode] = true
			case at.addr.IsUnspecified() && (at.addr.Is6() || wanted.addr.Is4()):
				wild[inode] = true
			}
		})
		f.Close()
		if err != nil {
			return nil, unavailable(err, "the table of sockets %s can't be read", table)
		}
	}
	if len(exact) > 0 {
		return exact, nil
	}
	return wild, nil
}

// eachListener reads /proc/net/tcp or tcp6 (proc_pid_net(5)) and calls found
// for each listening socket.
func eachListener(r io.Reader, found func(at endpoint, inode uint64)) error {
	const local, state, inode = 1, 3, 9
	const listen = "0A"
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inode {
			return fmt.Errorf("a line of %d fields", len(fields))
		}
		if fields[state] != listen {
			continue
		}
		at, err := parseHexEndpoint(fields[local])
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(fields[inode], 10, 64)
		if err != nil {
			return fmt.Errorf("inode %s", restart.Quote(fields[inode]))
		}
		found(at, n)
	}
	return lines.Err()
}

// parseHexEndpoint reads an address as the kernel prints it: words of 32 bits
// in the machine's own order, a colon, and the port.
func parseHexEndpoint(s string) (endpoint, error) {
	bad := fmt.Errorf("address %s", restart.Quote(s))
	host, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if !ok || err != nil || (len(raw) != 4 && len(raw) != 16) {
		return endpoint{}, bad
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return endpoint{}, bad
	}
	for word := raw; len(word) > 0; word = word[4:] {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return endpoint{addr: addr.Unmap(), port: uint16(n)}, nil
}

// owners gives every living process that holds one of the sockets, and how many
// processes did not let us look.
func (s System) owners(sockets map[uint64]bool) (found map[int]stat, hidden int, err error) {
	names := make(map[string]bool, len(sockets))
	for inode := range sockets {
		names[fmt.Sprintf("socket:[%d]", inode)] = true
	}
	processes, err := os.ReadDir(s.proc())
	if err != nil {
		return nil, 0, unavailable(err, "the processes of this host can't be listed")
	}
	found = map[int]stat{}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		holds, err := s.holds(pid, names)
		if errors.Is(err, os.ErrPermission) {
			hidden++
		}
		if !holds {
			continue
		}
		if st, err := s.stat(pid); err == nil && !st.dead() {
			found[pid] = st
		}
	}
	return found, hidden, nil
}

// holds tells whether one of a process's descriptors is one of these.
func (s System) holds(pid int, names map[string]bool) (bool, error) {
	dir := s.proc(strconv.Itoa(pid), "fd")
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	descriptors, err := d.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	for _, fd := range descriptors {
		if target, err := os.Readlink(dir + "/" + fd); err == nil && names[target] {
			return true, nil
		}
	}
	return false, nil
}

// eldest gives, of processes that share a socket, the one that started first
// among those whose parent does not share it. systemd, which keeps the sockets
// that it opens for its services, is not one of them.
func eldest(owners map[int]stat) (first stat, ok bool) {
	for _, st := range owners {
		if activator(st) {
			continue
		}
		if parent, shares := owners[st.parent]; shares && !activator(parent) {
			continue
		}
		if !ok || st.startTime < first.startTime || (st.startTime == first.startTime && st.pid < first.pid) {
			first, ok = st, true
		}
	}
	return first, ok
}

func activator(st stat) bool { return st.pid == 1 && st.comm == "systemd" }
