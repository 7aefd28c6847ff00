package audit_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
)

func TestRelpExercise(t *testing.T) {
	Exercise(t, func(t *testing.T) place {
		r := newRelpd(t, "RSYSLOG_FileFormat", "server-1")
		r.Start()
		return place{
			open: func(t *testing.T) audit.Sink { return r.open("server-1") },
			stored: func(t *testing.T) []audit.Record {
				var records []audit.Record
				for line := range bytes.Lines(r.Stored()) {
					records = append(records, parse(t, line[bytes.Index(line, []byte(`{"source"`)):])...)
				}
				return records
			},
			copies: true,
			settle: func(t *testing.T, s audit.Sink, seq int64) {
				t.Helper()
				eventually(t, func() bool {
					got, err := s.Settled()
					if err != nil {
						t.Fatalf("%v\n%s", err, r.Said())
					}
					return got == seq
				})
				eventually(t, func() bool { return bytes.Contains(r.Stored(), fmt.Appendf(nil, `"seq":%d,`, seq)) })
			},
		}
	})
}

func TestRelpRefusesAStranger(t *testing.T) {
	r := newRelpd(t, "RSYSLOG_FileFormat", "server-1")
	r.Start()
	for _, client := range []string{"", "server-2"} {
		if err := r.open(client).Send(t.Context(), chained(1)); err == nil {
			t.Errorf("%q: sent", client)
		}
	}
	if len(r.Stored()) > 0 {
		t.Errorf("stored: %s", r.Stored())
	}
}

// The configuration that docs/reference/server.md tells, with other places.
func TestRelpAsTheReferenceTells(t *testing.T) {
	r := newRelpd(t, "RSYSLOG_FileFormat", "server-1")
	text, err := os.ReadFile("../../docs/reference/server.md")
	if err != nil {
		t.Fatal(err)
	}
	_, told, ok := strings.Cut(string(text), "```\nmodule(load=\"imrelp\")\n")
	told, _, ends := strings.Cut(told, "```\n")
	if !ok || !ends {
		t.Fatal("it tells of none")
	}
	_, port, err := net.SplitHostPort(r.Address)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(r.CAFile())
	r.Write("rsyslog.conf", []byte(`global(workDirectory="`+dir+`") module(load="imrelp")`+"\n"+strings.NewReplacer(
		`port="2514"`, `address="127.0.0.1" port="`+port+`"`, "/etc/rsyslog.d/log.", dir+"/logs.", "/etc/rsyslog.d", dir, "/var/log/restartilka.jsonl", r.StoredFile(),
	).Replace(told)))
	r.Start()
	s := r.open("server-1")
	records := chained(100)
	if err := s.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	r.await(100)
	if !bytes.Equal(r.Stored(), lines(records)) {
		t.Errorf("stored %s", r.Stored())
	}
}

// The receiver ends in the middle of the stream, and comes back: every record is
// there, first occurrences in order.
func TestRelpReceiverRestarted(t *testing.T) {
	r := newRelpd(t, "RSYSLOG_FileFormat", "server-1")
	r.Start()
	store := newMemory()
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{r.open("server-1")}, Batch: 64})
	commitAll(store, 3000)
	trail.Wake()
	r.await(300)
	// What rsyslog has answered for and not written yet dies with SIGKILL, which
	// is why this level is not "stored"; it is stopped as a reboot does.
	r.Stop(unix.SIGTERM)
	commitAll(store, 500) // while it is away
	trail.Wake()
	r.Start()
	settledAll(t, trail)
	stop()
	r.Stop(unix.SIGTERM)
	report := verify(t, r.Stored(), store.head)
	if !report.OK || report.Sources[0].Stored != 3500 {
		t.Error(describe(report))
	}
	t.Logf("%d duplicates", report.Sources[0].Duplicates)
}

// relpServer is a receiver that says what it is told to, for what rsyslog does not.
type relpServer struct {
	authority
	address string
}

// newRelpServer serves connections one after the other. After the offer was
// read, answer gets the connection and the frames that come.
func newRelpServer(t *testing.T, answer func(conn net.Conn, next func() (transaction int, command string))) *relpServer {
	t.Helper()
	r := &relpServer{authority: newAuthority(t)}
	pair, err := tls.X509KeyPair(r.server(t))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	r.address = listener.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			answer(conn, func() (transaction int, command string) {
				var length int
				if _, err := fmt.Fscanf(conn, "%d %s %d", &transaction, &command, &length); err != nil {
					return 0, "over"
				}
				// Fscanf has read the byte behind the number: a blank, or the frame's end.
				for b := make([]byte, 1); length > 0; length-- {
					if _, err := conn.Read(b); err != nil {
						return 0, "over"
					}
					if length == 1 {
						conn.Read(b)
					}
				}
				return transaction, command
			})
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return r
}

func (r *relpServer) sink(t *testing.T, c audit.RelpConfig) *audit.Relp {
	t.Helper()
	c.Address, c.TLS = r.address, &tls.Config{RootCAs: r.roots, ServerName: logServer}
	s, err := audit.NewRelp(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func rsp(transaction int, text string) string {
	if text == "" {
		return fmt.Sprintf("%d rsp 0\n", transaction)
	}
	return fmt.Sprintf("%d rsp %d %s\n", transaction, len(text), text)
}

const relpOpened = "200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog"

func TestRelpReceiverThatAnswersNonsense(t *testing.T) {
	say := func(text string, more ...string) func(net.Conn, func() (int, string)) {
		return func(conn net.Conn, next func() (int, string)) {
			for _, text := range append([]string{text}, more...) {
				if n, _ := next(); n > 0 {
					conn.Write([]byte(text))
				}
			}
			for {
				if _, command := next(); command == "over" {
					return
				}
			}
		}
	}
	opened := rsp(1, relpOpened)
	for want, answer := range map[string]func(net.Conn, func() (int, string)){
		"does not speak RELP":            say("1 hello 0\n"),
		"answers nonsense: HTTP/1.1":     say("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"refuses a session: 500 full":    say(rsp(1, "500 full")),
		"takes no syslog":                say(rsp(1, "200 OK\nrelp_version=0\ncommands=")),
		"by version 0":                   say(rsp(1, "200 OK\nrelp_version=9\ncommands=syslog")),
		"a frame of 999999999 bytes":     say("1 rsp 999999999 200"),
		"a frame without its data":       say("1 rsp 6\n"),
		"a frame without an end":         say("1 rsp 6 200 OKK"),
		"refuses record 1: 500 no":       say(opened, rsp(2, "500 no")),
		"of transaction 77, which waits": say(opened, rsp(77, "200 OK")),
		"rsp of transaction 2, which":    say(opened, rsp(2, "200 OK")+rsp(2, "200 OK")),
		"answers nonsense: yes":          say(opened, rsp(2, "yes")),
		"answers nonsense: (nothing)":    say(opened, rsp(2, "")),
		"closed the session":             say(opened, "0 serverclose 0\n"),
		"has not answered for what was":  say(opened),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			patience := 10 * time.Second
			if strings.HasPrefix(want, "has not answered") {
				patience = 500 * time.Millisecond
			}
			s := newRelpServer(t, answer).sink(t, audit.RelpConfig{Timeout: patience})
			err := s.Send(context.Background(), chained(2))
			if err == nil {
				eventually(t, func() bool { _, err = s.Settled(); return err != nil })
			}
			if !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
			if seq, _ := s.Settled(); seq > 1 {
				t.Errorf("%d has settled", seq)
			}
		})
	}
}

// Answers may come in any order: what was not answered settles nothing behind it.
func TestRelpSettlesInOrder(t *testing.T) {
	t.Parallel()
	steps := make(chan struct{})
	r := newRelpServer(t, func(conn net.Conn, next func() (int, string)) {
		next()
		conn.Write([]byte(rsp(1, relpOpened)))
		for range 3 {
			next()
		}
		for _, n := range []int{4, 2, 3} {
			select {
			case <-steps:
			case <-t.Context().Done():
				return
			}
			conn.Write([]byte(rsp(n, "200 OK")))
		}
		next()
	})
	s := r.sink(t, audit.RelpConfig{})
	if err := s.Send(t.Context(), chained(3)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{0, 1, 3} {
		steps <- struct{}{}
		if want == 0 {
			continue // there is nothing to see
		}
		eventually(t, func() bool {
			got, err := s.Settled()
			if err != nil || got > want {
				t.Fatalf("%d has settled, %v", got, err)
			}
			return got == want
		})
	}
}

// A receiver that stops to answer gets no more than the window.
func TestRelpWindow(t *testing.T) {
	t.Parallel()
	var got []int
	over := make(chan struct{})
	r := newRelpServer(t, func(conn net.Conn, next func() (int, string)) {
		defer close(over)
		next()
		conn.Write([]byte(rsp(1, relpOpened)))
		for {
			n, command := next()
			if command != "syslog" {
				return
			}
			got = append(got, n)
			if n <= 3 {
				conn.Write([]byte(rsp(n, "200 OK")))
			}
		}
	})
	s := r.sink(t, audit.RelpConfig{Window: 4, Timeout: 500 * time.Millisecond})
	if err := s.Send(t.Context(), chained(20)); err == nil || !strings.Contains(err.Error(), "not answered for 4 records") {
		t.Error(err)
	}
	s.Close()
	<-over
	if want := []int{2, 3, 4, 5, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("sent %v", got)
	}
	if seq, err := s.Settled(); seq != 2 || err != nil {
		t.Errorf("%d has settled, %v", seq, err)
	}
}

// A receiver that answers slowly is not one that is silent: it is sent everything
// once, over one session, in whatever windows.
func TestRelpReceiverThatIsSlow(t *testing.T) {
	t.Parallel()
	const records, pace, patience = 30, 50 * time.Millisecond, time.Second
	for _, window := range []int{2, records} {
		t.Run(fmt.Sprintf("windows of %d", window), func(t *testing.T) {
			t.Parallel()
			var sessions atomic.Int32
			r := newRelpServer(t, func(conn net.Conn, next func() (int, string)) {
				sessions.Add(1)
				next()
				conn.Write([]byte(rsp(1, relpOpened)))
				tick := time.NewTicker(pace)
				defer tick.Stop()
				for {
					n, command := next()
					if command != "syslog" {
						return
					}
					<-tick.C
					conn.Write([]byte(rsp(n, "200 OK")))
				}
			})
			s := r.sink(t, audit.RelpConfig{Window: window, Timeout: patience})
			if err := s.Send(t.Context(), chained(records)); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool {
				seq, err := s.Settled()
				if err != nil {
					t.Fatalf("%d of %d have settled: %v", seq, records, err)
				}
				return seq == records
			})
			s.Close()
			if n := sessions.Load(); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

func TestRelpChecksTheReceiver(t *testing.T) {
	t.Parallel()
	r := newRelpServer(t, func(conn net.Conn, next func() (int, string)) { next() })
	for name, config := range map[string]*tls.Config{
		"another authority": {RootCAs: newAuthority(t).roots, ServerName: logServer},
		"another name":      {RootCAs: r.roots, ServerName: "other.example.com"},
		"the address":       {RootCAs: r.roots},
	} {
		s, err := audit.NewRelp(audit.RelpConfig{Address: r.address, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(context.Background(), chained(1)); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}

func FuzzRelpFrame(f *testing.F) {
	for _, text := range []string{rsp(1, relpOpened), rsp(7, ""), "0 serverclose 0\n", "1 rsp 6 200 OK\n2 rsp 3 500\n", "1 rsp 6\n", "x", " ", "1 rsp 99999999999 "} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		frames, err := audit.RelpFrames(text)
		if err == nil && !bytes.Equal(frames, text) && !bytes.Contains(text, []byte(" 0")) {
			t.Errorf("%q is read as %q", text, frames)
		}
	})
}
