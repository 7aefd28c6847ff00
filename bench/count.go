package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/test/company"
)

// cursorTime is after how long the audit trail's own cursor is stored too: it
// belongs to the cost of the last hosts.
const cursorTime = 1500 * time.Millisecond

// count lets strace count what is made durable: each fsync and fdatasync of the
// agents with their supervisors, and of the server's write-ahead log, of which
// there is one for each commit.
func (s *session) count(b *bed) error {
	if _, err := exec.LookPath("strace"); err != nil {
		s.absent("agent_fsyncs", "strace is not installed")
		s.absent("server_commits", "strace is not installed")
		return nil
	}
	traces := b.TempDir()
	trace := func(program string) string { return filepath.Join(traces, program+".strace") }
	c := company.New(b, company.Options{Hosts: s.hosts, Scenario: noop, Agent: anyRate, Under: func(program string) []string {
		// -D: the program stays our own child, and its tracer goes with it.
		return []string{"strace", "-D", "-f", "-qq", "-ttt", "-y", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o", trace(program)}
	}})
	ready(b, c)
	walkOnce(b, c)
	b.pause(cursorTime)
	from := time.Now()
	const rounds = 2
	for range rounds {
		walkOnce(b, c)
	}
	b.pause(cursorTime)
	to := time.Now()
	each := func(n int) float64 { return round(float64(n)/float64(rounds*s.hosts), 2) }

	all := 0
	for _, h := range c.Hosts {
		n, err := syncs(trace(h.Name), from, to, "")
		b.must(err)
		all += n
	}
	s.results.AgentFsyncs = new(each(all))
	commits, err := syncs(trace("server"), from, to, "-wal>")
	b.must(err)
	s.results.ServerCommits = new(each(commits))
	all, err = syncs(trace("server"), from, to, "")
	b.must(err)
	s.detail("server_fsyncs_with_audit_file_and_checkpoints", each(all))
	if s.results.ServerCommits == nil || commits == 0 {
		return fmt.Errorf("strace saw no commit of the server")
	}
	return nil
}

// syncs counts the calls in a trace between two times, on files whose name
// holds a text ("" = any).
func syncs(trace string, from, to time.Time, name string) (int, error) {
	f, err := os.Open(trace)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // PID TIME fsync(7</path>) = 0
		if len(fields) < 3 || !strings.HasPrefix(fields[2], "f") || !strings.Contains(fields[2], "sync(") || !strings.Contains(fields[2], name) {
			continue
		}
		at, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			continue
		}
		if when := time.UnixMicro(int64(at * 1e6)); when.After(from) && when.Before(to) {
			n++
		}
	}
	return n, nil
}
