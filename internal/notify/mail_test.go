package notify_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// post office is a real SMTP server.
type office struct {
	t            *testing.T
	address, dir string
	secure       bool

	mu      sync.Mutex
	mails   []letter
	asked   int
	refused int
	rcpt    map[string]error // by address, what is said to it
	users   map[string]string
}

// letter is a mail as its readers have it.
type letter struct {
	to         []string
	header     mail.Header
	subject    string
	text, html string
}

const mailPassword = "correct-horse-battery"

// newOffice listens with STARTTLS, or with TLS from the first byte.
func newOffice(t *testing.T, secure bool) *office {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate, which is good for 127.0.0.1
	certificate, trust := web.TLS.Certificates, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	web.Close()
	o := &office{t: t, dir: t.TempDir(), secure: secure, rcpt: map[string]error{}, users: map[string]string{"bot": mailPassword}}
	for name, content := range map[string][]byte{"ca.pem": trust, "password": []byte(mailPassword + "\n")} {
		if err := os.WriteFile(filepath.Join(o.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := smtp.NewServer(o)
	server.Domain, server.TLSConfig, server.ReadTimeout, server.WriteTimeout = "office.example.com", &tls.Config{Certificates: certificate, MinVersion: tls.VersionTLS12}, 30*time.Second, 30*time.Second
	server.ErrorLog = log.New(io.Discard, "", 0)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if o.address = listener.Addr().String(); secure {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return o
}

func (o *office) NewSession(*smtp.Conn) (smtp.Session, error) { return &counter{o: o}, nil }

// counter is one who brings mail.
type counter struct {
	o      *office
	signed bool
	to     []string
}

func (c *counter) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if c.o.users[user] != password {
			return smtp.ErrAuthFailed
		}
		c.signed = true
		return nil
	}), nil
}

func (c *counter) Mail(from string, _ *smtp.MailOptions) error {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	c.o.asked++
	if !c.signed {
		return smtp.ErrAuthRequired
	}
	if c.o.refused > 0 {
		c.o.refused--
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not now"}
	}
	if from != "restartilka@example.com" {
		return &smtp.SMTPError{Code: 553, Message: "who?"}
	}
	return nil
}

func (c *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	if err := c.o.rcpt[to]; err != nil {
		return err
	}
	c.to = append(c.to, to)
	return nil
}

func (c *counter) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l, err := open(b)
	if err != nil {
		c.o.t.Errorf("a mail can't be read: %v\n%s", err, b)
		return err
	}
	l.to = c.to
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	c.o.mails = append(c.o.mails, l)
	return nil
}

func (c *counter) Reset()        { c.to = nil }
func (c *counter) Logout() error { return nil }

// open reads a mail as a reader of mail does.
func open(b []byte) (l letter, err error) {
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		return l, err
	}
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return l, err
	}
	l.header = m.Header
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return l, errors.Join(err, errors.New(kind))
	}
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			return l, err
		}
		switch kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind {
		case "text/plain":
			l.text = strings.ReplaceAll(string(text), "\r\n", "\n")
		case "text/html":
			l.html = string(text)
		}
	}
}

func (o *office) mail(change func(*notify.Mail)) notify.Settings {
	m := notify.Mail{
		Choice: notify.Choice{Events: []string{wire.EventBreakGlass}}, Server: o.address, User: "bot", PasswordFile: filepath.Join(o.dir, "password"),
		From: "Restartilka <restartilka@example.com>", To: []string{"ops@example.com"}, CAFile: filepath.Join(o.dir, "ca.pem"), Updates: "each",
	}
	if o.secure {
		m.TLS = "tls"
	}
	if change != nil {
		change(&m)
	}
	return notify.Settings{Zone: "UTC", Mail: []notify.Mail{m}, People: phonebook{"anna": "anna@example.com", "team:web": "OPS@example.com"}}
}

func (o *office) settings() notify.Settings { return o.mail(nil) }

func (o *office) refuse(times int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = times
}

func (o *office) tries() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func (o *office) letters() []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.mails)
}

func (o *office) taken() (out []string) {
	for _, l := range o.letters() {
		out = append(out, l.text)
	}
	return out
}

// phonebook knows the addresses of a few.
type phonebook map[string]string

func (p phonebook) Addresses(_ context.Context, owners []string) (out []string, err error) {
	for _, o := range owners {
		if o == "nobody" {
			return nil, errors.New("the directory does not answer")
		}
		if a := p[o]; a != "" {
			out = append(out, a)
		}
	}
	return out, nil
}

func TestMail(t *testing.T) {
	for name, secure := range map[string]bool{"STARTTLS": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Exercise(t, func(t *testing.T) receiver { return newOffice(t, secure) })
		})
	}
}

// A thread of mails is one for its readers: each names the first, under the
// same subject. The owners get it, each once.
func TestAThreadOfMails(t *testing.T) {
	t.Parallel()
	for language, want := range map[string][]string{
		"en": {"Restart of shop in production", "paused, a person is needed: a host failed", "Reason: the queue hangs", "Asked for by", "Look at the run: https://restartilka.example.com/runs/"},
		"ru": {"Перезапуск shop, окружение production", "на паузе, нужен человек: ошибка на хосте", "Причина: the queue hangs", "Запросил(а)", "Открыть запуск: https://restartilka.example.com/runs/"},
	} {
		b, o := newBench(t), newOffice(t, false)
		to, err := o.mail(func(m *notify.Mail) { m.Updates, m.Owners, m.Language, m.Events = "", true, language, runEvents }).Open()
		b.must(err)
		b.send(to, nil)
		for _, n := range story(b.run.ID) {
			b.tell(time.Time{}, n, to)
		}
		b.until("the story", func() bool { return b.waiting() == 0 })
		got := o.letters()
		if len(got) != 4 {
			t.Fatalf("%d mails", len(got))
		}
		first := got[0].header.Get("Message-Id")
		for i, l := range got {
			if !slices.Equal(l.to, []string{"ops@example.com", "anna@example.com"}) || l.header.Get("Auto-Submitted") != "auto-generated" || l.header.Get("Date") == "" {
				t.Errorf("mail %d is to %q, %v", i, l.to, l.header)
			}
			if i > 0 && (l.header.Get("In-Reply-To") != first || l.header.Get("References") != first || l.subject != "Re: "+got[0].subject) {
				t.Errorf("mail %d: %q %v", i, l.subject, l.header)
			}
		}
		for _, w := range want {
			if !strings.Contains(got[1].text, w) || !strings.Contains(got[1].html, strings.TrimPrefix(w[strings.LastIndex(w, ": ")+1:], " ")) {
				t.Errorf("no %q in\n%s\n%s", w, got[1].text, got[1].html)
			}
		}
		if !strings.Contains(got[1].html, `<html lang="`+language+`">`) {
			t.Errorf("the page is\n%s", got[1].html)
		}
	}
}

// What people write makes no header, no element and no link.
func TestHostileMail(t *testing.T) {
	t.Parallel()
	nasty := "x\r\nBcc: evil@example.com\r\n\r\n<script>alert(1)</script><img src=https://evil.example.com/x> \u202egnp"
	b, o := newBench(t), newOffice(t, true)
	to, err := o.mail(func(m *notify.Mail) { m.Events = Every() }).Open()
	b.must(err)
	b.send(to, nil)
	b.tell(time.Time{}, wire.Notification{
		Run: b.run.ID, Event: wire.EventRunPaused, Service: nasty, Environment: nasty, Kind: restart.KindCustom, Scenario: nasty, Actor: nasty, Reason: nasty, Explanation: nasty, Hosts: []string{nasty}, HostCount: 1,
	}, to)
	b.until("the mail", func() bool { return b.waiting() == 0 })
	l := o.letters()[0]
	if !slices.Equal(l.to, []string{"ops@example.com"}) || l.header.Get("Bcc") != "" || !strings.Contains(l.subject, `x\r\nBcc:`) {
		t.Errorf("to %q, %v", l.to, l.header)
	}
	if strings.Contains(l.html, "<script") || strings.Contains(l.html, "<img") || strings.ContainsAny(l.html+l.text, "\u202e") || !strings.Contains(l.html, "&lt;script&gt;") {
		t.Errorf("the page is\n%s", l.html)
	}
}

// An address that is refused costs the others nothing; one that is refused for
// now holds them up for a little while only.
func TestRefusedAddresses(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]*smtp.SMTPError{"for good": {Code: 550, Message: "no such user"}, "for now": {Code: 450, Message: "greylisted"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, o := newBench(t), newOffice(t, false)
			o.rcpt["gone@example.com"] = refusal
			to, err := o.mail(func(m *notify.Mail) { m.To = []string{"gone@example.com", "ops@example.com"} }).Open()
			b.must(err)
			b.send(to, nil)
			b.leave(time.Time{}, "x", to)
			b.until("the mail", func() bool { return b.waiting() == 0 })
			if got := o.letters(); len(got) != 1 || !slices.Equal(got[0].to, []string{"ops@example.com"}) || name == "for now" && o.tries() != 4 {
				t.Errorf("after %d tries: %+v", o.tries(), got)
			}
			if said := b.log.String(); !strings.Contains(said, "message not delivered to all") || !strings.Contains(said, "the server refuses mail to gone@example.com") {
				t.Errorf("nobody is told:\n%s", said)
			}
		})
	}
}

// Who is told to write to owners alone, and knows no address of theirs, writes
// to nobody; where the directory does not answer it tries again.
func TestOwnersAlone(t *testing.T) {
	t.Parallel()
	b, o := newBench(t), newOffice(t, false)
	to, err := o.mail(func(m *notify.Mail) { m.To, m.Owners = nil, true }).Open()
	b.must(err)
	b.send(to, nil)
	b.tell(time.Time{}, wire.Notification{Event: wire.EventBreakGlass, Owners: []string{"stranger"}}, to)
	b.tell(time.Time{}, wire.Notification{Event: wire.EventBreakGlass, Owners: []string{"anna"}}, to)
	b.until("both", func() bool { return b.waiting() == 0 })
	if got := o.letters(); len(got) != 1 || !slices.Equal(got[0].to, []string{"anna@example.com"}) {
		t.Errorf("mails: %+v", got)
	}
	b.tell(time.Time{}, wire.Notification{Event: wire.EventBreakGlass, Owners: []string{"nobody"}}, to)
	b.until("a failure", func() bool { return strings.Contains(b.log.String(), "the directory does not answer") })
}

// A password goes to nobody who does not show that he is the server, and is
// told nowhere.
func TestMailNeedsItsServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(o *office, m *notify.Mail)
		says   string
	}{
		"a stranger's certificate": {func(_ *office, m *notify.Mail) { m.CAFile = "" }, "certificate"},
		"a wrong password":         {func(o *office, _ *notify.Mail) { o.users["bot"] = "another" }, "535"},
		"nobody there":             {func(_ *office, m *notify.Mail) { m.Server = "127.0.0.1:1" }, "refused"},
		"no TLS there":             {func(o *office, m *notify.Mail) { m.TLS = map[bool]string{true: "starttls", false: "tls"}[o.secure] }, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, o := newBench(t), newOffice(t, false)
			to, err := o.mail(func(m *notify.Mail) { c.change(o, m) }).Open()
			b.must(err)
			b.send(to, nil)
			b.leave(time.Time{}, "x", to)
			b.until("a failure", func() bool { return strings.Contains(b.log.String(), "trying again") })
			if !strings.Contains(b.log.String(), c.says) || strings.Contains(b.log.String(), mailPassword) || len(o.letters()) > 0 {
				t.Errorf("the log says\n%s", b.log)
			}
		})
	}
}

// A server that takes the line and never says a word holds up neither other
// receivers nor the end of ours.
func TestASilentMailServer(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	called := make(chan net.Conn, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			called <- conn
		}
	}()
	b, o := newBench(t), newOffice(t, false)
	to, err := o.mail(func(m *notify.Mail) { m.Server = listener.Addr().String() }).Open()
	b.must(err)
	_, stop := b.send(to, nil)
	b.leave(time.Time{}, "x", to)
	select {
	case conn := <-called:
		defer conn.Close()
	case <-time.After(time.Minute):
		t.Fatal("nobody has called the server")
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it ended after %s", took)
	}
}
