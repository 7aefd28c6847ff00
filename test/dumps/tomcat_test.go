package dumps

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/test/company"
)

const catalina = "/usr/share/tomcat10"

// tomcat starts Debian's Tomcat with our little shop in it and 200 threads that
// serve, and gives its address.
func tomcat(t testing.TB) (jvm *process, url string) {
	t.Helper()
	base := t.TempDir()
	classes := filepath.Join(base, "webapps", "shop", "WEB-INF", "classes")
	for _, dir := range []string{classes, filepath.Join(base, "conf"), filepath.Join(base, "temp")} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	for from, to := range map[string]string{"server.xml": "conf/server.xml", "web.xml": "webapps/shop/WEB-INF/web.xml"} {
		b, err := os.ReadFile(filepath.Join("testdata", "tomcat", from))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(base, to), b, 0o644))
	}
	sources, err := filepath.Glob("testdata/tomcat/shop/*.java")
	must(t, err)
	compile(t, classes, catalina+"/lib/servlet-api.jar:"+catalina+"/lib/tomcat-jdbc.jar", sources...)
	port := freePort(t)
	words := append([]string{"java"}, quickly()...)
	words = append(words, "-Dcatalina.home="+catalina, "-Dcatalina.base="+base, "-Djava.io.tmpdir="+base+"/temp", "-Dshop.port="+port,
		"-cp", catalina+"/bin/bootstrap.jar:"+catalina+"/bin/tomcat-juli.jar", "org.apache.catalina.startup.Bootstrap", "start")
	return launch(t, "Server startup in", nil, words...), "http://127.0.0.1:" + port
}

// watched is the health of a service, as somebody beside it sees it.
type watched struct {
	asked   int
	failed  []error
	longest time.Duration
}

// watchHealth asks for the health every 50 ms until it is told to stop.
func watchHealth(t testing.TB, url string) (stop func() watched) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var w watched
	var watching sync.WaitGroup
	asker := &http.Client{Timeout: 10 * time.Second}
	watching.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			began := time.Now()
			if err := get(t.Context(), asker, url); err != nil {
				w.failed = append(w.failed, err)
			}
			w.asked, w.longest = w.asked+1, max(w.longest, time.Since(began))
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() watched { cancel(); watching.Wait(); return w }
}

// TestTomcat takes dumps of a Tomcat that first computes without end, then also
// has no connection left, then also has a deadlock: each time the verdict names
// the gravest, the findings name all, and the service's health answers.
func TestTomcat(t *testing.T) {
	t.Parallel()
	need(t, "java", "javac", "jcmd", catalina+"/bin/bootstrap.jar", catalina+"/lib/tomcat-jdbc.jar")
	dir := t.TempDir()
	jvm, url := tomcat(t)
	jvm.writePID(t, dir, "shop1.example.com")
	c := shop(t, 1, "", map[string]string{"shop-dump": pidDump("shop-dump", dir, "  count: 2\n  interval: 500ms\n")})
	stop := watchHealth(t, url+"/health")

	callers := &http.Client{Timeout: 5 * time.Minute}
	var answered atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	t.Cleanup(func() { cancel(); calls.Wait() })
	call := func(path string, times int) {
		for range times {
			calls.Go(func() {
				if get(ctx, callers, url+path) == nil {
					answered.Add(1)
				}
			})
		}
	}

	call("/price", 1)
	hot := aCore(t, jvm, func() analyse.Finding { return series(t, c, jvm, analyse.HotThread) })
	must(t, get(t.Context(), callers, url+"/price?enough"))
	if !strings.HasPrefix(hot.Subject, "http-nio-127.0.0.1-") || !strings.Contains(hot.Frame, "shop.Price.") || hot.Percent < 80 {
		t.Errorf("the hot thread: %s\n%+v", hot, hot)
	}
	call("/report", 5+7)
	c.Eventually("the price to be given up, and five connections to be gone", func() bool { return answered.Load() == 1+5 })
	none := series(t, c, jvm, analyse.Connections)
	if none.Subject != "Tomcat JDBC" || none.Threads != 7 || none.Dealing != 0 || none.Severity != analyse.Alarm {
		t.Errorf("the pool: %s\n%+v", none, none)
	}
	call("/transfer?from=left", 1)
	call("/transfer?from=right", 1)
	circle := series(t, c, jvm, analyse.Deadlocked)
	if len(circle.Names) != 2 || circle.Threads != 2 || !strings.HasPrefix(circle.Names[0], "http-nio-127.0.0.1-") || circle.Severity != analyse.Alarm {
		t.Errorf("the deadlock: %s\n%+v", circle, circle)
	}

	saved := t.TempDir()
	out, talk, code := c.CLI("dump", service, "--reason", reason, "--yes", "--out", saved)
	if code != 0 || !strings.Contains(strings.ToLower(out), "deadlock") || !strings.Contains(out, "Tomcat JDBC") {
		t.Errorf("the command line: exit %d\n%s\n%s", code, out, talk)
	}
	t.Logf("restartilka dump %s:\n%s\n%s", service, talk, out)
	health := stop()
	files, err := filepath.Glob(saved + "/*.txt")
	if must(t, err); len(files) != 2 {
		t.Errorf("saved: %v", files)
	}
	out, talk, code = c.CLI(append([]string{"analyse"}, files...)...)
	if code != 0 || !strings.Contains(strings.ToLower(out), "deadlock") || !strings.Contains(out, "Tomcat JDBC") {
		t.Errorf("offline: exit %d\n%s\n%s", code, out, talk)
	}
	t.Logf("restartilka analyse:\n%s", out)
	if len(health.failed) > 0 || health.asked < 20 {
		t.Errorf("the health was asked for %d times and did not answer %d times: %v", health.asked, len(health.failed), health.failed)
	}
	began := time.Now()
	if out, err := exec.Command("jcmd", strconv.Itoa(jvm.Process.Pid), "Thread.print", "-l").CombinedOutput(); err != nil {
		t.Errorf("jcmd: %v\n%s", err, out)
	}
	t.Logf("health: asked %d times, longest answer %s; jcmd took %s", health.asked, health.longest.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// aCore gives the thread of a JVM that works most a core of its own for as long
// as f takes: on a busy machine none is hot.
func aCore(t testing.TB, jvm *process, f func() analyse.Finding) analyse.Finding {
	t.Helper()
	var thread int
	waitFor(t, nil, func() (string, bool) {
		var spent time.Duration
		thread, spent = busiest(t, jvm.Process.Pid)
		return fmt.Sprintf("a thread that computes; %d did for %s", thread, spent), spent > 200*time.Millisecond
	})
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(thread, &attr, 0); err != nil {
		t.Logf("thread %d shares its core with others: %v", thread, err)
	}
	defer unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0)
	return f()
}

// busiest gives the thread of a Tomcat that has used the most of a processor
// while it served, and how much.
func busiest(t testing.TB, pid int) (thread int, spent time.Duration) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	must(t, err)
	for _, task := range tasks {
		stat, err := os.ReadFile(task + "/schedstat")
		name, _ := os.ReadFile(task + "/comm")
		if err != nil || !strings.HasPrefix(string(name), "http-nio-") {
			continue // it has gone, or serves nobody
		}
		used, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
		must(t, err)
		if time.Duration(used) > spent {
			spent = time.Duration(used)
			thread, err = strconv.Atoi(filepath.Base(task))
			must(t, err)
		}
	}
	return thread, spent
}

// series takes a series until its verdict is of a kind, and gives that finding.
// What happens takes its moment: a thread is only hot once it had a core.
func series(t testing.TB, c *company.Company, jvm *process, want analyse.FindingKind) (verdict analyse.Finding) {
	t.Helper()
	for try := 1; ; try++ {
		run, found := over(t, c, click(t, c, "shop-dump", ""), "", 2)
		report, err := c.Dev.DumpReport(t.Context(), found.Dumps[0].ID, true)
		must(t, err)
		for _, d := range found.Dumps {
			if d.Method != "attach" || d.Error != "" || d.PID != jvm.Process.Pid || d.Summary == nil || d.Summary.Threads < 200 || d.Origin != "run" {
				t.Fatalf("a dump: %+v", d)
			}
			t.Logf("dump %d of %d: %d threads in %.1f ms", d.Number, d.Of, d.Summary.Threads, d.TookMS)
		}
		verdict := report.Report.Verdict()
		switch {
		case verdict.Kind == want:
			if got, ok := finding(found.Report.Findings, want); !ok || len(got.Hosts) != 1 {
				t.Errorf("the run says %s", said(found.Report.Findings))
			}
			t.Logf("%s: %s", want, report.Says)
			return verdict
		case try == 5:
			t.Fatalf("no %s in run %s, but%s", want, run.ID, said(report.Report.Findings))
		}
	}
}
