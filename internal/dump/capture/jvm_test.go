package capture_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump/capture"
)

// home is where a JDK of a version is, "" = it is not there.
func home(version string) string {
	for _, pattern := range []string{"/usr/lib/jvm/java-" + version + "-openjdk-*", "/usr/lib/jvm/temurin-" + version + "-jdk-*"} {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			if _, err := os.Stat(dir + "/bin/java"); err == nil {
				return dir
			}
		}
	}
	return ""
}

// java17 is what scripts/deps.sh installs.
func java17(t testing.TB) string {
	t.Helper()
	dir := home("17")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no JDK 17: scripts/deps.sh installs it")
		}
		t.Skip("no JDK 17: scripts/deps.sh installs it")
	}
	return dir
}

// java25 is not to be had from every distribution.
func java25(t testing.TB) string {
	t.Helper()
	dir := home("25")
	if dir == "" {
		fmt.Fprintln(os.Stderr, "=== NOT TESTED HERE: virtual threads and the newest attach protocol: there is no JDK 25 in /usr/lib/jvm")
		t.Skip("there is no JDK 25")
	}
	return dir
}

var classes = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("/var/tmp", "capture-classes-") // a JVM with a /tmp of its own reads them too
	if err != nil {
		return "", err
	}
	atEnd(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	out, err := exec.Command(home("17")+"/bin/javac", "--release", "8", "-nowarn", "-Xlint:-options", "-d", dir, "testdata/Dumped.java").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("javac: %w: %s", err, out)
	}
	return dir, nil
})

var ending struct {
	sync.Mutex
	all []func()
}

func atEnd(do func()) {
	ending.Lock()
	defer ending.Unlock()
	ending.all = append(ending.all, do)
}

func stopJVMs() {
	for _, do := range ending.all {
		do()
	}
}

// jvm is a JVM that runs Dumped.
type jvm struct {
	pid    int
	cmd    *exec.Cmd
	input  *os.File
	stdout string // file
}

func (j *jvm) target() capture.Target { return capture.Target{PID: j.pid} }

// start starts a JVM; before are words that go before java, as setpriv.
func start(t testing.TB, home string, before []string, options []string, arguments ...string) *jvm {
	t.Helper()
	dir, err := classes()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := os.CreateTemp("", "capture-jvm-") //nolint:usetesting // it outlives the test that starts a shared JVM
	if err != nil {
		t.Fatal(err)
	}
	atEnd(func() { os.Remove(stdout.Name()) })
	defer stdout.Close()
	words := append([]string{}, before...)
	words = append(words, home+"/bin/java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m", "-XX:-UsePerfData")
	words = append(append(words, options...), "-cp", dir, "Dumped")
	words = append(words, arguments...)
	j := &jvm{cmd: exec.Command(words[0], words[1:]...), stdout: stdout.Name()}
	theirs, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	j.input = input
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = theirs, stdout, stdout
	j.cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "SECRET_OF_THE_ENVIRONMENT=hunter3"}
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: 0, Setpgid: true}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j.pid = j.cmd.Process.Pid
	j.await(t, "ready")
	return j
}

// await waits until the JVM has said a word.
func (j *jvm) await(t testing.TB, word string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if b, _ := os.ReadFile(j.stdout); strings.Contains(string(b), word) {
			return
		}
	}
	b, _ := os.ReadFile(j.stdout)
	t.Fatalf("the JVM did not say %q within 30 s: %s", word, b)
}

func (j *jvm) stop() {
	j.input.Close()
	syscall.Kill(-j.cmd.Process.Pid, syscall.SIGCONT)
	syscall.Kill(-j.cmd.Process.Pid, syscall.SIGKILL)
	j.cmd.Wait()
	os.Remove(fmt.Sprintf("/tmp/.java_pid%d", j.cmd.Process.Pid)) // as the JVM does where it ends by itself
}

// shared starts a JVM once for all tests of the binary.
func shared(home func(testing.TB) string, options []string, arguments ...string) func(t testing.TB) *jvm {
	var once sync.Once
	var j *jvm
	return func(t testing.TB) *jvm {
		t.Helper()
		dir := home(t)
		once.Do(func() {
			j = start(t, dir, nil, options, arguments...)
			atEnd(j.stop)
		})
		if j == nil {
			t.Fatal("the JVM did not start")
		}
		return j
	}
}

var (
	jvm17 = shared(java17, []string{"-Ddb.password=s3cr3t", "-Descapes=true"}, "200")
	jvm25 = shared(java25, nil, "10", "30")
)

// child finds the one child of a process.
func child(t testing.TB, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var found int
	if _, err := fmt.Fscan(bufio.NewReader(f), &found); err != nil {
		t.Fatalf("process %d has no child: %v", pid, err)
	}
	return found
}
