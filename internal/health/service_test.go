package health_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also the service that the tests look at: started again
// with this variable set, it listens, writes its pid file, and lives until its
// standard input is closed, so that no test can leave one behind.
const serviceVariable = "HEALTH_TEST_SERVICE"

func TestMain(m *testing.M) {
	switch os.Getenv(serviceVariable) {
	case "":
		os.Setenv("HTTP_PROXY", "http://127.0.0.37:1") // which no probe may ask; net/http reads it once
		goleak.VerifyTestMain(m)
	case "serve":
		serve(os.Args[1], os.Args[2])
	case "parent":
		parent(os.Args[1])
	case "worker":
		ready()
	}
}

// serve answers "pid PID" at every path but those that misbehave.
func serve(address, pidFile string) {
	listener, err := net.Listen("tcp", address)
	exitOn(err)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "pid %d\n", os.Getpid()) })
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", 1<<20)+"needle")
	})
	go http.Serve(listener, mux)
	if pidFile != "" {
		exitOn(os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644))
	}
	ready()
}

// parent listens and hands the socket to a worker, as nginx does.
func parent(address string) {
	listener, err := net.Listen("tcp", address)
	exitOn(err)
	shared, err := listener.(*net.TCPListener).File()
	exitOn(err)
	self, err := os.Executable()
	exitOn(err)
	worker := exec.Command(self)
	worker.Env = []string{serviceVariable + "=worker", "GORACE=atexit_sleep_ms=0"}
	worker.ExtraFiles = []*os.File{shared}
	worker.Stdin = os.Stdin
	out, err := worker.StdoutPipe()
	exitOn(err)
	exitOn(worker.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	exitOn(err)
	ready()
	worker.Wait()
}

// ready tells the test so, and waits for the end of standard input.
func ready() {
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// service is such a process, running.
type service struct {
	cmd *exec.Cmd
	in  io.Closer
}

// start gives a service once it is ready.
func start(t *testing.T, mode string, args ...string) *service {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = []string{serviceVariable + "=" + mode, "GORACE=atexit_sleep_ms=0"}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &service{cmd, in}
	t.Cleanup(s.stop)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("service says %q, %v", line, err)
	}
	return s
}

func (s *service) pid() int { return s.cmd.Process.Pid }

// kill leaves the process dead and, as its parent has not looked, a zombie.
func (s *service) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func (s *service) stop() {
	s.in.Close()
	s.cmd.Wait()
}

// freeAddress gives an address of this host where nothing listens, on a
// loopback address of its own so that parallel tests don't meet.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.37:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
