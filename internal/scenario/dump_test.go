package scenario_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/scenarios"
)

// dump runs the shipped scenario on a process, as a host does: the rendered
// bytes by /bin/sh -eu. Only systemctl, which names the process, is stood in
// for: where the tests run, no systemd looks after it.
func dump(t *testing.T, name string, pid int) (stdout, stderr string, err error) {
	t.Helper()
	b, err := scenarios.Files.ReadFile(name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := scenario.Render(parse(t, string(b)), scenario.Facts{Service: "shop", Unit: "shop.service", Host: "web1"})
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	systemctl := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = 'show --property=MainPID --value shop.service' ] && echo %d\n", pid)
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(systemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", r.Run.Script)
	cmd.Env = []string{"PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// start runs a program until the test ends.
func start(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func TestProcessDump(t *testing.T) {
	out, errs, err := dump(t, "process-dump", os.Getpid())
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	for _, want := range []string{
		fmt.Sprintf("unit shop.service, host web1, main process %d\n", os.Getpid()), "\nThreads:", fmt.Sprintf("\nthread %d \"", os.Getpid()), "\nState:", "\nwchan: ", "\nsystem call: ", "\nkernel stack:\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if threads := strings.Count(out, "\nthread "); threads < 2 {
		t.Errorf("%d threads", threads)
	}
	if errs != "" {
		t.Errorf("stderr: %s", errs)
	}
	if out, errs, err := dump(t, "process-dump", 0); err == nil || errs != "shop.service has no main process\n" {
		t.Errorf("of a unit that is down: %v\n%s%s", err, out, errs)
	}
}

// TestJVMDumpSparesOthers: QUIT kills what does not catch it.
func TestJVMDumpSparesOthers(t *testing.T) {
	sleeper := start(t, exec.Command("sleep", "60"))
	out, errs, err := dump(t, "jvm-dump", sleeper.Process.Pid)
	if want := fmt.Sprintf("the main process of shop.service, %d, is not a JVM; nothing was done\n", sleeper.Process.Pid); err == nil || errs != want {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", sleeper.Process.Pid))
	if err != nil || !strings.Contains(string(status), "(sleeping)") {
		t.Errorf("the process is gone: %v\n%s", err, status)
	}
}

const javaProgram = `public class Wait { public static void main(String[] a) throws Exception { System.out.println("ready"); Thread.sleep(60000); } }`

// TestJVMDump dumps a real JVM that writes to a file, and leaves one alone that
// would die of the signal.
func TestJVMDump(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "Wait.java")
	if err := os.WriteFile(source, []byte(javaProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "out.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	java := func(flags ...string) int {
		log.Truncate(0)
		cmd := exec.Command("java", append(flags, source)...)
		cmd.Stdout, cmd.Stderr = log, log
		pid := start(t, cmd).Process.Pid
		await(t, log.Name(), "ready")
		return pid
	}

	pid := java("-Xshare:auto")
	for range 2 { // the second shows the second dump only
		out, errs, err := dump(t, "jvm-dump", pid)
		if err != nil || strings.Count(out, "Full thread dump") != 1 || !strings.Contains(out, `"main" #1`) || !strings.Contains(out, "JNI global ref") || strings.Contains(out, "ready") {
			t.Errorf("%v\n%s%s", err, out, errs)
		}
	}
	pid = java("-Xrs")
	out, errs, err := dump(t, "jvm-dump", pid)
	if want := fmt.Sprintf("the JVM %d does not catch QUIT (-Xrs?) and would die of it; nothing was done\n", pid); err == nil || errs != want {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
}

// needJava skips the test where there is no JVM that can run a source file,
// and fails it in CI.
func needJava(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("java", "--list-modules").Output(); err == nil && bytes.Contains(out, []byte("jdk.compiler")) {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("java is missing: install openjdk-17-jdk-headless")
	}
	t.Skip("needs a JDK: install openjdk-17-jdk-headless")
}

// await returns when the file holds the text.
func await(t *testing.T, file, text string) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte(text)) {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%q never came in %s", text, file)
		case <-look.C:
		}
	}
}
