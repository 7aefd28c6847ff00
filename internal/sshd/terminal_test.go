package sshd_test

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/sshd"
)

// atTerminal begins a command with a terminal of so many columns.
func (w *world) atTerminal(who, line string, columns int) (*ssh.Session, io.Writer, *spoken) {
	w.t.Helper()
	s, err := w.dialAs(who).NewSession()
	w.must(err)
	w.must(s.RequestPty("xterm-256color", 24, columns, ssh.TerminalModes{}))
	keys, err := s.StdinPipe()
	w.must(err)
	said := newSpoken()
	s.Stdout, s.Stderr = said, said
	w.must(s.Start(line))
	return s, keys, said
}

func (w *world) types(keys io.Writer, text string) {
	w.t.Helper()
	_, err := io.WriteString(keys, text)
	w.must(err)
}

const atWeb1 = `restart shop --hosts web1 --reason "workers hang since noon"`

// TestTerminalAsks: with a terminal the plan is shown, and somebody asked.
func TestTerminalAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	s, keys, said := w.atTerminal("anna", atWeb1, 100)
	said.until(t, "restart shop on 1 host? [y/N] ")
	w.types(keys, "nö\x1b[A\x15yex\x7fs\r")
	code := exitCode(t, s.Wait())
	if code != cli.ExitDone || !strings.Contains(said.String(), "completed, 1 succeeded") || !strings.Contains(said.String(), "\x1b[J") {
		t.Errorf("exit code %d: %q", code, said)
	}
	if strings.Contains(strings.ReplaceAll(said.String(), "\r\n", ""), "\n") {
		t.Errorf("a line does not begin at the left: %q", said)
	}
	for _, answer := range []string{"n\r", "\r", "\x04", "yesterday\r"} {
		s, keys, said := w.atTerminal("anna", atWeb1, 100)
		said.until(t, "[y/N] ")
		w.types(keys, answer)
		if code := exitCode(t, s.Wait()); code != cli.ExitUsage || !strings.Contains(said.String(), "nothing was done") {
			t.Errorf("%q: exit code %d: %q", answer, code, said)
		}
	}
}

// TestCtrlC: it detaches from a run and says so, and leaves a question without
// an answer.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	w.Agents.Set("web1", apitest.Hangs)
	s, keys, said := w.atTerminal("anna", atWeb1+" --yes", 60)
	said.until(t, "running")
	w.must(s.WindowChange(30, 120))
	w.types(keys, "\x03")
	if code := exitCode(t, s.Wait()); code != cli.ExitInterrupted || !strings.Contains(said.String(), "detached: the run goes on; come back with: restartilka watch ") {
		t.Errorf("exit code %d: %q", code, said)
	}
	for line := range strings.SplitSeq(said.String(), "\r\n") {
		if at := strings.LastIndex(line, "\x1b[K"); at >= 0 && len([]rune(line[at:])) > 60+len("\x1b[K\x1b[36m\x1b[0m") {
			t.Errorf("wider than the window: %q", line)
		}
	}
	w.Agents.Set("web1", apitest.Succeeds)

	s, keys, said = w.atTerminal("anna", atWeb1, 80)
	said.until(t, "[y/N] ")
	w.types(keys, "y\x03")
	if code := exitCode(t, s.Wait()); code != cli.ExitInterrupted || strings.Contains(said.String(), "running") {
		t.Errorf("exit code %d: %q", code, said)
	}
	// A signal does the same where there is no terminal.
	w.Agents.Set("web1", apitest.Hangs)
	plain, err := w.dialAs("anna").NewSession()
	w.must(err)
	out := newSpoken()
	plain.Stdout, plain.Stderr = out, out
	w.must(plain.Start(atWeb1 + " --yes"))
	out.until(t, "web1: running")
	w.must(plain.Signal(ssh.SIGINT))
	if code := exitCode(t, plain.Wait()); code != cli.ExitInterrupted || !strings.Contains(out.String(), "detached: the run goes on") {
		t.Errorf("exit code %d: %q", code, out)
	}
	w.Agents.Set("web1", apitest.Succeeds)
}

// TestRealTerminal: the real client with a terminal of its own.
func TestRealTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	cmd := w.openSSH("anna", "-tt", sshd.Login+"@127.0.0.1", atWeb1)
	keys, err := cmd.StdinPipe()
	w.must(err)
	said := newSpoken()
	cmd.Stdout, cmd.Stderr = said, said
	w.must(cmd.Start())
	said.until(t, "[y/N] ")
	w.types(keys, "yes\r")
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "completed, 1 succeeded") {
		t.Errorf("%v: %q", err, said)
	}
}
