package capture_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/restart"
)

// program starts a program that says "ready" on its output, a file, and ends
// with its input.
func program(t *testing.T, words ...string) (pid int, output string) {
	t.Helper()
	pid, output, _ = programUntil(t, words...)
	return pid, output
}

// programUntil gives what ends its input, too.
func programUntil(t *testing.T, words ...string) (pid int, output string, end func()) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); cmd.Process.Kill(); cmd.Wait() })
	for range 4000 {
		if b, _ := os.ReadFile(f.Name()); strings.Contains(string(b), "ready") {
			return cmd.Process.Pid, f.Name(), func() { input.Close() }
		}
		time.Sleep(5 * time.Millisecond)
	}
	b, _ := os.ReadFile(f.Name())
	t.Fatalf("%s did not get ready: %s", words, b)
	return 0, "", nil
}

// python is the interpreter of the host itself.
func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no /usr/bin/python3: scripts/deps.sh installs it, with ansible")
		}
		t.Skip("no /usr/bin/python3")
	}
	return path
}

func TestPython(t *testing.T) {
	t.Parallel()
	pid, output := program(t, python(t), "testdata/faulting.py", "SIGUSR1")
	for _, log := range []string{"", output} {
		c := mustOne(t, capture.Request{Signal: "USR1", Log: log}, capture.Target{PID: pid})
		wants(t, c, "(most recent call first):", "in wait_for_work", "faulting.py")
		if d := parsed(t, c, dump.Faulthandler); len(d.Threads) != 4 {
			t.Errorf("%d threads", len(d.Threads))
		}
		if c.Header.Method != "signal" || c.Header.Runtime != dump.Python || strings.Contains(string(c.Raw), "ready") {
			t.Errorf("%+v", c.Header)
		}
	}
	_, err := one(t, capture.Request{Method: "signal", Signal: "USR2"}, capture.Target{PID: pid})
	refused(t, err, restart.CodeConflict, "does not catch the signal USR2", "faulthandler.register")
	for _, r := range []capture.Request{{Signal: "KILL"}, {Log: "x/../y"}, {Method: "guess"}, {Runtime: "perl"}, {Count: 21}, {Timeout: time.Hour}, {URL: "http://exa_mple/"}, {URL: "http://localhost:6060/?seconds=5"}, {Unit: "-x"}} {
		_, err := one(t, r, capture.Target{PID: pid})
		refused(t, err, restart.CodeInvalid)
	}
}

func TestPythonWithoutHandler(t *testing.T) {
	t.Parallel()
	pid, _ := program(t, python(t), "testdata/faulting.py")
	c := mustOne(t, capture.Request{Signal: "USR1"}, capture.Target{PID: pid})
	wants(t, c, capture.KernelMark, "Threads: 4")
	if c.Header.Method != "proc" || c.Header.Runtime != dump.Python || len(c.Header.Notes) < 2 || !strings.Contains(c.Header.Notes[0], "does not catch") || !strings.Contains(c.Header.Notes[1], "py-spy is not installed") {
		t.Errorf("%+v", c.Header)
	}
}

// py-spy is played by a script that prints what the real one does.
func TestPySpy(t *testing.T) {
	t.Parallel()
	pid, _ := program(t, python(t), "testdata/faulting.py")
	path := filepath.Join(t.TempDir(), "bin", "py-spy")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n[ \"$*\" = \"dump --nonblocking --pid " + strconv.Itoa(pid) + "\" ] && printf 'Process %s: python3 x.py\\nThread %s (idle): \"MainThread\"\\n    main (x.py:1)\\n' $4 $4\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	take := func() (c capture.Captured, err error) {
		err = capture.System{PySpy: []string{"/nonexistent/py-spy", path}}.Take(t.Context(), capture.Request{Method: "py-spy"}, capture.Target{PID: pid}, func(got capture.Captured) error { c = got; return nil })
		return c, err
	}
	c, err := take()
	if err != nil {
		t.Fatal(err)
	}
	wants(t, c, `(idle): "MainThread"`)
	for _, open := range []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
		_, err = take()
		refused(t, err, restart.CodeForbidden, "others than root may write "+open)
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "py-spy") // a link is as safe as where it leads
	if err := errors.Join(os.Rename(path, elsewhere), os.Symlink(elsewhere, path), os.Chmod(filepath.Dir(elsewhere), 0o777)); err != nil {
		t.Fatal(err)
	}
	_, err = take()
	refused(t, err, restart.CodeForbidden, "others than root may write "+filepath.Dir(elsewhere))
}

// serveGoroutines is the Go program of TestGo.
func serveGoroutines() int {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/elsewhere/goroutine", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	})
	mux.HandleFunc("/other/goroutine", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello password=swordfish") })
	mux.HandleFunc("/big/goroutine", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "debug=1" {
			fmt.Fprint(w, "goroutine profile: total 9\n9 @ 0x1\n")
			return
		}
		page := []byte("goroutine 1 [running]:\n" + strings.Repeat("main.f()\n\t/x.go:1 +0x1\n", 1<<14))
		for range dump.MaxCapture/len(page) + 1 {
			w.Write(page)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	fmt.Println("ready", server.URL)
	io.Copy(io.Discard, os.Stdin)
	return 0
}

func TestGo(t *testing.T) {
	t.Parallel()
	self, output := program(t, os.Args[0], goroutinesVerb)
	said, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(strings.TrimPrefix(string(said), "ready"))
	if notes := fmt.Sprint(mustOne(t, capture.Request{URL: url + "/other"}, capture.Target{PID: self}).Header.Notes); !strings.Contains(notes, "hello password=***") {
		t.Errorf("what the program said is quoted as it is: %s", notes)
	}
	ask := func(path string) (capture.Captured, error) {
		return one(t, capture.Request{Method: "pprof", URL: url + path, Timeout: time.Minute}, capture.Target{PID: self}) // a busy machine writes 64 MiB slowly
	}
	for _, path := range []string{"", "/", "/debug/pprof", "/debug/pprof/goroutine"} {
		c, err := ask(path)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, c, "goroutine ", "serveGoroutines")
		parsed(t, c, dump.Goroutines)
	}
	c, err := ask("/big")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, c, "goroutine profile: total 9")
	if len(c.Header.Notes) != 1 || !strings.Contains(c.Header.Notes[0], "grouped by their stacks") {
		t.Errorf("%q", c.Header.Notes)
	}
	for path, why := range map[string]string{"/elsewhere": "sends us elsewhere (302)", "/other": "something else than goroutines", "/none": "answers with 404"} {
		_, err := ask(path)
		refused(t, err, restart.CodeUnavailable, why)
	}
	_, err = one(t, capture.Request{Method: "pprof", URL: "http://192.0.2.1:1/"}, capture.Target{PID: self})
	refused(t, err, restart.CodeForbidden, "192.0.2.1 is not an address of this host")
	// By name, too: the scenario's #host#.
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", name} {
		_, err := one(t, capture.Request{Method: "pprof", URL: strings.Replace(url, "127.0.0.1", strings.ToLower(name), 1)}, capture.Target{PID: self})
		if code := restart.CodeOf(err); code != "" && code != restart.CodeUnavailable || name == "localhost" && err != nil { // the host's name may be of another of its addresses
			t.Errorf("as %s: %v", name, err)
		}
	}
	// What answers must be the process itself, or may lead to it; no stranger.
	if notes := fmt.Sprint(mustOne(t, capture.Request{Method: "pprof", URL: url}, capture.Target{PID: os.Getppid()}).Header.Notes); !strings.Contains(notes, fmt.Sprintf("process %d listens, and not process %d itself", self, os.Getppid())) {
		t.Errorf("it is not said that another process listens: %s", notes)
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root: a stranger who listens can't be had")
		}
		t.Log("not root: without a stranger who listens")
	} else {
		stranger, output := program(t, "setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", "-c", strangeListener)
		said, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		_, err = one(t, capture.Request{Method: "pprof", URL: strings.TrimSpace(strings.TrimPrefix(string(said), "ready"))}, capture.Target{PID: self})
		refused(t, err, restart.CodeConflict, fmt.Sprintf("process %d of another user listens, and not process %d", stranger, self))
	}
	c = mustOne(t, capture.Request{}, capture.Target{PID: self})
	wants(t, c, capture.KernelMark)
	if c.Header.Runtime != dump.Go || !strings.Contains(c.Header.Notes[0], "no pprof endpoint") {
		t.Errorf("%+v", c.Header)
	}
}

// strangeListener says where it listens, and goes on until its input ends.
const strangeListener = `
import socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print("ready http://127.0.0.1:%d" % s.getsockname()[1], flush=True)
sys.stdin.read()
`

// A Go program catches QUIT, and ends by it: what a scenario calls it changes nothing.
func TestWrongRuntime(t *testing.T) {
	t.Parallel()
	pid, output := program(t, os.Args[0], goroutinesVerb)
	for _, r := range []capture.Request{
		{Runtime: dump.JVM, Method: "attach"}, {Runtime: dump.JVM, Method: "signal"}, {Runtime: dump.Python, Method: "signal", Signal: "QUIT"}, {Runtime: dump.JVM, Method: "signal", Log: output},
	} {
		_, err := one(t, r, capture.Target{PID: pid})
		refused(t, err, restart.CodeConflict, "does not run on "+string(r.Runtime), "found: go", "no signal")
	}
	if c := mustOne(t, capture.Request{Runtime: dump.JVM}, capture.Target{PID: pid}); c.Header.Method != "proc" {
		t.Errorf("%+v", c.Header)
	}
	if said, _ := os.ReadFile(output); strings.Contains(string(said), "SIGQUIT") {
		t.Errorf("it was ended: %s", said)
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	// A name that would forge a thread, if it could.
	dir := t.TempDir()
	name := filepath.Join(dir, "a\nthread 1 \"x")
	if out, err := exec.Command("cp", "/bin/sleep", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(name, "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	pid := cmd.Process.Pid
	awaitState(t, pid, 'S')
	c := mustOne(t, capture.Request{}, capture.Target{PID: pid})
	wants(t, c, capture.KernelMark+"\nName: a", fmt.Sprintf("\nthread %d \"a\\nthread 1 \\\"x\" S (sleeping)\n", pid), "nanosleep", "cpu: ")
	if d := parsed(t, c, dump.Kernel); len(d.Threads) != 1 || d.Threads[0].Name != "a\nthread 1 \"x" || d.Threads[0].Native != int64(pid) {
		t.Errorf("%+v", d.Threads)
	}
	if n := strings.Count(string(c.Raw), "\nthread "); n != 1 {
		t.Errorf("%d threads:\n%s", n, c.Raw)
	}
	if c.Header.Method != "proc" || c.Header.Runtime != dump.Process || !regexp.MustCompile(`a\\nthread 1 "x 1000$`).MatchString(c.Header.Command) {
		t.Errorf("%+v", c.Header)
	}
	for _, method := range []string{"attach", "signal", "py-spy"} {
		_, err := one(t, capture.Request{Method: method}, capture.Target{PID: pid})
		refused(t, err, restart.CodeConflict)
	}
	unix.Kill(pid, unix.SIGSTOP)
	awaitState(t, pid, 'T')
	wants(t, mustOne(t, capture.Request{}, capture.Target{PID: pid}), "T (stopped)")
}

func TestNoSuchProcess(t *testing.T) {
	t.Parallel()
	zombie := exec.Command("/bin/true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer zombie.Wait()
	awaitState(t, zombie.Process.Pid, 'Z')
	for name, c := range map[string]struct {
		target capture.Target
		code   restart.Code
		words  string
	}{
		"none":          {capture.Target{PID: 1 << 22}, restart.CodeNotFound, "there is no process 4194304"},
		"zero":          {capture.Target{}, restart.CodeInvalid, "not the number of a process"},
		"negative":      {capture.Target{PID: -1}, restart.CodeInvalid, "not the number of a process"},
		"itself":        {capture.Target{PID: os.Getpid()}, restart.CodeInvalid, "takes the dump"},
		"a zombie":      {capture.Target{PID: zombie.Process.Pid}, restart.CodeNotFound, "zombie"},
		"another life":  {capture.Target{PID: os.Getppid(), StartTime: 1}, restart.CodeNotFound, "its number belongs to another process now"},
		"of the kernel": {capture.Target{PID: 2}, restart.CodeInvalid, "a thread of the kernel"},
		"a mere thread": {capture.Target{PID: otherThread(t)}, restart.CodeInvalid, "is a thread, and not a process"},
	} {
		if name == "of the kernel" {
			if b, _ := os.ReadFile("/proc/2/comm"); strings.TrimSpace(string(b)) != "kthreadd" {
				continue // in a container with numbers of its own
			}
		}
		_, err := one(t, capture.Request{}, c.target)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		refused(t, err, c.code, c.words)
	}
}

func otherThread(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if tid, _ := strconv.Atoi(task.Name()); tid != os.Getpid() {
			return tid
		}
	}
	t.Fatal("this program has one thread")
	return 0
}

func TestFind(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("find-me-%d", os.Getpid())
	// It has an argument that can be found, and a port.
	pid, _ := program(t, "/bin/sh", "-c", "echo ready; read x # "+mark)
	find := func(ref capture.Ref) (capture.Target, error) { return capture.Find(t.Context(), ref) }
	got, err := find(capture.Ref{Command: mark + "$"})
	if err != nil || got.PID != pid || got.StartTime == 0 {
		t.Errorf("%+v, %v; want %d", got, err, pid)
	}
	file := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(file, fmt.Appendln(nil, pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := find(capture.Ref{PIDFile: file}); err != nil || got.PID != pid {
		t.Errorf("%+v, %v; want %d", got, err, pid)
	}
	listener, err := net.Listen("tcp", "127.0.0.57:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got, err := find(capture.Ref{Port: listener.Addr().String()}); err != nil || got.PID != os.Getpid() {
		t.Errorf("%+v, %v; want %d", got, err, os.Getpid())
	}
	second, _ := program(t, "/bin/sh", "-c", "echo ready; read x # "+mark)
	_, err = find(capture.Ref{Command: mark})
	refused(t, err, restart.CodeConflict, "2 processes", strconv.Itoa(pid), strconv.Itoa(second))
	_, err = find(capture.Ref{Command: "no such " + mark})
	refused(t, err, restart.CodeNotFound, "no process on this host")
	_, err = find(capture.Ref{PIDFile: file + ".none"})
	refused(t, err, restart.CodeNotFound, "there is no pid file")
	listener.Close()
	_, err = find(capture.Ref{Port: listener.Addr().String()})
	refused(t, err, restart.CodeNotFound, "nothing listens")
	for _, ref := range []capture.Ref{{}, {Port: "1", PIDFile: "/x"}, {Command: "("}, {Command: "x*"}, {Command: strings.Repeat("x", 1001)}, {PIDFile: "x"}, {Port: "0"}, {Unit: "-x"}} {
		_, err := find(ref)
		refused(t, err, restart.CodeInvalid)
	}
}

// Where a unit's main process is a shell around one program, that one is meant.
func TestShellAround(t *testing.T) {
	t.Parallel()
	shell, _ := program(t, "/bin/sh", "-c", python(t)+" testdata/faulting.py; true")
	inner := child(t, shell)
	st, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", shell))
	if err != nil || !strings.Contains(string(st), "(sh)") {
		t.Fatalf("%s, %v", st, err)
	}
	if got := capture.Wrapped(capture.Target{PID: shell}); got.PID != inner || got.StartTime == 0 {
		t.Errorf("%+v, want %d", got, inner)
	}
	if got := capture.Wrapped(capture.Target{PID: inner, StartTime: 7}); got != (capture.Target{PID: inner, StartTime: 7}) {
		t.Errorf("a program that is no shell became %+v", got)
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	// The unit's output is a socket, and its journal a script over a file.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	log, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	copied := make(chan struct{})
	go func() { defer close(copied); log.ReadFrom(ours) }()
	cmd := exec.Command(python(t), "testdata/faulting.py", "SIGUSR2")
	cmd.Stdout, cmd.Stderr = theirs, theirs
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	defer func() { input.Close(); cmd.Process.Kill(); cmd.Wait(); <-copied }()
	for range 4000 {
		if b, _ := os.ReadFile(log.Name()); strings.Contains(string(b), "ready") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	journalctl := filepath.Join(t.TempDir(), "journalctl")
	script := `#!/bin/sh
case "$*" in
"--quiet --no-pager --output=cat --lines=1 --show-cursor") echo "last line"; echo "-- cursor: s=1;i=2" ;;
"--quiet --no-pager --output=cat --unit=shop.service --after-cursor=s=1;i=2") cat ` + log.Name() + ` ;;
*) echo "wrong: $*" >&2; exit 1 ;;
esac
`
	if err := os.WriteFile(journalctl, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	take := func(r capture.Request) (c capture.Captured, err error) {
		err = capture.System{Journalctl: journalctl}.Take(t.Context(), r, capture.Target{PID: cmd.Process.Pid}, func(got capture.Captured) error { c = got; return nil })
		return c, err
	}
	c, err := take(capture.Request{Signal: "USR2", Method: "signal", Unit: "shop.service"})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, c, "(most recent call first)", "in wait_for_work")
	if len(c.Header.Notes) != 1 || !strings.Contains(c.Header.Notes[0], "read from the journal of shop.service") {
		t.Errorf("%q", c.Header.Notes)
	}
	_, err = take(capture.Request{Signal: "USR2", Method: "signal", Unit: "other.service"})
	refused(t, err, restart.CodeUnavailable, "the journal can't be read", "wrong: ")
}

// Output that ends nowhere that can be read back: nothing is sent.
func TestOutputNowhere(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	if err := os.Symlink("/etc/passwd", log); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(t.TempDir(), "linked") // by whoever may write to the folder above
	if err := os.Symlink("/var/log", linked); err != nil {
		t.Fatal(err)
	}
	for output, c := range map[string]struct{ log, why string }{
		"2>/dev/null":        {"", "is thrown away"},
		"2>&1 >/dev/null":    {"", "a pipe to another program"},
		"2>&-":               {"", "has closed its output"},
		"2>/dev/null ":       {log, "is a link"},
		"2>/dev/null  ":      {filepath.Dir(log), "is not a regular file"},
		"2>/dev/null     \n": {"/nonexistent/log", "no such file"},
		"2>/dev/null      ":  {filepath.Join(linked, "log"), "a folder above it is one"},
		"2</etc/passwd":      {"", "can't write there itself"},
	} {
		t.Run(output, func(t *testing.T) {
			// It says that it is ready to the shell's third descriptor.
			cmd := exec.Command("/bin/sh", "-c", "exec "+python(t)+" -c 'import faulthandler,signal,sys,os;faulthandler.register(signal.SIGUSR1,file=3);os.write(3,b\"ready\");sys.stdin.read()' "+output)
			said, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer said.Close()
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			if output == "2>&1 >/dev/null" {
				cmd.Stdout = write
			}
			cmd.ExtraFiles = []*os.File{write}
			input, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			write.Close()
			defer func() { input.Close(); cmd.Process.Kill(); cmd.Wait() }()
			if _, err := io.ReadFull(read, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			_, err = one(t, capture.Request{Method: "signal", Signal: "USR1", Log: c.log}, capture.Target{PID: cmd.Process.Pid})
			refused(t, err, restart.CodeUnavailable, c.why)
		})
	}
}
