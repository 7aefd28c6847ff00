package audit_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestSyslogMessage(t *testing.T) {
	r := newReceiver(t)
	s := r.sink(t, time.Millisecond)
	record := event(1)
	record.Action = "an action with blanks that is longer than thirty-two characters"
	record.Link(audit.Head{Source: `a]b"c\d`, Epoch: 3, Seq: 41, Hash: strings.Repeat("0", 64)})
	plain := audit.Record{} // nothing at all
	plain.Link(audit.Head{Source: source})
	if err := s.Send(context.Background(), []audit.Record{record, plain}); err != nil {
		t.Fatal(err)
	}
	r.await(t, func(got []audit.Record) bool { return len(got) == 2 })
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.messages[0]
	if *m.Priority != 16*8+5 || m.Version != 1 || !m.Timestamp.Equal(record.Time) || *m.Appname != "restartilka" ||
		*m.ProcID != strconv.Itoa(os.Getpid()) || *m.MsgID != "an_action_with_blanks_that_is_lo" {
		t.Errorf("header: %+v", m)
	}
	if host, err := os.Hostname(); err == nil && *m.Hostname != host {
		t.Errorf("host name %s", *m.Hostname)
	}
	want := map[string]map[string]string{"restartilka@32473": {"source": `a]b"c\d`, "epoch": "3", "seq": "42"}}
	if diff := cmp.Diff(want, *m.StructuredData); diff != "" {
		t.Error(diff)
	}
	if *m.Message != string(record.Canonical()) {
		t.Errorf("message %s", *m.Message)
	}
	if r.messages[1].Timestamp != nil || r.messages[1].MsgID != nil {
		t.Errorf("header: %+v", r.messages[1])
	}
}

// Six digits always: nine corrupt rsyslog's records.
func TestSyslogTimestamp(t *testing.T) {
	b := audit.SyslogMessage("authpriv", extend(audit.Head{Source: source}, 1)[0])
	if !regexp.MustCompile(`^<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ restartilka \d+ task\.outcome \[restartilka@32473 source="server-1" epoch="1" seq="1"\] \{"source"`).Match(b) {
		t.Errorf("%s", b)
	}
}

func TestSyslogChecksTheReceiver(t *testing.T) {
	r := newReceiver(t)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, newAuthority(t).ca.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{
		"another authority": {RootCAs: newAuthority(t).roots, ServerName: logServer},
		"no authority":      {RootCAs: x509.NewCertPool(), ServerName: logServer},
		"another name":      {RootCAs: r.roots, ServerName: "other.example.com"},
		"the address":       {RootCAs: r.roots},
	} {
		s, err := audit.NewSyslog(audit.SyslogConfig{Address: r.address, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(context.Background(), chained(1)); err == nil {
			t.Errorf("%s: sent", name)
		}
		s.Close()
	}
	sinks, err := audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{{Kind: "syslog", Address: r.address, CA: ca, ServerName: logServer}}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer sinks[0].Close()
	if err := sinks[0].Send(context.Background(), chained(1)); err == nil {
		t.Error("by configuration: sent")
	}
	if got := r.records(); len(got) > 0 {
		t.Errorf("%d records have arrived", len(got))
	}
}

func TestSyslogSettlesByAge(t *testing.T) {
	r := newReceiver(t)
	s := r.sink(t, time.Hour)
	if err := s.Send(context.Background(), chained(1)); err != nil {
		t.Fatal(err)
	}
	r.await(t, func(got []audit.Record) bool { return len(got) == 1 })
	if seq, err := s.Settled(); seq != 0 || err != nil {
		t.Errorf("settled %d, %v, though it could still be lost", seq, err)
	}
}

func TestSyslogNoticesABreak(t *testing.T) {
	r := newReceiver(t)
	s := r.sink(t, time.Hour)
	records := chained(2)
	if err := s.Send(context.Background(), records[:1]); err != nil {
		t.Fatal(err)
	}
	r.await(t, func(got []audit.Record) bool { return len(got) == 1 })
	r.breakAll()
	eventually(t, func() bool {
		seq, err := s.Settled()
		return seq == 0 && err != nil
	})
	if err := s.Send(context.Background(), records); err != nil { // on a new connection
		t.Fatal(err)
	}
	r.await(t, func(got []audit.Record) bool { return len(got) == 3 })
}

func TestSyslogIsNotTroubledByAnIdleReceiverThatCloses(t *testing.T) {
	r := newReceiver(t)
	s := r.sink(t, time.Millisecond)
	records := chained(2)
	if err := s.Send(context.Background(), records[:1]); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { seq, _ := s.Settled(); return seq == 1 })
	r.breakAll()
	eventually(t, func() bool {
		if _, err := s.Settled(); err != nil {
			t.Fatal(err)
		}
		return !s.Connected()
	})
	if err := s.Send(context.Background(), records[1:]); err != nil {
		t.Fatal(err)
	}
	r.await(t, func(got []audit.Record) bool { return len(got) == 2 })
}

// A receiver that stands still has taken what its kernel has room for, and not
// a record more may be thought to be safe.
func TestSyslogDoesNotTrustAFullPipe(t *testing.T) {
	r := newReceiver(t)
	s, err := audit.NewSyslog(audit.SyslogConfig{
		Address: r.address, TLS: &tls.Config{RootCAs: r.roots, ServerName: logServer}, Settle: time.Millisecond, Timeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first := chained(1)
	if err := s.Send(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { seq, _ := s.Settled(); return seq == 1 })
	r.freeze()
	for head := first[0].Head(); ; {
		part := extend(head, 100)
		if err := s.Send(context.Background(), part); err != nil {
			t.Fatalf("everything that was sent has settled, until nothing could be sent: %v", err)
		}
		head = part[99].Head()
		if !within(300*time.Millisecond, func() bool { seq, _ := s.Settled(); return seq == head.Seq }) {
			break // it waits in our own kernel
		}
	}
	eventually(t, func() bool { _, err := s.Settled(); return err != nil }) // and not for ever
}

func TestSyslogShowsItsCertificate(t *testing.T) {
	r := newReceiver(t)
	dir := t.TempDir()
	cert, key, err := r.ca.IssueClient("server-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := audit.SinkConfig{Kind: "syslog", Address: r.address, CA: write("ca.crt", r.ca.CertPEM()), ServerName: logServer}
	r.config.ClientAuth, r.config.ClientCAs = tls.RequireAndVerifyClientCert, r.roots
	send := func() error {
		sinks, err := audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{config}}.Open()
		if err != nil {
			return err
		}
		defer sinks[0].Close()
		if err := sinks[0].Send(context.Background(), chained(1)); err != nil {
			return err
		}
		eventually(t, func() bool { // with TLS 1.3 the refusal comes after the handshake
			_, err = sinks[0].Settled()
			return err != nil || len(r.records()) > 0
		})
		return err
	}
	if err := send(); err == nil {
		t.Error("sent without a certificate")
	}
	config.Certificate, config.Key = write("c.crt", cert), write("c.key", key)
	if err := send(); err != nil {
		t.Error(err)
	}
	config.Key = write("other.key", []byte("nothing"))
	if err := send(); err == nil {
		t.Error("sent with half a certificate")
	}
}

func TestSettingsCheck(t *testing.T) {
	file := audit.SinkConfig{Kind: "file", Path: "/var/log/restartilka/audit.jsonl"}
	syslog := audit.SinkConfig{Kind: "syslog", Address: "logs.example.com:6514", CA: "/etc/restartilka/logs.crt"}
	relp := audit.SinkConfig{Kind: "relp", Address: "logs.example.com:2514", CA: "/etc/restartilka/logs.crt"}
	web := audit.SinkConfig{Kind: "http", URL: "https://logs.example.com/_bulk", Format: "bulk", CA: "/etc/restartilka/logs.crt"}
	with := func(c audit.SinkConfig, change func(*audit.SinkConfig)) audit.Settings {
		change(&c)
		return audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{c}}
	}
	for name, s := range map[string]audit.Settings{
		"no sink":  {Require: "spool"},
		"all":      {Require: "spool", Sinks: []audit.SinkConfig{file, syslog, relp, web}},
		"default":  {Sinks: []audit.SinkConfig{file, syslog}},
		"weaker":   {Require: "sent", Deadline: 5 * time.Minute, Spool: audit.SpoolSettings{Limit: 1 << 20}, Sinks: []audit.SinkConfig{relp}},
		"loopback": {Require: "spool", Sinks: []audit.SinkConfig{{Kind: "http", URL: "http://127.0.0.1:9428/insert/jsonline", Format: "lines"}}},
	} {
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range map[string]audit.Settings{
		"audit.require is not set":                         {Sinks: []audit.SinkConfig{file}},
		"no sink offers sent":                              {Require: "sent", Sinks: []audit.SinkConfig{file}},
		"no sink offers received":                          {Require: "received", Sinks: []audit.SinkConfig{syslog}},
		"no sink offers stored; the strongest":             {Require: "stored", Sinks: []audit.SinkConfig{syslog, relp}},
		"audit.deadline":                                   {Require: "spool", Deadline: time.Millisecond},
		"audit.deadline: 5m1s":                             {Require: "spool", Deadline: 301 * time.Second},
		"audit.spool.limit":                                {Require: "spool", Spool: audit.SpoolSettings{Limit: 1000}},
		"is not a level":                                   {Require: "none"},
		"no sink of kind":                                  with(file, func(c *audit.SinkConfig) { c.Kind = "pigeon" }),
		"not absolute":                                     with(file, func(c *audit.SinkConfig) { c.Path = "audit.jsonl" }),
		"address means nothing":                            with(file, func(c *audit.SinkConfig) { c.Address = "a:1" }),
		"not HOST:PORT":                                    with(syslog, func(c *audit.SinkConfig) { c.Address = "logs" }),
		"has no ca":                                        with(syslog, func(c *audit.SinkConfig) { c.CA = "" }),
		"certificate without a key":                        with(syslog, func(c *audit.SinkConfig) { c.Certificate = "/c" }),
		"syslog facility":                                  with(syslog, func(c *audit.SinkConfig) { c.Facility = "kern" }),
		"audit.sinks, number 2":                            {Require: "spool", Sinks: []audit.SinkConfig{file, {Kind: "file"}}},
		"is there twice":                                   {Require: "spool", Sinks: []audit.SinkConfig{file, file}},
		"path means nothing to a sink":                     with(syslog, func(c *audit.SinkConfig) { c.Path = "/x" }),
		"of a relp sink is not HOST":                       with(relp, func(c *audit.SinkConfig) { c.Address = "logs" }),
		"relp sink logs.example.com:25":                    with(relp, func(c *audit.SinkConfig) { c.CA = "" }),
		"the url of an http sink":                          with(web, func(c *audit.SinkConfig) { c.URL = "http://logs.example.com" }),
		"it is not given":                                  with(web, func(c *audit.SinkConfig) { c.URL = "" }),
		"a name or password":                               with(web, func(c *audit.SinkConfig) { c.URL = "https://a:b@logs.example.com" }),
		"the format \"xml\"":                               with(web, func(c *audit.SinkConfig) { c.Format = "xml" }),
		"the format \"\"":                                  with(web, func(c *audit.SinkConfig) { c.Format = "" }),
		"the http sink https://logs.ex":                    with(web, func(c *audit.SinkConfig) { c.CA = "" }),
		"key without a certificate":                        with(web, func(c *audit.SinkConfig) { c.Key = "/k" }),
		"and no TLS":                                       with(web, func(c *audit.SinkConfig) { c.URL = "http://127.0.0.1:1" }),
		"server_name means nothing to a sink of kind http": with(web, func(c *audit.SinkConfig) { c.ServerName = "x" }),
		"http:https://logs.example.com/_bulk":              {Require: "spool", Sinks: []audit.SinkConfig{web, with(web, func(c *audit.SinkConfig) { c.URL += "?x=y" }).Sinks[0]}},
		"server_name means nothing to ":                    with(file, func(c *audit.SinkConfig) { c.ServerName = "x" }),
	} {
		err := s.Check()
		if restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Open(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
