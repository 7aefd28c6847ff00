package trail_test

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// Every receiver is away for an hour, in which there is something to record all
// the time: whatever was recorded is at each of them when it is back.
func TestAwayForAnHour(t *testing.T) {
	t.Parallel()
	r := newTrial(t, "away for an hour", "sqlite", storetest.SQLite(t))
	began := time.Now().Add(-time.Hour)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(began)) // the clock of a bubble begins in 2000
		r.hour(t)
	})
	r.start()
	r.write(0)
	r.judge()
}

// hour is one of the simulated clock: each half minute brings thirty records.
func (r *trial) hour(t *testing.T) {
	st, err := store.Open(t.Context(), store.Config{DSN: r.job.DSN, Source: source, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer st.Close()
	key, err := audit.LoadKey(r.job.Key)
	must(t, err)
	sinks, err := audit.Settings{Require: string(audit.LevelSpool), Sinks: r.job.Sinks}.Open()
	must(t, err)
	trail, err := audit.New(audit.Config{Store: st, Source: source, Sinks: sinks, Key: key, Poll: 10 * time.Second, Batch: 32})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		trail.Run(ctx)
	}()
	for range 120 {
		var records []audit.Record
		for range 30 {
			records = append(records, recordOf(r.job.First))
			r.committed[r.job.First] = true
			r.job.First++
		}
		must(t, st.AppendAudit(t.Context(), records...))
		trail.Wake()
		time.Sleep(30 * time.Second)
	}
	stats, err := trail.Stats(t.Context())
	must(t, err)
	head, err := st.AuditHead(t.Context(), source)
	must(t, err)
	for _, s := range stats.Sinks {
		if remote := s.Level != audit.LevelSpool; remote && (s.Error == "" || s.Backlog != head.Seq || time.Since(s.Since) < 59*time.Minute) || !remote && s.Backlog != 0 {
			t.Errorf("%+v", s)
		}
	}
	stop()
	<-ended
}

// While a server records, every receiver is killed, hangs for longer than any
// sink waits, or shows a certificate of somebody else's.
func TestReceiversFail(t *testing.T) {
	t.Parallel()
	faults := map[string]func(r *trial, p peer) (over func()){"killed": killed}
	hang := time.Duration(0)
	if *every {
		hang = 45 * time.Second
		faults["hung"] = hung
		faults["wrong certificate"] = stranger
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTrial(t, name, "sqlite", storetest.SQLite(t))
			r.start()
			r.through(fault, hang)
			r.judge()
		})
	}
}

// through has a process write, and has all receivers fail while it does.
func (r *trial) through(fault func(*trial, peer) func(), lasts time.Duration) {
	r.t.Helper()
	const fails, lives, ends = 30, 60, 100
	r.job.Number = ends
	var over []func()
	err := r.follow(func(n int, _ *os.Process) {
		switch n {
		case fails:
			for _, p := range r.peers {
				over = append(over, fault(r, p))
			}
		case lives:
			time.Sleep(lasts) // nothing here but the sinks' own limits end it
			for _, f := range slices.Backward(over) {
				f()
			}
		}
	})
	must(r.t, err)
}

// follow has a process write, and is told the number of each record when it is
// committed. The error is that of the process.
func (r *trial) follow(committed func(n int, server *os.Process)) error {
	r.t.Helper()
	text, err := json.Marshal(r.job)
	must(r.t, err)
	cmd := exec.CommandContext(r.t.Context(), os.Args[0], "write", string(text))
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	must(r.t, err)
	must(r.t, cmd.Start())
	for lines := bufio.NewScanner(said); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		must(r.t, err)
		r.committed[n] = true
		committed(n, cmd.Process)
	}
	r.job.First += r.job.Number
	return cmd.Wait()
}

// The receivers hang, and then die together with the server: what was sent to
// them and never read is sent again, for no cursor stands behind it. The one of
// plain syslog does not hang before it dies: nobody can tell there that a record
// is no further than in its kernel, which is why its level is called sent.
func TestBothEndsDie(t *testing.T) {
	t.Parallel()
	r := newTrial(t, "both ends killed", "sqlite", storetest.SQLite(t))
	r.start()
	const hangs, dies = 100, 200
	r.job.Number = 2 * dies
	if err := r.follow(func(n int, server *os.Process) {
		switch n {
		case hangs:
			for _, p := range r.peers {
				if p.sink.Kind != "syslog" {
					p.send(unix.SIGSTOP)
				}
			}
		case dies:
			must(t, server.Kill())
			for _, p := range r.peers {
				p.kill()
			}
		}
	}); err == nil {
		t.Fatal("the server has lived on")
	}
	r.job.Number = each
	r.start()
	r.write(0)
	r.judge()
}

func killed(_ *trial, p peer) func() {
	p.kill()
	return p.start
}

func hung(_ *trial, p peer) func() {
	p.send(unix.SIGSTOP)
	return func() { p.send(unix.SIGCONT) }
}

// stranger has a receiver come back with the certificate of another authority.
func stranger(r *trial, p peer) func() {
	own, err := os.ReadFile(p.certificate)
	must(r.t, err)
	keyFile := strings.TrimSuffix(p.certificate, ".crt") + ".key"
	ownKey, err := os.ReadFile(keyFile)
	must(r.t, err)
	ca, err := pki.NewCA("somebody", time.Now())
	must(r.t, err)
	cert, key, err := ca.IssueServer("logs", []string{"logs.example.com"}, nil, time.Now())
	must(r.t, err)
	again := func(cert, key []byte) {
		p.kill()
		must(r.t, os.WriteFile(p.certificate, cert, 0o600))
		must(r.t, os.WriteFile(keyFile, key, 0o600))
		p.start()
	}
	again(cert, key)
	return func() { again(own, ownKey) }
}
