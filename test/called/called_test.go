package called

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

const reason = "build 814 brings a new configuration"

// caller is a program that asks a company's server.
type caller struct {
	t    *testing.T
	c    *company.Company
	runs *int // that were to be
}

// callTime bounds one call: one that waits for what never comes is to fail alone.
const callTime = 5 * time.Minute

// run gives what a program prints, and its exit code.
func (w caller) run(dir, program string, args ...string) (out string, code int) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "token")
	must(w.t, os.WriteFile(file, []byte(w.c.DevToken+"\n"), 0o600))
	ctx, cancel := context.WithTimeout(w.t.Context(), callTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second // what it has started may hold its output
	cmd.Env = append(os.Environ(), "RESTARTILKA_URL="+w.c.URL, "RESTARTILKA_CA="+w.c.CA, "RESTARTILKA_TOKEN="+w.c.DevToken, "RESTARTILKA_TOKEN_FILE="+file, "RESTARTILKA_POLL=0.1",
		"PATH="+filepath.Dir(w.c.Programs.Server)+":"+os.Getenv("PATH"), "ANSIBLE_NOCOWS=1", "ANSIBLE_LOCALHOST_WARNING=False", "ANSIBLE_INVENTORY_UNPARSED_WARNING=False")
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	if cmd.ProcessState == nil {
		w.t.Fatalf("%s: %v", program, err)
	}
	if ctx.Err() != nil {
		w.t.Fatalf("%s has not ended within %s\n%s", program, callTime, b.String())
	}
	if strings.Contains(b.String(), w.c.DevToken) {
		w.t.Errorf("%s prints the token:\n%s", program, b.String())
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

// done holds the run that a caller has named to what it was to be.
func (w caller) done(out string, state restart.RunState) restart.Run {
	w.t.Helper()
	id := regexp.MustCompile(`[0-9a-z]{26}`).FindString(out)
	run, err := w.c.Dev.Run(context.Background(), id)
	if err != nil || run.State != state || run.Reason != reason || run.Actor != demo.Developer {
		w.t.Fatalf("%v, %s by %s: %s\n%s", err, run.Summary(), run.Actor, run.Reason, out)
	}
	return run
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// R11: any program can call. Each way is as its document says; a request that
// comes again by its key is one restart.
func TestCallers(t *testing.T) {
	t.Parallel()
	c, runs := company.New(t, company.Options{Hosts: 2}), 0
	for _, test := range []struct {
		name string
		do   func(caller)
	}{
		{"a Go program of another module", fromGo},
		{"a client generated from the description", fromGenerated},
		{"curl", fromCurl},
		{"Ansible", fromAnsible},
		{"Jenkins and GitLab", fromPipelines},
	} {
		t.Run(test.name, func(t *testing.T) { test.do(caller{t, c, &runs}) })
	}
	if lines := c.WitnessLines(); len(lines) != runs*2*2 {
		t.Errorf("%d runs, and the witness saw\n%s", runs, strings.Join(lines, "\n"))
	}
}

// build builds a program outside of this module.
func (w caller) build(dir, pattern string) (program string) {
	w.t.Helper()
	program = filepath.Join(w.t.TempDir(), "program")
	cmd := exec.CommandContext(w.t.Context(), "go", "build", "-o", program, pattern)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("build %s: %v\n%s", pattern, err, out)
	}
	return program
}

func fromGo(w caller) {
	root, err := filepath.Abs("../..")
	must(w.t, err)
	dir := w.t.TempDir()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(w.t, err)
	module := strings.Replace(string(text), "module github.com/restartilka/restartilka", "module example.com/outside", 1) +
		"\nrequire github.com/restartilka/restartilka v0.0.0\nreplace github.com/restartilka/restartilka => " + root + "\n"
	must(w.t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(module), 0o600))
	for from, to := range map[string]string{filepath.Join(root, "go.sum"): "go.sum", "outside/main.go.txt": "main.go"} {
		b, err := os.ReadFile(from)
		must(w.t, err)
		must(w.t, os.WriteFile(filepath.Join(dir, to), b, 0o600))
	}
	program := w.build(dir, ".")
	*w.runs++
	for range 2 { // the second by the same key
		out, code := w.run(dir, program, demo.ServiceName, reason)
		if code != 0 || !strings.Contains(out, "refused reason_refused\n") || !strings.Contains(out, "completed true\n") && !strings.Contains(out, "completed false\n") {
			w.t.Fatalf("%d\n%s", code, out)
		}
		w.done(out, restart.RunCompleted)
	}
}

func fromGenerated(w caller) {
	dir := filepath.Join(w.t.TempDir(), "generator")
	must(w.t, os.CopyFS(dir, os.DirFS("generator")))
	if out, code := w.run(dir, "curl", "-sS", "--cacert", w.c.CA, "-H", "Authorization: Bearer "+w.c.DevToken, "-o", "openapi.json", w.c.URL+"/api/openapi-3.0.json"); code != 0 {
		w.t.Fatal(out)
	}
	generate := exec.CommandContext(w.t.Context(), "go", "tool", "oapi-codegen", "-config", "config.yaml", "-o", "api/api.gen.go", "openapi.json")
	generate.Dir, generate.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := generate.CombinedOutput(); err != nil {
		w.t.Fatalf("generate a client: %v\n%s", err, out)
	}
	*w.runs++
	out, code := w.run(dir, w.build(dir, "./consumer"), demo.ServiceName, reason)
	if code != 0 || !strings.Contains(out, "refused reason_refused\n") {
		w.t.Fatalf("%d\n%s", code, out)
	}
	w.done(out, restart.RunCompleted)
}

func fromCurl(w caller) {
	const script = "../../examples/curl/restart.sh"
	*w.runs++
	for range 2 {
		out, code := w.run("", script, demo.ServiceName, demo.Environment, reason, "build-814")
		if code != 0 || strings.Count(out, " succeeded\n") != 2 || !strings.HasSuffix(out, "completed\n") {
			w.t.Fatalf("%d\n%s", code, out)
		}
		w.done(out, restart.RunCompleted)
	}
	if out, code := w.run("", script, demo.ServiceName, demo.Environment, "."); code != 3 || !strings.Contains(out, "refused (reason_refused)") {
		w.t.Errorf("%d\n%s", code, out)
	}
	if out, code := w.run("", "env", "RESTARTILKA_URL=https://127.0.0.1:1", script, demo.ServiceName, demo.Environment, reason); code != 4 {
		w.t.Errorf("%d\n%s", code, out)
	}
	if out, code := w.run("", script); code != 2 || !strings.HasPrefix(out, "usage: ") {
		w.t.Errorf("%d\n%s", code, out)
	}
}

// The script ends as the command line does, whatever the server and what stands
// before it say, and leaves nothing behind.
func TestCurlEndsAsTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(program + " is needed")
			}
			t.Skip("NOT TESTED: " + program + " is not installed")
		}
	}
	const run = `{"id":"01m81mtqf0qv5v0v89h9ffrra9","state":"queued","tasks":[]}`
	ended := func(state, outcome string) []string {
		return []string{run, strings.Replace(run, `"queued"`, `"`+state+`","outcome":"`+outcome+`"`, 1)}
	}
	for name, c := range map[string]struct {
		status  int      // of the first answer
		answers []string // the last again and again
		want    int
	}{
		"done":                     {201, ended("completed", "done"), 0},
		"a host was not done":      {201, ended("completed", "failed"), 1},
		"aborted":                  {201, ended("aborted", "failed"), 1},
		"a wrong name":             {404, []string{`{"code":"not_found","detail":"there is no service"}`}, 2},
		"rejected":                 {201, ended("rejected", "rejected"), 3},
		"refused":                  {403, []string{`{"code":"forbidden","detail":"no"}`}, 3},
		"the database is away":     {503, []string{`{"code":"unavailable","detail":"no"}`}, 4},
		"a page of a proxy":        {502, []string{"<html>Bad Gateway"}, 4},
		"a page for signing in":    {200, []string{"<html>Sign in"}, 4},
		"a page of a proxy, later": {201, []string{run, "<html>Bad Gateway"}, 4},
		"one is unknown":           {201, ended("completed", "person"), 5},
		"paused":                   {201, ended("paused", "person"), 5},
		"the signal TERM":          {201, []string{run}, 143},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, token := t.TempDir(), filepath.Join(t.TempDir(), "token")
			must(t, os.WriteFile(token, []byte("rtk_x\n"), 0o600))
			asked, polled := 0, make(chan struct{}, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked == 1 {
					w.WriteHeader(c.status)
				} else {
					select {
					case polled <- struct{}{}:
					default:
					}
				}
				io.WriteString(w, c.answers[min(asked, len(c.answers))-1])
			}))
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), callTime)
			defer cancel()
			cmd := exec.CommandContext(ctx, "../../examples/curl/restart.sh", "shop", "testing", reason)
			cmd.Env = append(os.Environ(), "RESTARTILKA_URL="+server.URL, "RESTARTILKA_TOKEN_FILE="+token, "RESTARTILKA_CA=", "RESTARTILKA_POLL=0.1", "TMPDIR="+dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			must(t, cmd.Start())
			if c.want == 143 {
				select {
				case <-polled:
				case <-ctx.Done():
					t.Error("it asks once alone")
				}
				must(t, cmd.Process.Signal(syscall.SIGTERM))
			}
			_ = cmd.Wait() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); code != c.want {
				t.Errorf("%d\n%s", code, out.String())
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func fromAnsible(w caller) {
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		if os.Getenv("CI") == "true" {
			w.t.Fatal("ansible-core is needed")
		}
		w.t.Skip("NOT TESTED: ansible-core is not installed")
	}
	ask := func(reason string) (string, int) {
		return w.run(w.t.TempDir(), "ansible-playbook", absolute(w.t, "../../examples/ansible/restart.yml"),
			"-e", "service="+demo.ServiceName, "-e", "environment_name="+demo.Environment, "-e", `{"reason": "`+reason+`"}`)
	}
	*w.runs++
	out, code := ask(reason)
	if code != 0 || !strings.Contains(out, "2 hosts: ") {
		w.t.Fatalf("%d\n%s", code, out)
	}
	w.done(out, restart.RunCompleted)
	if out, code := ask("."); code == 0 {
		w.t.Errorf("a reason that says nothing: %s", out)
	}
}

// fromPipelines runs the commands of the pipelines as they are written.
func fromPipelines(w caller) {
	for file, c := range map[string]struct {
		from, to string
		env      []string
	}{
		"../../examples/jenkins/Jenkinsfile":      {"sh(returnStatus: true, script: '''", "''')", []string{"JOB_NAME=shop", "BUILD_NUMBER=814"}},
		"../../examples/gitlab-ci/.gitlab-ci.yml": {"- >-", "", []string{"CI_PIPELINE_ID=814", "CI_COMMIT_SHORT_SHA=c0ffee00"}},
	} {
		text, err := os.ReadFile(file)
		must(w.t, err)
		_, script, found := strings.Cut(string(text), c.from)
		if c.to != "" {
			script, _, _ = strings.Cut(script, c.to)
		}
		if !found {
			w.t.Fatalf("%s has no command", file)
		}
		if c.to == "" { // YAML folds its lines into one
			script = strings.Join(strings.Fields(script), " ")
		}
		script = strings.ReplaceAll(script, `\\`, `\`) // as Groovy reads it
		script = strings.ReplaceAll(script, "--env production", `--env "$ENVIRONMENT"`)
		args := append(append([]string{}, c.env...), "SERVICE="+demo.ServiceName, "ENVIRONMENT="+demo.Environment, "sh", "-euc", script)
		*w.runs++
		out, code := w.run("", "env", args...)
		if code != 0 || !strings.Contains(out, "completed") {
			w.t.Fatalf("%s: %d\n%s", file, code, out)
		}
	}
}

// The scenarios of docs/migrate.md are good ones.
func TestMigrated(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/migrate.md")
	must(t, err)
	count := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(format: 1\n.*?)```").FindAllSubmatch(text, -1) {
		s, err := scenario.Parse(block[1])
		if err != nil {
			t.Errorf("%s\n%s", err, block[1])
		}
		if advice := scenario.Lint(block[1]); len(advice) > 0 {
			t.Errorf("%s: %v", s.Name, advice)
		}
		count++
	}
	if count != 2 {
		t.Errorf("%d scenarios", count)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	must(t, err)
	return full
}
