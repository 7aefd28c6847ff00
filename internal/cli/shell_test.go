package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
)

// notBySSH are the flags of commands that are there by SSH which are not: each
// reads or writes a file, or is of those who administer.
var notBySSH = []string{"dump --out", "dumps get --out", "key list --all"}

// TestShellListIsExact: what is listed exists; and of each command that is
// listed, every flag is listed too, or left out on purpose.
func TestShellListIsExact(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		for _, child := range cmd.Commands() {
			walk(child, strings.TrimPrefix(path+" "+child.Name(), " "))
		}
		flags, listed := shellVerbs[path]
		if !listed {
			return
		}
		seen[path] = true
		for _, name := range flags {
			if cmd.Flags().Lookup(name) == nil {
				t.Errorf("%s has no flag --%s", path, name)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(flags, f.Name) && !slices.Contains(shellFlags, f.Name) && !slices.Contains(notBySSH, path+" --"+f.Name) {
				t.Errorf("%s --%s is neither in shellVerbs nor left out on purpose", path, f.Name)
			}
		})
	}
	walk(New(), "")
	for path := range shellVerbs {
		if !seen[path] {
			t.Errorf("there is no command %s", path)
		}
	}
}

// asked is a server that notes what it is asked for, and answers to nothing.
func asked(t *testing.T) (Shell, *atomic.Int64) {
	var n atomic.Int64
	return Shell{URL: "https://restartilka.example.com", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		n.Add(1)
		w := httptest.NewRecorder()
		if r.URL.Path == "/api/v1/whoami" {
			json.NewEncoder(w).Encode(restart.Actor{Name: "anna", Via: "ssh"})
			return w.Result(), nil
		}
		w.WriteHeader(http.StatusTeapot)
		return w.Result(), nil
	})}, &n
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// runLine runs a line and gives its exit code and all that it has printed.
func runLine(s Shell, line string) (int, string) {
	var out strings.Builder
	return s.Run(context.Background(), line, strings.NewReader("y\n"), &out, &out), out.String()
}

// TestShellRefuses: nothing that reads or writes a file, or is of another place,
// can be asked for; and nothing reaches the server then.
func TestShellRefuses(t *testing.T) {
	shell, n := asked(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("the secret of the server"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	t.Setenv("RESTARTILKA_TOKEN_FILE", secret)
	t.Setenv("RESTARTILKA_URL", "https://elsewhere.example.com")
	for _, line := range []string{
		"login https://elsewhere.example.com", "server", "server init --dir " + dir, "backup " + out, "restore " + secret, "config show", "demo --dir " + dir,
		"scenario push " + secret, "scenario lint " + secret, "scenario digest " + secret, "scenario sign " + secret, "scenario approve x --key " + secret, "scenario new --unit x.service",
		"analyse " + secret, "analyse -", "dumps put " + secret, "dumps get 01k6p8w2zt3f9m4q7r5x1y0c8d --out " + out, "dump shop --reason 'requests hang here' --out " + out, "dump shop --out=" + out,
		"audit verify " + secret, "audit receive", "audit export", "audit key", "token create x", "token list", "user password", "user list", "session list", "host issue x --out " + dir, "host join-token x",
		"hosts discover %all --out " + out, "key add " + secret, "key add -", "key remove 01k6p8w2zt3f9m4q7r5x1y0c8d", "shell", "shell keys a b c", "freeze add --env x", "locks release x", "break-glass review x",
		"--config " + secret + " whoami", "whoami --config " + secret, "whoami --url https://elsewhere.example.com", "whoami --token x", "whoami --ca " + secret, "--ca " + secret,
		"completion bash", "__complete whoami ''", "__completeNoDesc ''", "--json __complete x ''", "-x whoami __complete whoami ''", "--x whoami __completeNoDesc whoami ''",
		"-h whoami __complete whoami ''", "--help whoami __complete whoami ''", "--version whoami __complete whoami ''", "--json=true -x whoami __complete whoami ''", "- __complete whoami ''", "-- __complete whoami ''", "'' __complete whoami ''", "man", "sh", "/bin/sh -c id", "scp -t /tmp", "sftp-server", "internal-sftp", "rsync --server .",
		"", "   ", "restartilka", "restartilka server", "freeze", "scenario", "key", "audit", "break-glass", "@" + secret, "restart @" + secret,
	} {
		code, text := runLine(shell, line)
		if code != ExitUsage || text == "" {
			t.Errorf("%q: exit code %d, %s", line, code, text)
		}
		if strings.Contains(text, "the secret of") {
			t.Errorf("%q gives away a file: %s", line, text)
		}
	}
	if n.Load() > 0 {
		t.Errorf("the server was asked %d times", n.Load())
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
}

// TestShellRuns: what is listed runs, with the words that our own hints have.
func TestShellRuns(t *testing.T) {
	t.Parallel()
	shell, _ := asked(t)
	for line, want := range map[string]string{
		"whoami":             "anna at https://restartilka.example.com",
		"restartilka whoami": "anna at",
		"--json whoami":      `"via": "ssh"`,
		"help":               "break-glass",
		"help restart":       "--reason",
		"dump --help":        "--reason",
		"--version":          "restartilka",
	} {
		if code, text := runLine(shell, line); code != ExitDone || !strings.Contains(text, want) {
			t.Errorf("%q: exit code %d, %s", line, code, text)
		}
	}
	for _, hidden := range []string{"login", "scenario push", "token", "completion"} {
		if _, text := runLine(shell, "help"); strings.Contains(text, "\n  "+hidden+" ") {
			t.Errorf("help tells of %s: %s", hidden, text)
		}
	}
	if _, text := runLine(shell, "dump --help"); strings.Contains(text, "--out folder") {
		t.Errorf("help tells of --out: %s", text)
	}
	if code, text := runLine(shell, `restart nginx --reason 502s since the deploy`); code != ExitUsage || !strings.Contains(text, "one level of quotes") {
		t.Errorf("exit code %d, %s", code, text)
	}
	if code, text := runLine(shell, `restart nginx --reason '502s since the deploy'`); code != ExitUnreachable {
		t.Errorf("exit code %d, %s", code, text)
	}
}

// FuzzShell: no line reaches a command that is not listed, and none writes to
// the server's own streams.
func FuzzShell(f *testing.F) {
	for _, line := range []string{
		"whoami", "--json whoami", "-x whoami __complete whoami ''", "--help whoami __completeNoDesc x", "help restart", "--json -h", "scenario -x list __complete x", "restart nginx --reason '502s since'",
		"-- whoami", "-", "help __complete", "completion bash", "--json=x whoami", "planned --json=0 show x", "runs --limit=1 --cursor", "hosts check %all --verbose=2",
	} {
		f.Add(line)
	}
	streams, err := os.Create(filepath.Join(f.TempDir(), "streams"))
	if err != nil {
		f.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = streams, streams
	f.Cleanup(func() {
		os.Stdout, os.Stderr = stdout, stderr
		streams.Close()
	})
	shell := Shell{URL: "https://restartilka.example.com", Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("nobody is there") })}
	f.Fuzz(func(t *testing.T, line string) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), doorKey{}, &client.Config{URL: shell.URL, Transport: shell.Transport}))
		cancel() // what waits for anything ends
		var said strings.Builder
		if code := shell.Run(ctx, line, strings.NewReader(""), &said, &said); code != ExitDone && said.Len() == 0 {
			t.Errorf("%q: exit code %d without a word", line, code)
		}
		if info, err := streams.Stat(); err != nil || info.Size() > 0 {
			t.Fatalf("%q writes to the server's own streams: %v", line, err)
		}
		root, words, err := read(line)
		if err != nil {
			return
		}
		root.SetIn(strings.NewReader(""))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		root.SetArgs(words)
		ran, _ := root.ExecuteContextC(ctx)
		if path := strings.TrimPrefix(strings.TrimPrefix(ran.CommandPath(), root.Name()), " "); !reachable(path) {
			t.Errorf("%q reaches %q", line, path)
		}
	})
}

// reachable tells whether a command is listed, is above one that is, or helps.
func reachable(path string) bool {
	if path == "" || path == "help" || shellVerbs[path] != nil {
		return true
	}
	for listed := range shellVerbs {
		if strings.HasPrefix(listed, path+" ") {
			return true
		}
	}
	return false
}
