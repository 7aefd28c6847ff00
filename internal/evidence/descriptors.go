package evidence

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// descriptors counts a process's open descriptors by kind, and its sockets by
// protocol and state: thousands of CLOSE_WAIT tell a story.
func descriptors(dir string) (string, error) {
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return "", err
	}
	kinds, sockets := map[string]int{}, map[string]bool{}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if err != nil {
			continue // it has been closed meanwhile
		}
		kinds[kindOf(target)]++
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			sockets[strings.TrimSuffix(inode, "]")] = true
		}
	}
	text := fmt.Sprintf("%d descriptors: %s\n", len(fds), counts(kinds))
	if len(sockets) == 0 {
		return text, nil
	}
	states, known := map[string]int{}, 0
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := os.Open(filepath.Join(dir, "net", table))
		if err != nil {
			continue // a kernel without that protocol
		}
		known += countStates(f, table, sockets, states)
		f.Close()
	}
	if others := len(sockets) - known; others > 0 {
		states["unix and others"] = others
	}
	return text + fmt.Sprintf("%d sockets: %s\n", len(sockets), counts(states)), nil
}

// kindOf names the kind of descriptor that a link of /proc/PID/fd stands for.
func kindOf(target string) string {
	name, _, _ := strings.Cut(target, ":")
	switch {
	case name == "socket" || name == "pipe":
		return name
	case name == "anon_inode":
		return strings.Trim(strings.TrimPrefix(target, "anon_inode:"), "[]")
	case strings.HasPrefix(target, "/memfd:"):
		return "memfd"
	case strings.HasSuffix(target, " (deleted)"):
		return "deleted file"
	case strings.HasPrefix(target, "/dev/"):
		return "device"
	}
	return "file"
}

// tcpStates are the kernel's states of a TCP socket, by number.
var tcpStates = [...]string{
	1: "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
}

// countStates counts, in a table of /proc/net, the sockets that are listed in
// sockets by inode, and gives how many it found.
func countStates(r io.Reader, table string, sockets map[string]bool, states map[string]int) (found int) {
	const state, inode = 3, 9
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= inode || !sockets[fields[inode]] {
			continue
		}
		found++
		name := table
		if strings.HasPrefix(table, "tcp") {
			var n int
			if _, err := fmt.Sscanf(fields[state], "%X", &n); err == nil && n > 0 && n < len(tcpStates) {
				name += " " + tcpStates[n]
			}
		}
		states[name]++
	}
	return found
}

// counts writes numbers by name, the highest first.
func counts(of map[string]int) string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		if of[a] != of[b] {
			return of[b] - of[a]
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", of[name], name)
	}
	return strings.Join(names, ", ")
}
