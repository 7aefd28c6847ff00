package dumps

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
)

// TestProcesses takes dumps of a Go and a Python service, of one that is stopped
// and of one that has gone: each is a dump by the way that fits, or a sentence.
func TestProcesses(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3"
	need(t, python)
	port := freePort(t)
	goes := launch(t, "ready", []string{goService + "=127.0.0.1:" + port}, os.Args[0])
	snake := launch(t, "ready", nil, python, "testdata/service.py")
	stopped := launch(t, "ready", nil, python, "testdata/service.py")
	must(t, stopped.Process.Signal(syscall.SIGSTOP))
	gone := t.TempDir()
	cases := []struct {
		name    string
		process *process
		rest    string
		runtime dump.Runtime
		method  string
		raw     []string
		notes   string
		says    analyse.FindingKind
	}{
		{
			"go-dump", goes, "  url: http://127.0.0.1:" + port + "/debug/pprof/goroutine\n", dump.Go, "pprof",
			[]string{"test/dumps.handleOrder", "sync.(*Mutex).Lock"}, "", analyse.LockUntold,
		},
		{"python-dump", snake, "  signal: USR1\n", dump.Python, "signal", []string{"in pick", "service.py"}, "", analyse.Nothing},
		{"stopped-dump", stopped, "  signal: USR1\n", dump.Python, "proc", []string{"stopped"}, "stopped", analyse.AllStopped},
	}
	scenarios := map[string]string{"gone-dump": pidDump("gone-dump", gone, "  count: 1\n")}
	for _, k := range cases {
		dir := t.TempDir()
		k.process.writePID(t, dir, "shop1.example.com")
		scenarios[k.name] = pidDump(k.name, dir, "  count: 1\n"+k.rest)
	}
	c := shop(t, 1, "", scenarios)
	for _, k := range cases {
		run, found := over(t, c, click(t, c, k.name, ""), "", 1)
		d := found.Dumps[0]
		var raw bytes.Buffer
		if d.Stored > 0 {
			must(t, c.Dev.WriteDump(t.Context(), &raw, d.ID, client.DumpRaw))
		}
		if run.State != restart.RunCompleted || d.Error != "" || d.Runtime != k.runtime || d.Method != k.method || d.PID != k.process.Process.Pid {
			t.Errorf("%s: %s: %+v", k.name, run.Summary(), d)
		}
		for _, want := range k.raw {
			if !strings.Contains(raw.String(), want) {
				t.Errorf("%s has no %q:\n%s", k.name, want, &raw)
			}
		}
		if !strings.Contains(strings.Join(d.Notes, " "), k.notes) {
			t.Errorf("the notes of %s: %q", k.name, d.Notes)
		}
		if got := found.Report.Verdict(); got.Kind != k.says {
			t.Errorf("%s, want %s:%s", k.name, k.says, said(found.Report.Findings))
		}
		t.Logf("%s: %s in %.1f ms: %s %q", k.name, d.Method, d.TookMS, found.Says, d.Notes)
	}
	must(t, stopped.Process.Signal(syscall.SIGCONT))
	must(t, os.WriteFile(gone+"/shop1.example.com.pid", []byte("4194305\n"), 0o644)) // above what Linux gives
	run := click(t, c, "gone-dump", "")
	run = c.Until(run.ID, restart.RunCompleted, restart.RunPaused, restart.RunAborted, restart.RunFailed)
	if len(run.Tasks) != 1 || run.Tasks[0].State != restart.TaskFailed || !strings.Contains(run.Tasks[0].Error, "does not run") {
		t.Errorf("a process that has gone: %s: %+v", run.Summary(), run.Tasks)
	}
	for _, p := range []*process{goes, snake, stopped} {
		if err := p.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%s did not live through its dump: %v", p.Path, err)
		}
	}
}
