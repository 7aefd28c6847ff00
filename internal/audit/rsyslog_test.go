package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
)

// rsyslog is a real rsyslogd with a folder and a port of its own, that writes
// what it gets over TLS into one file.
type rsyslog struct {
	authority
	t       *testing.T
	dir     string
	address string
	process *exec.Cmd
	ended   chan struct{}
}

// newRsyslog prepares a receiver with one of rsyslog's own templates; start
// starts it. It asks for a client certificate of that name, unless it is "".
func newRsyslog(t *testing.T, template, client string) *rsyslog {
	t.Helper()
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		needs(t, "rsyslog rsyslog-gnutls")
	}
	if found, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_gtls.so"); len(found) == 0 {
		needs(t, "rsyslog-gnutls")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rsyslog{authority: newAuthority(t), t: t, dir: t.TempDir(), address: listener.Addr().String()}
	listener.Close()
	cert, key := r.server(t)
	r.write("ca.crt", r.ca.CertPEM())
	r.write("logs.crt", cert)
	r.write("logs.key", key)
	mode := `StreamDriver.AuthMode="anon"`
	if client != "" {
		mode = fmt.Sprintf(`StreamDriver.AuthMode="x509/name" PermittedPeer=[%q]`, client)
	}
	_, port, _ := net.SplitHostPort(r.address)
	r.write("rsyslog.conf", fmt.Appendf(nil, `
global(workDirectory="%[1]s" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="%[1]s/ca.crt"
       defaultNetstreamDriverCertFile="%[1]s/logs.crt" defaultNetstreamDriverKeyFile="%[1]s/logs.key")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" %[2]s)
input(type="imtcp" address="127.0.0.1" port="%[3]s")
action(type="omfile" file="%[1]s/stored.log" template="%[4]s" fileCreateMode="0600")
`, r.dir, mode, port, template))
	t.Cleanup(func() { r.stop(unix.SIGTERM) })
	return r
}

// needs ends a test that lacks a Debian package: in CI as a failure.
func needs(t *testing.T, packages string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs: apt-get install %s", packages)
	}
	t.Skipf("NOT TESTED against a real log server: apt-get install %s", packages)
}

func (r *rsyslog) write(name string, content []byte) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), content, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rsyslog) start() {
	r.t.Helper()
	log, err := os.OpenFile(filepath.Join(r.dir, "rsyslogd.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	r.process = exec.Command("rsyslogd", "-n", "-f", filepath.Join(r.dir, "rsyslog.conf"), "-i", filepath.Join(r.dir, "rsyslogd.pid"))
	r.process.Stdout, r.process.Stderr = log, log
	if err := r.process.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.ended = make(chan struct{})
	go func() {
		r.process.Wait()
		close(r.ended)
	}()
	if !within(20*time.Second, func() bool {
		conn, err := net.Dial("tcp", r.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}) {
		out, _ := os.ReadFile(filepath.Join(r.dir, "rsyslogd.out"))
		r.t.Fatalf("rsyslogd does not listen:\n%s", out)
	}
}

func (r *rsyslog) stop(signal os.Signal) {
	if r.process == nil {
		return
	}
	r.process.Process.Signal(signal)
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		r.process.Process.Kill()
		<-r.ended
		r.t.Errorf("rsyslogd did not end at %s", signal)
	}
	r.process = nil
}

func (r *rsyslog) stored() []byte {
	b, err := os.ReadFile(filepath.Join(r.dir, "stored.log"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return b
}

// await waits for a number of lines.
func (r *rsyslog) await(n int) {
	r.t.Helper()
	if !within(30*time.Second, func() bool { return bytes.Count(r.stored(), []byte("\n")) >= n }) {
		out, _ := os.ReadFile(filepath.Join(r.dir, "rsyslogd.out"))
		r.t.Fatalf("%d of %d lines are stored\n%s", bytes.Count(r.stored(), []byte("\n")), n, out)
	}
}

func (r *rsyslog) open(client string) audit.Sink {
	r.t.Helper()
	c := audit.SinkConfig{Kind: "syslog", Address: r.address, CA: filepath.Join(r.dir, "ca.crt"), ServerName: logServer}
	if client != "" {
		cert, key, err := r.ca.IssueClient(client, time.Now())
		if err != nil {
			r.t.Fatal(err)
		}
		r.write("client.crt", cert)
		r.write("client.key", key)
		c.Certificate, c.Key = filepath.Join(r.dir, "client.crt"), filepath.Join(r.dir, "client.key")
	}
	sinks, err := audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{c}}.Open()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { sinks[0].Close() })
	return sinks[0]
}

func TestRsyslogStoresRecordsWhole(t *testing.T) {
	for _, template := range []string{"RSYSLOG_FileFormat", "RSYSLOG_TraditionalFileFormat", "RSYSLOG_SyslogProtocol23Format"} {
		t.Run(template, func(t *testing.T) {
			r := newRsyslog(t, template, "server-1")
			r.start()
			sink := r.open("server-1")
			records := append(vectors(), extend(vectors()[4].Head(), 300)...)
			if err := sink.Send(context.Background(), records); err != nil {
				t.Fatal(err)
			}
			r.await(len(records))
			report := verify(t, r.stored(), records[len(records)-1].Head())
			if s := report.Sources[0]; !report.OK || s.Stored != int64(len(records)) || s.Duplicates != 0 {
				t.Error(describe(report))
			}
			for i, line := range bytes.Split(bytes.TrimSpace(r.stored()), []byte("\n")) {
				if !bytes.HasSuffix(line, records[i].Canonical()) {
					t.Errorf("stored as %s", line)
				}
			}
		})
	}
}

func TestRsyslogRefusesAStranger(t *testing.T) {
	r := newRsyslog(t, "RSYSLOG_FileFormat", "server-1")
	r.start()
	sink := r.open("")
	err := sink.Send(context.Background(), chained(1))
	if err == nil {
		eventually(t, func() bool { _, err = sink.Settled(); return err != nil })
	}
	if len(r.stored()) > 0 {
		t.Errorf("stored: %s", r.stored())
	}
}

// The receiver is killed in the middle of the stream, twice, and comes back:
// every record is there, first occurrences in order.
func TestRsyslogKilledInTheMiddle(t *testing.T) {
	r := newRsyslog(t, "RSYSLOG_FileFormat", "")
	r.start()
	store := newMemory()
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{r.open("")}, Batch: 64})
	const total = 6000
	for part := range 3 {
		commitAll(store, total/3)
		trail.Wake()
		if part == 2 {
			break
		}
		r.await(total/3*part + 300)
		r.stop(unix.SIGKILL)
		commitAll(store, 50) // while it is away
		trail.Wake()
		r.start()
	}
	settledAll(t, trail)
	stop()
	r.stop(unix.SIGTERM)
	report := verify(t, r.stored(), store.head)
	if !report.OK || report.Sources[0].Stored != total+100 {
		t.Error(describe(report))
	}
	t.Logf("%d duplicates, %d torn lines", report.Sources[0].Duplicates, report.Torn)
}

func TestRsyslogAwayForAWhile(t *testing.T) {
	r := newRsyslog(t, "RSYSLOG_FileFormat", "")
	store := newMemory()
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{r.open("")}})
	commitAll(store, 500)
	trail.Wake()
	eventually(t, func() bool {
		stats, err := trail.Stats(t.Context())
		return err == nil && stats.Sinks[0].Error != "" && stats.Sinks[0].Backlog == 500
	})
	r.start()
	settledAll(t, trail)
	stop()
	r.stop(unix.SIGTERM)
	report := verify(t, r.stored(), store.head)
	if !report.OK || report.Lines != 500 {
		t.Error(describe(report))
	}
}

func settledAll(t *testing.T, trail *audit.Trail) {
	t.Helper()
	if !within(40*time.Second, func() bool {
		stats, err := trail.Stats(t.Context())
		return err == nil && stats.Error == "" && stats.Sinks[0].Backlog == 0
	}) {
		stats, err := trail.Stats(t.Context())
		t.Fatalf("%+v, %v", stats, err)
	}
}
