package sshd_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/sshd"
)

// TestMain makes this program the command line too: sshd runs it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "shell" {
		os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// socketFor serves a socket for an account, and gives its path.
func (w *world) socketFor(account string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, account+".sock")
	socket, err := w.sshd.NewSocket(path, account)
	w.must(err)
	l, err := socket.Listen(w.t.Context())
	w.must(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := socket.Serve(ctx, l); err != nil {
			w.t.Error(err)
		}
	}()
	w.t.Cleanup(func() {
		stop()
		w.gone(ended)
		if _, err := os.Lstat(path); err == nil {
			w.t.Error("the socket is left behind")
		}
	})
	return path
}

// forced runs the forced command itself, as sshd would.
func (w *world) forced(command, from string, args ...string) done {
	w.t.Helper()
	cmd := exec.CommandContext(w.soon(), os.Args[0], append([]string{"shell"}, args...)...)
	cmd.Env = append(os.Environ(), "SSH_ORIGINAL_COMMAND="+command, "SSH_CONNECTION="+from+" 50022 192.0.2.2 22", "GORACE=atexit_sleep_ms=0")
	return w.run(cmd)
}

func (w *world) fingerprint(who string) string {
	return ssh.FingerprintSHA256(w.people[who].signer.PublicKey())
}

func myself(t *testing.T) string {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username
}

// TestSocket: what comes by it is who has the key, and only by the one account.
func TestSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	me := myself(t)
	path := w.socketFor(me)
	anna := []string{"--socket", path, "--key", w.fingerprint("anna")}
	if got := w.forced("whoami --json", "192.0.2.7", anna...); got.code != cli.ExitDone || !strings.Contains(got.stdout, `"from": "192.0.2.7"`) || !strings.Contains(got.stdout, `"name": "anna"`) {
		t.Errorf("%+v", got)
	}
	if got := w.forced(`restart shop --yes --reason "workers hang since noon"`, "2001:db8::7", anna...); got.code != cli.ExitDone || !strings.Contains(got.stdout, "completed, 3 succeeded") {
		t.Errorf("%+v", got)
	}
	for command, code := range map[string]int{"": cli.ExitUsage, "login https://x": cli.ExitUsage, "token list": cli.ExitUsage, "restart bare --yes --reason 'workers hang since noon'": cli.ExitRefused} {
		if got := w.forced(command, "nonsense", anna...); got.code != code {
			t.Errorf("%q: %+v", command, got)
		}
	}
	for name, key := range map[string]string{"mallory": w.fingerprint("mallory"), "nobody": "", "an injection": "SHA256:x\r\nRestartilka-Key: " + w.fingerprint("anna")} {
		if got := w.forced("whoami", "192.0.2.7", "--socket", path, "--key", key); got.code == cli.ExitDone || got.stdout != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if recs := w.records(audit.SignIn); len(recs) == 0 || recs[0].Origin != "ssh 192.0.2.7" || !strings.Contains(recs[0].Detail, "by way of sshd") {
		t.Errorf("%+v", recs)
	}
	if recs := w.records(audit.SignInRefused); len(recs) < 2 {
		t.Errorf("%+v", recs)
	}
	// Another account: the kernel says who it is.
	if me != "nobody" {
		theirs := w.socketFor("nobody")
		if got := w.forced("whoami", "192.0.2.7", "--socket", theirs, "--key", w.fingerprint("anna")); got.code != cli.ExitUnreachable || got.stdout != "" {
			t.Errorf("%+v", got)
		}
	}
	if got := w.forced("whoami", "192.0.2.7", "--socket", filepath.Join(w.dir, "absent"), "--key", w.fingerprint("anna")); got.code != cli.ExitUnreachable || !strings.Contains(got.stderr, "ssh.socket") {
		t.Errorf("%+v", got)
	}
	w.lookUps(path, me)
}

// lookUps asks what sshd asks.
func (w *world) lookUps(path, me string) {
	w.t.Helper()
	key := strings.Fields(string(ssh.MarshalAuthorizedKey(w.people["anna"].signer.PublicKey())))
	program, err := os.Executable()
	w.must(err)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"anna", []string{me, key[0], key[1]}, fmt.Sprintf("restrict,command=%q %s %s\n", program+" shell --key "+w.fingerprint("anna")+" --socket "+path, key[0], key[1])},
		{"anna, with a terminal", []string{"--pty", me, key[0], key[1]}, fmt.Sprintf("restrict,pty,command=%q %s %s\n", program+" shell --key "+w.fingerprint("anna")+" --socket "+path, key[0], key[1])},
		{"another account", []string{"root2", key[0], key[1]}, ""},
		{"another kind", []string{me, "ssh-rsa", key[1]}, ""},
		{"a certificate", []string{me, key[0] + "-cert-v01@openssh.com", key[1]}, ""},
		{"no key", []string{me, key[0], `x" command="id`}, ""},
	} {
		got := w.forced("", "", append([]string{"keys", "--socket", path}, c.args...)...)
		if got.code != 0 || got.stdout != c.want {
			w.t.Errorf("%s: %+v", c.name, got)
		}
	}
	mallory := strings.Fields(string(ssh.MarshalAuthorizedKey(w.people["mallory"].signer.PublicKey())))
	if got := w.forced("", "", "keys", "--socket", path, me, mallory[0], mallory[1]); got.code != 0 || got.stdout != "" {
		w.t.Errorf("mallory: %+v", got)
	}
}

// TestSocketFile: a socket of before is replaced; nothing else is.
func TestSocketFile(t *testing.T) {
	t.Parallel()
	s := sshd.New(sshd.Config{})
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	x, err := s.NewSocket(path, myself(t))
	if err != nil {
		t.Fatal(err)
	}
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Listen(t.Context()); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("one that answers: %v", err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	l, err := x.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Listen(t.Context()); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("a file: %v", err)
	}
	if _, err := s.NewSocket(path, "no-such-account"); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("%v", err)
	}
	if x, err = s.NewSocket(filepath.Join(dir, "absent", "s"), myself(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Listen(t.Context()); restart.CodeOf(err) != restart.CodeUnavailable {
		t.Errorf("no folder: %v", err)
	}
}

// behindSSHD starts a real sshd on a port of loopback, for the account that runs
// the test, and gives the port.
func (w *world) behindSSHD(socket string) string {
	w.t.Helper()
	program := "/usr/sbin/sshd"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			w.t.Fatal(err)
		}
		w.t.Skip(err)
	}
	if os.Getuid() == 0 { // sshd wants it there, and its unit makes it
		w.must(os.MkdirAll("/run/sshd", 0o755))
	}
	for range 5 { // somebody else may take a port that is free
		free, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
		w.must(err)
		_, port, err := net.SplitHostPort(free.Addr().String())
		w.must(err)
		free.Close()
		if w.startSSHD(program, socket, port) {
			return port
		}
	}
	w.t.Fatal("sshd does not come up")
	return ""
}

// startSSHD tells whether sshd listens at a port.
func (w *world) startSSHD(program, socket, port string) bool {
	w.t.Helper()
	me, config := myself(w.t), filepath.Join(w.dir, "sshd_config")
	w.must(os.WriteFile(config, []byte(strings.Join([]string{
		"ListenAddress 127.0.0.1:" + port, "HostKey " + filepath.Join(w.dir, "host_key"), "PidFile none", "UsePAM no", "StrictModes no", "LogLevel VERBOSE",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password", "AuthorizedKeysFile none", "Subsystem sftp internal-sftp",
		// sshd wants a program in folders of root; which this one, of a test, is not.
		"AuthorizedKeysCommand /usr/bin/env GORACE=atexit_sleep_ms=0 " + os.Args[0] + " shell keys --pty --socket " + socket + " %u %t %k", "AuthorizedKeysCommandUser " + me,
		"SetEnv GORACE=atexit_sleep_ms=0",
	}, "\n")), 0o600))
	cmd := exec.CommandContext(context.WithoutCancel(w.t.Context()), program, "-D", "-e", "-f", config)
	log := newSpoken()
	cmd.Stderr = log
	w.must(cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait() // it is ended by a signal
	}()
	w.t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if w.t.Failed() {
			w.t.Logf("sshd: %s", log)
		}
	})
	late := time.After(patience)
	for !strings.Contains(log.String(), "Server listening on") {
		select {
		case <-log.more:
		case <-ended:
			return false
		case <-late:
			w.t.Fatalf("sshd says nothing of listening, but: %s", log)
		}
	}
	return true
}

// TestBehindRealSSHD: OpenSSH on both sides, with our forced command.
func TestBehindRealSSHD(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	me := myself(t)
	port := w.behindSSHD(w.socketFor(me))
	w.address = "127.0.0.1:" + port
	here := me + "@127.0.0.1"
	for _, c := range []struct {
		name, who string
		args      []string
		code      int
		want      string
	}{
		{"who", "anna", []string{"-T", here, "whoami"}, cli.ExitDone, "anna at https://restartilka.example.com"},
		{"another's", "vera", []string{"-T", here, "restart", "shop", "--yes", "--reason", strings.Trim(because, "'")}, cli.ExitRefused, "anna"},
		{"no command", "anna", []string{"-T", here}, cli.ExitUsage, "there is no shell here"},
		{"what the account's shell would run", "anna", []string{"-T", here, "whoami; id"}, cli.ExitUsage, "no meaning here"},
		{"sftp", "anna", []string{"-T", "-s", here, "sftp"}, cli.ExitUsage, ""},
		{"a port", "anna", []string{"-W", "127.0.0.1:" + port, here}, 255, "forwarding failed"},
		{"nobody's key", "mallory", []string{"-T", here, "whoami"}, 255, "Permission denied"},
	} {
		if got := w.run(w.openSSH(c.who, c.args...)); got.code != c.code || !strings.Contains(got.stdout+got.stderr, c.want) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	// With a terminal the plan is shown, and somebody asked. What was typed before
	// is no answer: the server waits with its own until the terminal has shown it.
	early, echoed := w.openSSH("anna", "-tt", here, atWeb1), make(chan struct{})
	hold := func(r *http.Request) {
		if r.Method == http.MethodPost {
			select {
			case <-echoed:
			case <-r.Context().Done():
			}
		}
	}
	w.before.Store(&hold)
	typed, err := early.StdinPipe()
	w.must(err)
	heard := newSpoken()
	early.Stdout, early.Stderr = heard, heard
	w.must(early.Start())
	w.types(typed, "y\r")
	heard.until(t, "y\r\n")
	close(echoed)
	heard.until(t, "[y/N] ")
	w.types(typed, "n\r")
	if err := early.Wait(); early.ProcessState.ExitCode() != cli.ExitUsage || !strings.Contains(heard.String(), "nothing was done") {
		t.Errorf("what was typed too early: %v: %q", err, heard)
	}
	w.before.Store(nil)
	cmd := w.openSSH("anna", "-tt", here, atWeb1)
	keys, err := cmd.StdinPipe()
	w.must(err)
	said := newSpoken()
	cmd.Stdout, cmd.Stderr = said, said
	w.must(cmd.Start())
	said.until(t, "[y/N] ")
	w.types(keys, "y\r")
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "completed, 1 succeeded") {
		t.Errorf("%v: %q", err, said)
	}
	if recs := w.records(audit.RunRequested); len(recs) == 0 || recs[0].Actor != "anna" || recs[0].Origin != "ssh 127.0.0.1" {
		t.Errorf("%+v", recs)
	}
	w.must(w.Store.RemoveKey(t.Context(), w.people["anna"].id))
	if got := w.run(w.openSSH("anna", "-T", here, "whoami")); got.code != 255 {
		t.Errorf("a key that was removed: %+v", got)
	}
}
