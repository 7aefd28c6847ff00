package sshd_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/sshd"
)

const because = `'"workers hang since noon"'` // as it is typed, for ssh takes one level of quotes away

// TestOpenSSH: the real client, without a terminal.
func TestOpenSSH(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	reason := strings.Trim(because, "'")
	for _, c := range []struct {
		who    string
		words  []string
		code   int
		stdout string
		stderr string
	}{
		{"anna", []string{"whoami"}, cli.ExitDone, "anna at https://restartilka.example.com, roles: developer; by key\n", ""},
		{"anna", []string{"restartilka", "whoami", "--json"}, cli.ExitDone, `"from": "127.0.0.1"`, ""},
		{"anna", []string{"restart", "shop", "--env", "production", "--yes", "--reason", reason}, cli.ExitDone, "completed, 3 succeeded", "reason:  workers hang since noon"},
		{"anna", []string{"restart", "shop", "--plan", "--reason", reason}, cli.ExitDone, "3 of 3, in 3 batches", ""},
		{"anna", []string{"restart", "shop", "--reason", reason}, cli.ExitUsage, "", "nobody is there to confirm the plan"},
		{"anna", []string{"restart", "shop", "--reason", "workers hang since noon"}, cli.ExitUsage, "", "one level of quotes"},
		{"anna", []string{"restart", "bare", "--yes", "--reason", reason}, cli.ExitRefused, "", "restartilka: "},
		{"vera", []string{"restart", "shop", "--yes", "--reason", reason}, cli.ExitRefused, "", "anna"},
		{"vera", []string{"show", "01m81mtqf0qv5v0v89h9ffrra9"}, cli.ExitUsage, "", "restartilka: "},
		{"anna", nil, cli.ExitUsage, "", "a command is missing: there is no shell here"},
		{"anna", []string{"  "}, cli.ExitUsage, "", "a command is missing"},
		{"anna", []string{"key", "add", "/etc/passwd"}, cli.ExitUsage, "", "restartilka"},
		{"anna", []string{"sh", "-c", "id"}, cli.ExitUsage, "", `"sh" can't be done by SSH`},
		{"anna", []string{"whoami;", "id"}, cli.ExitUsage, "", "has no meaning here"},
		{"mallory", []string{"whoami"}, 255, "", "Permission denied"},
	} {
		got := w.ask(c.who, c.words...)
		if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) || c.stdout == "" && got.stdout != "" {
			t.Errorf("%s %v: exit code %d\n%s\n%s", c.who, c.words, got.code, got.stdout, got.stderr)
		}
	}
	runs := w.ask("vera", "runs", "--json")
	var list struct{ Items []restart.Run }
	if err := json.Unmarshal([]byte(runs.stdout), &list); err != nil || len(list.Items) != 1 || list.Items[0].Actor != "anna" {
		t.Errorf("%v: %s", err, runs.stdout)
	}
	if recs := w.records(audit.RunRequested); len(recs) == 0 || recs[0].Actor != "anna" || recs[0].Origin != "ssh 127.0.0.1" || recs[0].Reason != "workers hang since noon" {
		t.Errorf("%+v", recs)
	}
	if recs := w.records(audit.SignIn); len(recs) == 0 || recs[0].Origin != "ssh 127.0.0.1" || !strings.Contains(recs[0].Detail, "SHA256:") {
		t.Errorf("%+v", recs)
	}
	if recs := w.records(audit.SignInRefused); len(recs) != 1 || recs[0].Actor != "unknown" || recs[0].Outcome != string(restart.CodeUnauthorised) {
		t.Errorf("%+v", recs)
	}
}

// TestLogins: everybody comes as restartilka, or by his own name.
func TestLogins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	for login, may := range map[string]bool{sshd.Login: true, "anna": true, "vera": false, "root": false, "": false} {
		c, err := w.dial(login, w.people["anna"].signer)
		if (err == nil) != may {
			t.Errorf("as %q: %v", login, err)
		}
		if err == nil {
			c.Close()
		}
	}
	// Nothing but keys proves who somebody is.
	for name, method := range map[string]ssh.AuthMethod{
		"a password": ssh.Password("x"), "an answer": ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) { return []string{"x"}, nil }),
	} {
		if c, err := ssh.Dial("tcp", w.address, &ssh.ClientConfig{User: "anna", Auth: []ssh.AuthMethod{method}, HostKeyCallback: ssh.FixedHostKey(w.host.PublicKey())}); err == nil {
			c.Close()
			t.Errorf("%s lets in", name)
		}
	}
}

// TestNothingIsForwarded: no port either way, no agent, no X11, no subsystem.
func TestNothingIsForwarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	c := w.dialAs("anna")
	if conn, err := c.Dial("tcp", "127.0.0.1:22"); err == nil {
		conn.Close()
		t.Error("a port of the server was reached")
	}
	if conn, err := c.Dial("unix", "/run/docker.sock"); err == nil {
		conn.Close()
		t.Error("a socket of the server was reached")
	}
	if l, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
		t.Error("the server listens for somebody")
	}
	if l, err := c.ListenUnix(w.dir + "/sock"); err == nil {
		l.Close()
		t.Error("the server listens at a socket for somebody")
	}
	for _, kind := range []string{"x11", "auth-agent@openssh.com", "direct-streamlocal@openssh.com", "tun@openssh.com", "forwarded-tcpip"} {
		if ch, _, err := c.OpenChannel(kind, nil); err == nil {
			ch.Close()
			t.Errorf("a channel %s was opened", kind)
		}
	}
	s, err := c.NewSession()
	w.must(err)
	for _, asked := range []string{"subsystem", "x11-req", "auth-agent-req@openssh.com", "env", "break", "nonsense"} {
		if ok, err := s.SendRequest(asked, true, ssh.Marshal(struct{ A, B string }{"sftp", "x"})); ok || err != nil {
			t.Errorf("%s: %v, %v", asked, ok, err)
		}
	}
	out, err := s.CombinedOutput("whoami") // and after all that it does what it is for
	if err != nil || !strings.HasPrefix(string(out), "anna at") {
		t.Errorf("%v: %s", err, out)
	}
	// The real client has a last word on sftp and on forwarding.
	if sftp, err := exec.LookPath("sftp"); err == nil {
		cmd := w.openSSH("anna")
		args := append([]string{"-P", strings.Split(w.address, ":")[1]}, cmd.Args[5:]...)
		if got := w.run(exec.CommandContext(t.Context(), sftp, append(args, "-b", "/dev/null", sshd.Login+"@127.0.0.1")...)); got.code == 0 {
			t.Errorf("sftp: %+v", got)
		}
	}
	if got := w.run(w.openSSH("anna", "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", sshd.Login+"@127.0.0.1")); got.code != 255 {
		t.Errorf("-R: %+v", got)
	}
}

// TestOneCommand: a connection is for one command, of one session.
func TestOneCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	w.Agents.Set("web1", apitest.Hangs)
	c := w.dialAs("anna")
	s, err := c.NewSession()
	w.must(err)
	said := newSpoken()
	s.Stdout, s.Stderr = said, said
	w.must(s.Start(`restart shop --hosts web1 --yes --reason "workers hang since noon"`))
	said.until(t, "running")
	if ok, err := s.SendRequest("exec", true, ssh.Marshal(struct{ C string }{"whoami"})); ok || err != nil {
		t.Errorf("a second command in a session: %v, %v", ok, err)
	}
	if more, err := c.NewSession(); err == nil {
		more.Close()
		t.Error("a second session was opened")
	}
	w.Agents.Set("web1", apitest.Succeeds)
	if code := exitCode(t, s.Wait()); code != cli.ExitDone || !strings.Contains(said.String(), "completed") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if _, err := c.NewSession(); err == nil {
		t.Error("a session was opened after the command")
	}
}

// TestHugeAndOdd: commands that are too long, or hold what no command has.
func TestHugeAndOdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	for name, line := range map[string]string{
		"huge": "restart shop --reason " + strings.Repeat("x", 200<<10), "many words": strings.Repeat("a ", 60<<10), "NUL": "whoami\x00--json", "escape": "show \x1b]0;owned\x07", "line end": "whoami\nid",
		"a C1 control": "show \u009b2J", "no text": "show \xff\xfe", "an open quote": `restart shop --reason "it hangs`, "substitution": "show $(id)", "an option that is none": "--config=/etc/passwd whoami",
	} {
		s, err := w.dialAs("anna").NewSession()
		w.must(err)
		said := newSpoken()
		s.Stdout, s.Stderr = said, said
		if code := exitCode(t, s.Run(line)); code != cli.ExitUsage || said.String() == "" || strings.ContainsAny(said.String(), "\x1b\x00\x07\u009b") {
			t.Errorf("%s: exit code %d: %q", name, code, said.String())
		}
	}
}

// TestClosedConnection: who goes away ends what he watches, and not the run.
func TestClosedConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	w.Agents.Set("web1", apitest.Hangs)
	cmd := w.openSSH("anna", "-T", sshd.Login+"@127.0.0.1", "restart", "shop", "--hosts", "web1,web2", "--yes", "--reason", strings.Trim(because, "'"))
	said := newSpoken()
	cmd.Stdout, cmd.Stderr = said, said
	w.must(cmd.Start())
	said.until(t, "web1: running")
	run := regexp.MustCompile(`run ([0-9a-z]{26})`).FindStringSubmatch(said.String())[1]
	w.must(cmd.Process.Kill())
	cmd.Wait()
	w.Agents.Set("web1", apitest.Succeeds)
	if got := w.ask("vera", "watch", run); got.code != cli.ExitDone || !strings.Contains(got.stdout, "completed, 2 succeeded") {
		t.Errorf("%+v", got)
	}
}

// TestStop: a server that stops tells who is connected, and lets the run go on.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	w.Agents.Set("web1", apitest.Hangs)
	c := w.dialAs("anna")
	s, err := c.NewSession()
	w.must(err)
	said := newSpoken()
	s.Stdout, s.Stderr = said, said
	w.must(s.Start(`restart shop --hosts web1 --yes --reason "workers hang since noon"`))
	said.until(t, "web1: running")
	w.stop()
	if code := exitCode(t, s.Wait()); code != cli.ExitInterrupted || !strings.Contains(said.String(), "the server is stopping; a run that was started goes on") || !strings.Contains(said.String(), "come back with: restartilka watch") {
		t.Errorf("exit code %d: %s", code, said)
	}
	c.Close()
	w.gone(w.stopped)
}

// TestLimits: strangers of one address take a few places and no more.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{Newcomers: 2, Address: 3, SignIn: time.Hour})
	var strangers []io.Closer
	for range 2 {
		strangers = append(strangers, w.tcp())
	}
	if _, err := w.dial(sshd.Login, w.people["anna"].signer); err == nil {
		t.Error("a third stranger of one address was let in")
	}
	for _, s := range strangers {
		s.Close()
	}
	var known *ssh.Client
	for late := time.Now().Add(patience); known == nil && time.Now().Before(late); {
		known, _ = w.dial(sshd.Login, w.people["anna"].signer)
	}
	if known == nil {
		t.Fatal("nobody gets in after the strangers have gone")
	}
	// Of one address only so many are there at a time, whoever they are.
	w2 := newWorld(t, sshd.Limits{Address: 2})
	for i := range 3 {
		_, err := w2.dial(sshd.Login, w2.people["anna"].signer)
		if (err == nil) != (i < 2) {
			t.Errorf("connection %d: %v", i+1, err)
		}
	}
}

// TestLimitOfOnePerson: one person does not take the seats of all who come from
// his address; who has enough of them is told so.
func TestLimitOfOnePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{Person: 2})
	w.Agents.Set("web1", apitest.Hangs)
	busy := make([]*ssh.Session, 2)
	said := make([]*spoken, 2)
	for i, line := range []string{atWeb1 + " --yes", "audit tail -f"} {
		var err error
		busy[i], err = w.dialAs("anna").NewSession()
		w.must(err)
		said[i] = newSpoken()
		busy[i].Stdout, busy[i].Stderr = said[i], said[i]
		w.must(busy[i].Start(line))
	}
	said[0].until(t, "web1: running")
	if got := w.ask("anna", "whoami"); got.code != cli.ExitRefused || got.stdout != "" || !strings.Contains(got.stderr, "you have 2 connections by SSH") {
		t.Errorf("a third one: %+v", got)
	}
	if got := w.ask("vera", "whoami"); got.code != cli.ExitDone {
		t.Errorf("another person: %+v", got)
	}
	w.Agents.Set("web1", apitest.Succeeds)
	w.must(busy[0].Wait())
	for late := time.Now().Add(patience); ; { // the place is free as soon as the client has gone
		if got := w.ask("anna", "whoami"); got.code == cli.ExitDone {
			return
		} else if time.Now().After(late) {
			t.Fatalf("nothing is free again: %+v", got)
		}
	}
}

// TestDeadPeer: who does not answer any more is let go of.
func TestDeadPeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{Keepalive: 50 * time.Millisecond})
	conn := w.tcp()
	c, channels, requests, err := ssh.NewClientConn(conn, w.address, &ssh.ClientConfig{
		User: sshd.Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(w.people["anna"].signer)}, HostKeyCallback: ssh.FixedHostKey(w.host.PublicKey()),
	})
	w.must(err)
	defer c.Close()
	go func() { // questions are heard and not answered
		for range requests {
		}
	}()
	go func() {
		for range channels {
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the connection is still there")
	}
}
