package cli_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// TestReviewScripts runs the reviewers' commands, with the real ssh-keygen and
// ssh-agent, against a server with review: signed. $OLGA, $IVAN and $PAUL are
// reviewers' tokens; allowed_signers and revoked in the script's folder are the
// server's. Beside the commands of TestScripts there is
//
//	agent KEY…    start an ssh-agent that holds these keys
func TestReviewScripts(t *testing.T) {
	for _, program := range []string{"ssh-keygen", "ssh-agent", "ssh-add"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not there", program)
			}
			t.Skipf("%s is not there", program)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "review"),
		Setup: func(env *testscript.Env) error {
			tb, _ := env.T().(testing.TB)
			s := apitest.StartReviewed(tb, control.Review{
				Signed: true, Signers: filepath.Join(env.WorkDir, "allowed_signers"), Revoked: filepath.Join(env.WorkDir, "revoked"), Quorum: 2,
			})
			asPeople(env, s)
			for _, name := range []string{"olga", "ivan", "paul"} {
				env.Setenv(strings.ToUpper(name), s.Token(name, restart.RoleReviewer))
			}
			env.Setenv("SSH_AUTH_SOCK", "")
			return os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o700)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "keep": keep, "agent": agent,
		},
	})
}

// agent starts an ssh-agent of its own, which ends with the script.
func agent(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp("", "agent") // a socket's path is short
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	bufio.NewReader(out).ReadString('\n') // it says where it listens, once it does
	for late := time.Now().Add(10 * time.Second); ; {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(late) {
			ts.Fatalf("ssh-agent does not listen")
		}
		<-time.After(5 * time.Millisecond)
	}
	ts.Setenv("SSH_AUTH_SOCK", socket)
	for _, key := range args {
		ts.Check(ts.Exec("ssh-add", "-q", ts.MkAbs(key)))
	}
}
