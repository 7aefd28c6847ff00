package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/scenarios"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"restartilka": func() { os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

type serverKey struct{}

// asPeople sets the environment of a script for a server and its people.
func asPeople(env *testscript.Env, s *apitest.Server) {
	env.Values[serverKey{}] = s
	env.Setenv("URL", s.URL)
	env.Setenv("CA", s.CAFile)
	env.Setenv("ANNA", s.Token("anna", restart.RoleDeveloper))
	env.Setenv("VERA", s.Token("vera", restart.RoleDeveloper))
	env.Setenv("ROOT", s.Token("root", restart.RoleAdmin))
	env.Setenv("OLGA", s.Token("olga", restart.RoleAuditor))
	env.Setenv("RESTARTILKA_URL", s.URL)
	env.Setenv("RESTARTILKA_CA", s.CAFile)
	env.Setenv("RESTARTILKA_TOKEN", env.Getenv("ANNA"))
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("XDG_CONFIG_HOME", "")
	env.Setenv("TZ", "UTC")
	env.Setenv("TOMORROW", time.Now().UTC().AddDate(0, 0, 1).Format("2006-01-02T15:04"))
	env.Setenv("GORACE", "atexit_sleep_ms=0") // a program with the race detector sleeps a second before it ends
}

// TestScripts runs the real command line against the real API. Beside
// testscript's own commands there are:
//
//	exits CODE restartilka ARGS…   run it, and want exactly this exit code
//	keep NAME REGEXP               keep what of stdout matches first in $NAME
//	host NAME BEHAVIOUR            see apitest.Behaviour
//	until RUN STATE                wait until the task of a host of the run is in it
//	ask                            the rules ask for an approval from now on
//	print TEXT                     what tasks print; Go escapes
//	captures HOST FILE             each task of the host captures that dump; there is a scenario for it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			s := apitest.Start(env.T().(testing.TB), nil)
			asPeople(env, s)
			env.Setenv("DIGEST", scenario.Digest([]byte(apitest.Scenario))[:12])
			env.Setenv("LONG", strings.Repeat("web1,", 1000)+"web1")
			return errors.Join(writeTrail(filepath.Join(env.WorkDir, "trail.jsonl")),
				os.CopyFS(filepath.Join(env.WorkDir, "vectors"), os.DirFS("../audit/testdata")))
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "keep": keep,
			"host": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Value(serverKey{}).(*apitest.Server).Agents.Set(args[0], apitest.Behaviour(args[1]))
			},
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				s := ts.Value(serverKey{}).(*apitest.Server)
				for late := time.Now().Add(time.Minute); ; {
					run, err := s.Store.Run(context.Background(), args[0])
					ts.Check(err)
					if slices.ContainsFunc(run.Tasks, func(t restart.Task) bool { return string(t.State) == args[1] }) {
						return
					}
					if time.Now().After(late) {
						ts.Fatalf("waited in vain: %s", run.Summary())
					}
					<-time.After(10 * time.Millisecond)
				}
			},
			"ask": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Value(serverKey{}).(*apitest.Server).AskApproval()
			},
			"captures": captures,
			"print": func(ts *testscript.TestScript, _ bool, args []string) {
				text, err := strconv.Unquote(`"` + args[0] + `"`)
				ts.Check(err)
				ts.Value(serverKey{}).(*apitest.Server).Agents.Print(text)
			},
		},
	})
}

func captures(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*apitest.Server)
	shipped, err := fs.ReadFile(scenarios.Files, "thread-dump.yaml")
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(s.Shelf, "thread-dump.yaml"), shipped, 0o600))
	taken := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	line, err := dump.Header{Host: args[0], PID: 4711, Runtime: dump.JVM, Method: "attach", Taken: taken, Number: 1, Of: 1}.Line()
	ts.Check(err)
	text := append(line, ts.ReadFile(args[1])...)
	packed, err := pack.Pack(text)
	ts.Check(err)
	s.Agents.Capture(args[0], apitest.Captured{Data: packed, Report: protocol.DumpReport{
		N: 1, Of: 1, Runtime: dump.JVM, Method: "attach", PID: 4711, TakenAt: taken, Size: int64(len(text)), Stored: int64(len(packed)), When: "run",
	}})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if want := args[0]; strconv.Itoa(code) != want {
		ts.Fatalf("%s: exit code %d, want %s", strings.Join(args[1:], " "), code, want)
	}
}

func keep(ts *testscript.TestScript, _ bool, args []string) {
	found := regexp.MustCompile(args[1]).FindString(ts.ReadFile("stdout"))
	if found == "" {
		ts.Fatalf("stdout has no %s", args[1])
	}
	ts.Setenv(args[0], found)
}

// writeTrail writes a small audit trail, as a sink stores it.
func writeTrail(path string) error {
	var b bytes.Buffer
	head := audit.Head{Source: "demo", Epoch: 1}
	for i := range 5 {
		r := audit.Record{Time: time.Unix(int64(1700000000+i), 0).UTC(), Actor: "anna", Action: audit.RunRequested}
		r.Link(head)
		head = r.Head()
		b.Write(append(r.Canonical(), '\n'))
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}
