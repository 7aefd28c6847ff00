package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// process starts a program until the test ends, and lays its number into a file.
func (b *bed) process(name string, arg ...string) *exec.Cmd {
	b.t.Helper()
	cmd := exec.Command(name, arg...)
	b.must(cmd.Start())
	b.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	b.write("pid", []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
	return cmd
}

// dumping lays a scenario that takes dumps of that process.
func (b *bed) dumping(more string) string {
	b.t.Helper()
	text := "format: 1\nname: shop-dump\nserial: 1\nauthor: anna@example.com\nkind: thread-dump\nservices: [shop]\ndescription: for a test\n" +
		"dump:\n  process: {pid_file: " + b.path("pid") + "}\n" + more
	digest := scenario.Digest([]byte(text))
	if _, err := scenario.Parse([]byte(text)); err != nil {
		b.t.Fatalf("%v in:\n%s", err, text)
	}
	b.write("scenarios.d/"+digest[:12]+".yaml", []byte(text), 0o644)
	return digest
}

func (b *bed) dumpTask(digest string) protocol.Envelope {
	e := b.envelope(digest)
	e.Scenario = "shop-dump"
	return e
}

// dump fetches a dump, and insists that it is what was reported.
func (r *running) dump(id string, d protocol.DumpReport) (dump.Header, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/v1/tasks/%s/dumps/%d", r.url, id, d.N), nil)
	r.must(err)
	resp, err := r.client.Do(req)
	r.must(err)
	defer resp.Body.Close()
	packed, err := io.ReadAll(resp.Body)
	r.must(err)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != protocol.ContentDump || int64(len(packed)) != d.Stored {
		r.t.Fatalf("dump %d: %s, %v, %d bytes, %d were reported", d.N, resp.Status, resp.Header, len(packed), d.Stored)
	}
	return r.unpack(packed, d)
}

func (b *bed) unpack(packed []byte, d protocol.DumpReport) (dump.Header, string) {
	b.t.Helper()
	text, err := pack.Bytes(bytes.NewReader(packed))
	b.must(err)
	line, raw, _ := bytes.Cut(text, []byte("\n"))
	h, ok, err := dump.ReadHeader(line)
	if err != nil || !ok || int64(len(text)) != d.Size || h.PID != d.PID || h.Number != d.Number || h.Of != d.Of || h.Host != testHost || h.Service != testService || h.Method != d.Method {
		b.t.Fatalf("%d bytes, header %+v, %v; reported: %+v", len(text), h, err, d)
	}
	return h, string(raw)
}

func dumps(n int) func(protocol.TaskStatus) bool {
	return func(s protocol.TaskStatus) bool { return len(s.Dumps) >= n }
}

// TestDumpsComeOneByOne: the first dump of a series can be fetched while the
// series goes on; the agent may die meanwhile.
func TestDumpsComeOneByOne(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	target := b.process("sleep", "600").Process.Pid
	e := b.dumpTask(b.dumping("  count: 3\n  interval: 1500ms\n"))
	r := b.start()
	r.submit(e)
	s := r.until(e.Task, dumps(1))
	if s.Stage == restart.StageDone || s.Phase != protocol.PhaseRun || s.Dumps[0].PID != target || s.Dumps[0].Runtime != dump.Process {
		t.Errorf("after the first dump: %+v", s)
	}
	if _, raw := r.dump(e.Task, s.Dumps[0]); !strings.Contains(raw, "sleep") {
		t.Errorf("the first dump:\n%s", raw)
	}
	wantCode(t, r.call(http.MethodGet, "/v1/tasks/"+e.Task+"/dumps/3", nil, nil), restart.CodeNotFound)
	r.kill() // the supervisor goes on
	r = b.start()
	s = r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeSucceeded || len(s.Dumps) != 3 || len(s.Warnings) > 0 || s.ExitCode != nil {
		t.Fatalf("%+v", s)
	}
	for i, d := range s.Dumps {
		if d.N != i+1 || d.When != protocol.DumpRun || d.Error != "" {
			t.Errorf("dump %d: %+v", i+1, d)
		}
		r.dump(e.Task, d)
	}
	out := text(r.output(e.Task))
	for i := 1; i <= 3; i++ {
		if !strings.Contains(out, fmt.Sprintf("dump %d of 3: process %d by proc, ", i, target)) {
			t.Errorf("output:\n%s", out)
		}
	}
	for _, n := range []string{"4", "0", "-1", "99"} {
		wantCode(t, r.call(http.MethodGet, "/v1/tasks/"+e.Task+"/dumps/"+n, nil, nil), restart.CodeNotFound)
	}
	for _, n := range []string{"x", "01", "1.zst", "%2e%2e"} {
		wantCode(t, r.call(http.MethodGet, "/v1/tasks/"+e.Task+"/dumps/"+n, nil, nil), restart.CodeInvalid)
	}
	wantCode(t, r.call(http.MethodGet, "/v1/tasks/"+restart.NewID(time.Now())+"/dumps/1", nil, nil), restart.CodeNotFound)
	_, err := r.forget(e, 1)
	b.must(err)
	wantCode(t, r.call(http.MethodGet, "/v1/tasks/"+e.Task+"/dumps/1", nil, nil), restart.CodeTombstone)
	if left, _ := filepath.Glob(b.spoolDir + "/*/dump-*"); len(left) > 0 {
		t.Errorf("left in the spool: %v", left)
	}
}

// TestADumpThatIsCutShort: what was taken is kept, and what became of the rest
// is known, whoever ended it. A dump leaves nothing behind that is unknown.
func TestADumpThatIsCutShort(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	target := b.process("sleep", "600")
	digest := b.dumping("  count: 20\n  interval: 5s\n")
	r := b.start()

	e := b.dumpTask(digest)
	r.submit(e)
	r.until(e.Task, dumps(1))
	_, err := r.cancel(e, 1)
	b.must(err)
	s := r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeCancelled || len(s.Dumps) != 1 || !strings.Contains(s.Error, "1 of 20 dumps were taken") {
		t.Errorf("cancelled: %+v", s)
	}
	r.dump(e.Task, s.Dumps[0])

	e = b.dumpTask(digest) // a rehearsal finds the process, and takes none
	e.Only = protocol.OnlyRehearse
	r.submit(e)
	s = r.until(e.Task, done)
	if out := text(r.output(e.Task)); s.Outcome != protocol.OutcomeSucceeded || len(s.Dumps) > 0 || !strings.Contains(out, "20 thread dumps, one every 5s, of the process in "+b.path("pid")) ||
		!strings.Contains(out, fmt.Sprintf("that is process %d now: process", target.Process.Pid)) {
		t.Errorf("rehearsed: %+v\n%s", s, out)
	}

	e = b.dumpTask(digest)
	r.submit(e)
	r.until(e.Task, dumps(1))
	killSupervisor(e.Task)
	s = r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeFailed || !strings.Contains(s.Error, "nothing was changed") || len(s.Dumps) != 1 {
		t.Errorf("its supervisor was killed: %+v", s)
	}
	r.dump(e.Task, s.Dumps[0])

	e = b.dumpTask(digest)
	r.submit(e)
	r.until(e.Task, dumps(1))
	target.Process.Kill()
	target.Wait()
	s = r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeSucceeded || len(s.Dumps) != 1 || len(s.Warnings) != 1 || !strings.HasPrefix(s.Warnings[0], "1 of 20 dumps were taken: ") {
		t.Errorf("the process ended: %+v", s)
	}

	e = b.dumpTask(digest) // of nobody, now
	r.submit(e)
	s = r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeFailed || s.FailedPhase != protocol.PhaseRun || !strings.HasPrefix(s.Error, "run: ") || len(s.Dumps) != 0 {
		t.Errorf("there is no process: %+v", s)
	}
}

// TestAScriptThatPrintsADump: it is one like any other. What is none stays output.
func TestAScriptThatPrintsADump(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	r := b.start()
	const goroutines = "goroutine 1 [chan receive, 5 minutes]:\nmain.main()\n\t/src/shop/main.go:17 +0x1d\n"
	for printed, want := range map[string]int{goroutines: 1, "nothing hangs here\n": 0} {
		b.write("printed", []byte(printed), 0o644)
		text := "format: 1\nname: shop-dump\nserial: 1\nauthor: anna@example.com\nkind: thread-dump\nservices: [shop]\ndescription: for a test\nsteps:\n  run: {script: \"cat " + b.path("printed") + "\"}\n"
		b.write("scenarios.d/script.yaml", []byte(text), 0o644)
		e := b.dumpTask(scenario.Digest([]byte(text)))
		r.submit(e)
		s := r.until(e.Task, done)
		if s.Outcome != protocol.OutcomeSucceeded || len(s.Dumps) != want || !strings.HasPrefix(textOf(r, e.Task), printed) {
			t.Errorf("%q: %+v", printed, s)
		}
		for _, d := range s.Dumps {
			if h, raw := r.dump(e.Task, d); h.Runtime != dump.Go || h.Method != "script" || raw != printed {
				t.Errorf("%+v\n%s", h, raw)
			}
		}
	}
}

func textOf(r *running, id string) string { return text(r.output(id)) }

// TestRunAsNarrowsADump: it is taken with the rights of that user alone, who
// can't read where the process's number lies.
func TestRunAsNarrowsADump(t *testing.T) {
	needRoot(t)
	b := newBed(t)
	b.process("sleep", "600")
	r := b.start()
	for more, want := range map[string]string{"": "", "run_as: nobody\n": "permission denied"} {
		e := b.dumpTask(b.dumping("  count: 1\n" + more))
		r.submit(e)
		s := r.until(e.Task, done)
		if (s.Outcome == protocol.OutcomeSucceeded) != (want == "") || !strings.Contains(s.Error, want) {
			t.Errorf("%q: %+v", more, s)
		}
	}
}

// TestADiskThatIsFullKeepsNoDump: the task goes on, and says so.
func TestADiskThatIsFullKeepsNoDump(t *testing.T) {
	b := newBed(t)
	b.smallSpool("2m")
	b.process("sleep", "600")
	e := b.dumpTask(b.dumping("  count: 2\n  interval: 1s\n"))
	r := b.start()
	r.submit(e)
	r.until(e.Task, dumps(1))
	release := b.fill()
	s := r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeSucceeded || len(s.Dumps) != 2 || s.Dumps[1].Stored != 0 || !strings.Contains(s.Dumps[1].Error, "no room") || len(s.Warnings) == 0 {
		t.Errorf("%+v", s)
	}
	r.dump(e.Task, s.Dumps[0])
	wantCode(t, r.call(http.MethodGet, "/v1/tasks/"+e.Task+"/dumps/2", nil, nil), restart.CodeNotFound)
	_, err := r.forget(e, 1)
	b.must(err)
	release()
}

// jvm starts one that sleeps, and waits until it does.
func (b *bed) jvm() *exec.Cmd {
	b.t.Helper()
	if out, err := exec.Command("java", "--list-modules").Output(); err != nil || !bytes.Contains(out, []byte("jdk.compiler")) {
		missing(b.t, "a JDK: install openjdk-17-jdk-headless")
	}
	source := b.write("Shop.java", []byte(`public class Shop { public static void main(String[] a) throws Exception {
		java.nio.file.Files.writeString(java.nio.file.Path.of(a[0]), "ready"); Thread.currentThread().setName("shop-main"); Thread.sleep(600000); } }`), 0o644)
	cmd := b.process("java", "-Xint", "-XX:+UseSerialGC", source, b.path("ready"))
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, err := os.Stat(b.path("ready")); err == nil {
			return cmd
		}
		if time.Now().After(deadline) {
			b.t.Fatal("the JVM did not start")
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestDumpsAsEvidence: a change keeps a dump from before and one from after,
// and a server can have the evidence alone. A JVM that hangs is no reason to
// wait for longer than was said.
func TestDumpsAsEvidence(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	java := b.jvm()
	digest := b.scenario("evidence: [process, {thread-dump: true, required: true}]\nsteps:\n  run: {script: \"true\"}\nhealth:\n  command: {script: \"true\"}\n")
	r := b.start()
	// Which process it is, nobody says: this service has no unit.
	e := b.envelope(digest)
	r.submit(e)
	if s := r.until(e.Task, done); s.Outcome != protocol.OutcomeFailed || s.FailedPhase != protocol.PhaseEvidence || !strings.Contains(s.Error, "thread-dump is required") || len(s.Dumps) > 0 {
		t.Errorf("without a process: %+v", s)
	}

	text := "format: 1\nname: shop-restart\nserial: 1\nauthor: anna@example.com\nkind: restart\nservices: [shop]\ndescription: for a test\n" +
		"evidence: [process, {thread-dump: true, required: true}]\nsteps:\n  run: {script: \"true\"}\nhealth:\n  new_process: {pid_file: " + b.path("pid") + "}\n  deadline: 1s\n  interval: 200ms\n"
	digest = scenario.Digest([]byte(text))
	b.write("scenarios.d/evidence.yaml", []byte(text), 0o644)
	e = b.envelope(digest)
	r.submit(e)
	s := r.until(e.Task, done)
	// Nothing was restarted, so that it fails; what was seen is there all the same.
	if s.Outcome != protocol.OutcomeFailed || s.FailedPhase != protocol.PhaseHealth || len(s.Dumps) != 2 || s.Dumps[0].When != protocol.DumpEvidence || s.Dumps[1].When != protocol.DumpAfter || len(s.Warnings) > 0 {
		t.Fatalf("%+v", s)
	}
	for _, d := range s.Dumps {
		if h, raw := r.dump(e.Task, d); h.Runtime != dump.JVM || h.Method != "attach" || !strings.Contains(raw, `"shop-main"`) {
			t.Errorf("%+v\n%s", h, raw)
		}
	}
	kinds := ""
	for _, item := range s.Evidence {
		kinds += fmt.Sprintf("%s%s ", item.Kind, item.When)
		if item.Error != "" || !strings.Contains(item.Text, strconv.Itoa(java.Process.Pid)) {
			t.Errorf("%+v", item)
		}
	}
	if kinds != "process thread-dump processafter thread-dumpafter " {
		t.Errorf("evidence: %s", kinds)
	}

	hangsAgain(b, r, java)

	ask := protocol.EvidenceRequest{Service: testService, Environment: "testing", Group: "shop-testing", Digest: digest}
	var report protocol.EvidenceReport
	b.must(r.call(http.MethodPost, "/v1/evidence", ask, &report))
	if len(report.Items) != 2 || report.Items[1].Error != "" || report.Report == nil || report.Report.When != protocol.DumpEvidence || int64(len(report.Dump)) != report.Report.Stored {
		t.Fatalf("%+v", report)
	}
	if _, raw := b.unpack(report.Dump, *report.Report); !strings.Contains(raw, `"shop-main"`) {
		t.Errorf("evidence alone:\n%s", raw)
	}
	hung(t, r, java, ask)
	for name, bad := range map[restart.Code]protocol.EvidenceRequest{
		restart.CodeInvalid: {Service: "../x", Digest: digest}, restart.CodeUnknownService: {Service: "nginx", Digest: digest}, restart.CodeNotReviewed: {Service: testService, Digest: strings.Repeat("0", 64)},
	} {
		wantCode(t, r.call(http.MethodPost, "/v1/evidence", bad, nil), name)
	}
	wantCode(t, r.call(http.MethodPost, "/v1/evidence", map[string]string{"run": "rm -rf"}, nil), restart.CodeInvalid)
	asked, err := os.ReadFile(filepath.Join(b.spoolDir, "asked.jsonl"))
	if err != nil || bytes.Count(asked, []byte(`"evidence.taken"`)) != 2 {
		t.Errorf("the host's own record: %v\n%s", err, asked)
	}
}

// hangsAgain restarts a service whose JVM does not answer after the change: its
// attach listener serves somebody who says nothing. The kernel's view comes all
// the same, within the time for what is seen after a change.
func hangsAgain(b *bed, r *running, java *exec.Cmd) {
	b.t.Helper()
	text := "format: 1\nname: shop-restart\nserial: 2\nauthor: anna@example.com\nkind: restart\nservices: [shop]\ndescription: for a test\n" +
		"evidence: [thread-dump]\nsteps:\n  run: {script: \"until [ -e " + b.path("go") + " ]; do sleep 0.05; done\"}\n" +
		"health:\n  new_process: {pid_file: " + b.path("pid") + "}\n  deadline: 1s\n  interval: 200ms\n"
	b.write("scenarios.d/hangs.yaml", []byte(text), 0o644)
	e := b.envelope(scenario.Digest([]byte(text)))
	r.submit(e)
	r.until(e.Task, dumps(1))
	silent, err := net.Dial("unix", fmt.Sprintf("/tmp/.java_pid%d", java.Process.Pid))
	b.must(err)
	defer silent.Close()
	b.write("go", nil, 0o644)
	s := r.until(e.Task, done)
	if len(s.Dumps) != 2 || s.Dumps[0].Method != "attach" || len(s.Warnings) > 0 {
		b.t.Fatalf("of a JVM that hangs again: %+v", s)
	}
	if d := s.Dumps[1]; d.When != protocol.DumpAfter || d.Method != "proc" || d.Stored == 0 || len(d.Notes) < 2 {
		b.t.Errorf("of a JVM that hangs again: %+v", d)
	}
}

// hung asks for the evidence of a JVM that stands still, twice at once.
func hung(t *testing.T, r *running, java *exec.Cmd, ask protocol.EvidenceRequest) {
	t.Helper()
	r.must(java.Process.Signal(unix.SIGSTOP))
	defer java.Process.Signal(unix.SIGCONT)
	begun := time.Now()
	var reports [2]protocol.EvidenceReport
	var errs [2]error
	var both sync.WaitGroup
	for i := range errs {
		both.Go(func() { errs[i] = r.call(http.MethodPost, "/v1/evidence", ask, &reports[i]) })
	}
	both.Wait()
	first := 0 // of the two, whichever it was
	if errs[0] != nil {
		first = 1
	}
	report := reports[first]
	if errs[first] != nil || restart.CodeOf(errs[1-first]) != restart.CodeBusy {
		t.Errorf("twice at once: %v, %v", errs[0], errs[1])
	}
	if took := time.Since(begun); took > protocol.EvidenceWait {
		t.Errorf("it took %s", took)
	}
	// What the runtime does not tell, the kernel does; that it stands still is said.
	if len(report.Items) != 2 || report.Report == nil || report.Report.Method != "proc" || len(report.Report.Notes) == 0 || report.Items[0].Error != "" {
		t.Errorf("of a JVM that stands still: %+v", report)
	}
}
