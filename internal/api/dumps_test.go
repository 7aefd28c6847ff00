package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// threadsOf is a dump as a JVM writes it: n threads that wait for connections.
func threadsOf(n int, name string) string {
	var b strings.Builder
	b.WriteString("2026-11-22 20:00:00\nFull thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode, sharing):\n\n")
	for i := range n {
		fmt.Fprintf(&b, "\"%s-%d\" #%d daemon prio=5 os_prio=0 cpu=1.50ms elapsed=10.00s tid=0x00007f0000%06x nid=0x%x waiting on condition  [0x00007f1100000000]\n   java.lang.Thread.State: TIMED_WAITING (parking)\n\tat jdk.internal.misc.Unsafe.park(java.base@17.0.9/Native Method)\n\tat com.zaxxer.hikari.util.ConcurrentBag.borrow(ConcurrentBag.java:151)\n\tat com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:162)\n\tat com.example.Shop.order(Shop.java:42)\n\n", name, i, i+10, i*64, i+100)
	}
	return b.String()
}

func capture(t *testing.T, n int, when protocol.DumpWhen, text string) apitest.Captured {
	t.Helper()
	packed, err := pack.Pack([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return apitest.Captured{Data: packed, Report: protocol.DumpReport{
		N: n, Number: n, Of: 2, When: when, Runtime: dump.JVM, Method: "attach", PID: 4711, TakenAt: time.Now(), Took: time.Millisecond, Size: int64(len(text)), Stored: int64(len(packed)),
	}}
}

// evidentScenario restarts, and wants to keep how things were.
var evidentScenario = strings.Replace(strings.Replace(apitest.Scenario, "name: plain-restart", "name: evident-restart", 1), "steps:\n", "evidence: [process]\nsteps:\n", 1)

// dumped is a server after a run of shop over three hosts, each of which has
// captured two dumps.
func dumped(t *testing.T) (*apitest.Server, restart.Run) {
	t.Helper()
	s := apitest.Start(t, nil)
	for i, host := range []string{"web1", "web2", "web3"} {
		s.Agents.Capture(host, capture(t, 1, protocol.DumpRun, threadsOf(20+i, "http")), capture(t, 2, protocol.DumpRun, threadsOf(20+i, "http")))
	}
	return s, finishedRun(t, s, "plain-restart")
}

func finishedRun(t *testing.T, s *apitest.Server, scenario string) restart.Run {
	t.Helper()
	token := s.Token("anna", developer)
	body := fmt.Sprintf(`{"service":"shop","scenario":%q,"reason":"it hangs since the deploy","start":true}`, scenario)
	run := decode[restart.Run](t, s.Request("POST", "/api/v1/runs", token, []byte(body), nil), http.StatusCreated)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !run.State.Final() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the run does not end: %s", run.Summary())
		}
		run = decode[restart.Run](t, s.Request("GET", "/api/v1/runs/"+run.ID, token, nil, nil), http.StatusOK)
	}
	return run
}

func views(t *testing.T, s *apitest.Server, action audit.Action) int {
	t.Helper()
	found, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Action: action, Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// TestDumpsOfARun goes the whole way: hosts tell of dumps, the server fetches
// them before the outcome, and who may gets them in every form; each look is
// recorded.
func TestDumpsOfARun(t *testing.T) {
	t.Parallel()
	s, run := dumped(t)
	anna := newClient(t, s, s.Token("anna", developer))
	ctx := t.Context()
	list, err := anna.Dumps(ctx, wire.DumpQuery{Run: run.ID})
	if err != nil || len(list.Items) != 6 || list.Next != "" {
		t.Fatalf("%d dumps, %v", len(list.Items), err)
	}
	for _, d := range list.Items {
		if d.Verdict == nil || d.Says == "" || d.Summary == nil || d.Summary.Threads < 20 || d.Service != "shop" || d.Error != "" {
			t.Errorf("%+v", d)
		}
	}
	if n := views(t, s, audit.DumpViewed); n != 0 {
		t.Errorf("a list is %d views", n)
	}
	group, err := anna.RunDumps(ctx, run.ID, "")
	if err != nil || group.Origin != "run" || len(group.Dumps) != 6 || len(group.Report.Hosts) != 3 || group.Says == "" || len(group.LeftOut) != 0 {
		t.Fatalf("the group: %+v, %v", group, err)
	}
	id := list.Items[0].ID
	one, err := anna.Dump(ctx, id)
	if err != nil || one.Host == "" {
		t.Fatal(one, err)
	}
	report, err := anna.DumpReport(ctx, id, false)
	if err != nil || len(report.Dumps) != 1 || report.Report.Threads < 20 {
		t.Errorf("%+v, %v", report, err)
	}
	series, err := anna.DumpReport(ctx, id, true)
	if err != nil || len(series.Dumps) != 2 || len(series.Report.Dumps) != 2 {
		t.Errorf("%+v, %v", series, err)
	}
	page, err := anna.DumpThreads(ctx, id, wire.ThreadQuery{Name: "HTTP-1", Frame: "hikaripool", State: dump.TimedWaiting, Limit: 3})
	if err != nil || len(page.Items) != 3 || page.Next == "" || page.Items[0].Name != "http-1" {
		t.Errorf("%+v, %v", page, err)
	}
	for form, want := range map[string]string{client.DumpRaw: "\"http-1\" #11 daemon", client.DumpCollapsed: "HikariPool.getConnection", client.DumpSpeedscope: "speedscope.app"} {
		var b bytes.Buffer
		if err := anna.WriteDump(ctx, &b, id, form); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %v: %.300s", form, err, &b)
		}
	}
	difference, err := anna.CompareDumps(ctx, list.Items[1].ID, id)
	if err != nil || difference.Difference == nil || difference.Before.ID != list.Items[1].ID {
		t.Errorf("%+v, %v", difference, err)
	}
	// One group, one verdict, two reports, a page of threads, three files, and two that were compared.
	if n := views(t, s, audit.DumpViewed); n != 10 {
		t.Errorf("%d views are recorded", n)
	}

	vera := newClient(t, s, s.Token("vera", developer))
	if hers, err := vera.Dumps(ctx, wire.DumpQuery{}); err != nil || len(hers.Items) != 0 {
		t.Errorf("a stranger sees %d dumps, %v", len(hers.Items), err)
	}
	if _, err := vera.RunDumps(ctx, run.ID, ""); restart.CodeOf(err) != restart.CodeForbidden {
		t.Error(err)
	}
	if found, _, err := s.Store.AuditSearch(ctx, store.AuditFilter{Action: audit.DumpViewed, Actor: "vera", Limit: 10}); err != nil || len(found) != 1 || found[0].Outcome != "forbidden" {
		t.Errorf("her refusal: %+v, %v", found, err)
	}
	if _, err := anna.RunDumps(ctx, run.ID, "before"); restart.CodeOf(err) != restart.CodeNotFound {
		t.Error(err)
	}
	root := newClient(t, s, s.Token("root", admin))
	if err := root.DeleteDump(ctx, id, ""); restart.CodeOf(err) != restart.CodeReason {
		t.Error(err)
	}
	if err := anna.DeleteDump(ctx, id, "I would rather nobody saw it"); restart.CodeOf(err) != restart.CodeForbidden {
		t.Error(err)
	}
	if err := root.DeleteDump(ctx, id, "it holds a customer's data"); err != nil {
		t.Error(err)
	}
	if _, err := anna.DumpReport(ctx, id, false); restart.CodeOf(err) != restart.CodeNotFound {
		t.Error(err)
	}
}

func newClient(t *testing.T, s *apitest.Server, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: s.URL, CAPEM: s.CAPEM, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestEvidenceBeforeARun: all hosts are asked before the first is touched, a
// host that says nothing holds nothing up, and what they said stays beside the run.
func TestEvidenceBeforeARun(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, nil)
	if err := os.WriteFile(filepath.Join(s.Shelf, "evident-restart.yaml"), []byte(evidentScenario), 0o644); err != nil {
		t.Fatal(err)
	}
	before := capture(t, 1, protocol.DumpEvidence, threadsOf(30, "http"))
	for _, host := range []string{"web1", "web2"} {
		s.Agents.Evident(host, protocol.EvidenceReport{
			Items: []protocol.EvidenceItem{{Kind: "process", Text: "State: S (sleeping)"}}, Dump: before.Data, Report: &before.Report, TakenAt: time.Now(),
		})
	}
	run := finishedRun(t, s, "evident-restart")
	if run.State != restart.RunCompleted {
		t.Fatal(run.Summary())
	}
	anna := newClient(t, s, s.Token("anna", developer))
	group, err := anna.RunDumps(t.Context(), run.ID, "")
	if err != nil || group.Origin != "before" || len(group.Dumps) != 3 || len(group.Report.Hosts) != 2 || !slices.Equal(group.LeftOut, []string{"web3"}) {
		t.Fatalf("%+v, %v", group, err)
	}
	for _, d := range group.Dumps {
		one, err := anna.Dump(t.Context(), d.ID)
		if err != nil || d.Host != "web3" && (len(one.Evidence) != 1 || one.Evidence[0].Text != "State: S (sleeping)") {
			t.Errorf("%+v, %v", one, err)
		}
		if began := run.Tasks[0].StartedAt; d.CreatedAt.After(*began) {
			t.Errorf("%s was asked at %s, and the first host touched at %s", d.Host, d.CreatedAt, began)
		}
	}
	// What a task itself has kept is for the same people.
	for who, withheld := range map[*client.Client]bool{anna: false, newClient(t, s, s.Token("olga", restart.RoleAuditor)): false, newClient(t, s, s.Token("vera", restart.RoleViewer)): true} {
		d, err := who.TaskDetail(t.Context(), run.ID, run.Tasks[0].ID)
		if err != nil || len(d.Status.Evidence) != 1 || d.Status.Evidence[0].Kind != "process" || d.Withheld != withheld || (d.Status.Evidence[0].Text == "") != withheld {
			t.Errorf("withheld: %v: %+v, %v", withheld, d, err)
		}
	}
}

// TestADumpWithoutBytesWeighsNothing: what a host says of how long a dump is that
// it has not brought keeps nobody from the dumps of the others.
func TestADumpWithoutBytesWeighsNothing(t *testing.T) {
	t.Parallel()
	s, run := dumped(t)
	task := run.Tasks[0]
	lie := store.Dump{
		ID: restart.NewID(time.Now()), RunID: run.ID, TaskID: task.ID, Host: task.Host, Service: "shop", Environment: run.Environment, Group: run.Group, Origin: store.DumpOfRun, Place: -1, Number: 1, Of: 1,
		Size: 1 << 40, Error: "no such process", TakenAt: time.Now(), CreatedAt: time.Now(),
	}
	if err := s.Store.AddDump(t.Context(), lie, nil); err != nil {
		t.Fatal(err)
	}
	anna := newClient(t, s, s.Token("anna", developer))
	group, err := anna.RunDumps(t.Context(), run.ID, "")
	if err != nil || len(group.Report.Hosts) != 3 || len(group.LeftOut) != 0 {
		t.Errorf("%d hosts are looked at, and not %v: %v", len(group.Report.Hosts), group.LeftOut, err)
	}
	for _, d := range group.Dumps {
		if d.Host != task.Host || d.Stored == 0 {
			continue
		}
		if series, err := anna.DumpReport(t.Context(), d.ID, true); err != nil || len(series.Dumps) != 2 {
			t.Errorf("the series: %v, %v", series.Dumps, err)
		}
	}
}

// TestUploads: a file is its owner's alone, whatever it is called, and what is
// none is refused in a sentence.
func TestUploads(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, nil)
	ctx := t.Context()
	vera, root := newClient(t, s, s.Token("vera", restart.RoleViewer)), newClient(t, s, s.Token("root", admin))
	d, err := vera.UploadDump(ctx, "../../<script>alert(1)</script>.txt", strings.NewReader(threadsOf(3, "<b>bold</b>\x1b[31m")))
	if err != nil || d.Owner != "vera" || d.Origin != "upload" || strings.Contains(d.Name, "..") || d.Verdict == nil {
		t.Fatalf("%+v, %v", d, err)
	}
	mine, err := vera.Dumps(ctx, wire.DumpQuery{Mine: true})
	if err != nil || len(mine.Items) != 1 {
		t.Errorf("%+v, %v", mine, err)
	}
	for _, q := range []wire.DumpQuery{{}, {Mine: true}} {
		if list, err := root.Dumps(ctx, q); err != nil || len(list.Items) != 0 {
			t.Errorf("an admin sees %+v, %v", list, err)
		}
	}
	if _, err := root.Dump(ctx, d.ID); restart.CodeOf(err) != restart.CodeNotFound {
		t.Error(err)
	}
	if err := root.DeleteDump(ctx, d.ID, "it is not mine"); restart.CodeOf(err) != restart.CodeNotFound {
		t.Error(err)
	}
	var raw bytes.Buffer
	if err := vera.WriteDump(ctx, &raw, d.ID, client.DumpRaw); err != nil || !strings.Contains(raw.String(), "<b>bold</b>\x1b[31m") { // as it is: who shows it escapes it
		t.Errorf("%v %q", err, &raw)
	}
	other, err := vera.UploadDump(ctx, "panic.txt", strings.NewReader("goroutine 1 [running]:\nmain.main()\n\t/src/main.go:7 +0x1d\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vera.CompareDumps(ctx, d.ID, other.ID); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "one dump is of jvm, the other of go") {
		t.Errorf("two runtimes compared: %v", err)
	}
	answer := s.Request("GET", "/api/v1/dumps/"+d.ID+"/raw", s.Token("vera"), nil, nil)
	if h := answer.Header; !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a browser might run it: %v", h)
	}
	for name, c := range map[string]struct {
		file io.Reader
		want restart.Code
	}{
		"rubbish": {bytes.NewReader(bytes.Repeat([]byte{0, 255, 1}, 5000)), restart.CodeInvalid},
		"nothing": {strings.NewReader(""), restart.CodeInvalid},
		"prose":   {strings.NewReader("Dear all,\nit hangs.\n"), restart.CodeInvalid},
		"5 GB":    {io.LimitReader(endless{}, 5<<30), restart.CodeTooLarge},
	} {
		_, err := vera.UploadDump(ctx, name, c.file)
		if restart.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := vera.DeleteDump(ctx, d.ID, ""); err != nil {
		t.Error(err)
	}
}

// TestLooksAtMuchWait: while others look at large dumps, what holds much text
// waits, and a file is given out all the same, as it holds little.
func TestLooksAtMuchWait(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, nil)
	text := threadsOf(1600, "http")
	s.Agents.Capture("web1", capture(t, 1, protocol.DumpRun, text), capture(t, 2, protocol.DumpRun, strings.Repeat(text, 2)))
	run := finishedRun(t, s, "plain-restart")
	anna := newClient(t, s, s.Token("anna", developer))
	list, err := anna.Dumps(t.Context(), wire.DumpQuery{Run: run.ID})
	slices.SortFunc(list.Items, func(a, b wire.Dump) int { return int(b.Size - a.Size) })
	if err != nil || len(list.Items) != 2 || list.Items[0].Size < 1<<20 || list.Items[1].Size >= 1<<20 {
		t.Fatalf("%+v, %v", list, err)
	}
	id := list.Items[0].ID
	other := list.Items[1].ID // of this one's half, which is below the bound
	looks := map[string]func(context.Context) error{
		"the report":  func(ctx context.Context) error { _, err := anna.DumpReport(ctx, id, false); return err },
		"the threads": func(ctx context.Context) error { _, err := anna.DumpThreads(ctx, id, wire.ThreadQuery{}); return err },
		"a flame graph": func(ctx context.Context) error {
			return anna.WriteDump(ctx, io.Discard, id, client.DumpCollapsed)
		},
		"speedscope":   func(ctx context.Context) error { return anna.WriteDump(ctx, io.Discard, id, client.DumpSpeedscope) },
		"a comparison": func(ctx context.Context) error { _, err := anna.CompareDumps(ctx, other, id); return err },
		"the series":   func(ctx context.Context) error { _, err := anna.DumpReport(ctx, id, true); return err },
		"the run":      func(ctx context.Context) error { _, err := anna.RunDumps(ctx, run.ID, ""); return err },
	}
	var giveBack [2]func()
	for i := range giveBack {
		if giveBack[i], err = s.Archive.Place(t.Context(), 100<<20); err != nil {
			t.Fatal(err)
		}
	}
	for name, look := range looks {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := look(ctx); ctx.Err() == nil {
			t.Errorf("%s does not wait: %v", name, err)
		}
		cancel()
	}
	var raw bytes.Buffer
	if err := anna.WriteDump(t.Context(), &raw, id, client.DumpRaw); err != nil || int64(raw.Len()) != list.Items[0].Size {
		t.Errorf("%d bytes of %d: %v", raw.Len(), list.Items[0].Size, err)
	}
	giveBack[0]()
	for name, look := range looks {
		for range 3 { // each gives its place back
			if err := look(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// endless is text without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
