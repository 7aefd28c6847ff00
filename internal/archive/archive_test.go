package archive_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// threads is a dump as a JVM writes it.
func threads(n int) string {
	var b strings.Builder
	b.WriteString("2026-11-22 20:00:00\nFull thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode, sharing):\n\n")
	for i := range n {
		fmt.Fprintf(&b, "\"http-%d\" #%d daemon prio=5 os_prio=0 cpu=1.50ms elapsed=10.00s tid=0x00007f0000%06x nid=0x%x waiting on condition  [0x00007f1100000000]\n   java.lang.Thread.State: WAITING (parking)\n\tat jdk.internal.misc.Unsafe.park(java.base@17.0.9/Native Method)\n\tat com.example.Pool.borrow(Pool.java:42)\n\n", i, i+10, i*64, i+100)
	}
	return b.String()
}

func packed(t testing.TB, text string) []byte {
	t.Helper()
	b, err := pack.Pack([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hosts answer as they are told to.
type hosts struct {
	mu       sync.Mutex
	dump     func(n int) ([]byte, error)
	evidence func(ctx context.Context, host string) (protocol.EvidenceReport, error)
	asked    []string
	long     bool // the answers are long ones
}

func (h *hosts) Dump(ctx context.Context, _ restart.Host, _ string, n int, more dispatch.Room) ([]byte, error) {
	if h.long {
		if err := more(ctx); err != nil {
			return nil, err
		}
	}
	return h.dump(n)
}

func (h *hosts) Evidence(ctx context.Context, host restart.Host, _ protocol.EvidenceRequest, _ dispatch.Room) (protocol.EvidenceReport, error) {
	h.mu.Lock()
	h.asked = append(h.asked, host.Name)
	h.mu.Unlock()
	return h.evidence(ctx, host.Name)
}

// world is an archive over a real store with one run.
type world struct {
	*archive.Archive
	t     *testing.T
	store *store.Store
	hosts *hosts
	run   restart.Run
}

func newWorld(t *testing.T, hostNames ...string) *world {
	t.Helper()
	w := &world{t: t, store: storetest.Open(t, storetest.SQLite(t)), hosts: &hosts{}}
	now := time.Now().UTC()
	w.run = restart.Run{
		ID: restart.NewID(now), Scenario: "plain-dump", Digest: strings.Repeat("a", 64), Kind: restart.KindThreadDump, Service: "shop", Environment: "production", Group: "shop-production",
		Actor: "anna", Via: "cli", Reason: "it hangs since the deploy", State: restart.RunQueued, CreatedAt: now, Plan: &restart.Plan{},
	}
	for i, name := range append([]string{"web1"}, hostNames...) {
		w.run.Plan.Hosts = append(w.run.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: name}})
		w.run.Tasks = append(w.run.Tasks, restart.Task{ID: restart.NewID(now), RunID: w.run.ID, Host: name, Position: i, Attempt: 1, State: restart.TaskPlanned})
	}
	if _, err := w.store.CreateRun(t.Context(), w.run, "", nil, nil); err != nil {
		t.Fatal(err)
	}
	w.Archive = archive.New(archive.Config{Store: w.store, Hosts: w.hosts, UploadMax: 2_000_000})
	return w
}

// fetch has a dump fetched that a host tells of, and gives what is stored.
func (w *world) fetch(r protocol.DumpReport, data []byte, err error) store.Dump {
	w.t.Helper()
	w.hosts.dump = func(int) ([]byte, error) { return data, err }
	if err := w.Fetch(w.t.Context(), w.run, w.run.Tasks[0], w.run.Plan.Hosts[0].Host, r); err != nil {
		w.t.Fatal(err)
	}
	list, _, err := w.store.Dumps(w.t.Context(), store.DumpFilter{Task: w.run.Tasks[0].ID})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range list {
		if d.Place == r.N {
			return d
		}
	}
	w.t.Fatalf("dump %d is not stored", r.N)
	return store.Dump{}
}

func report(n int) protocol.DumpReport {
	return protocol.DumpReport{N: n, Number: n, Of: 3, When: protocol.DumpRun, Runtime: dump.JVM, Method: "attach", PID: 4711, TakenAt: time.Now(), Took: time.Millisecond, Size: 10, Stored: 10}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := threads(12) + "password=hunter2\n"
	d := w.fetch(report(1), packed(t, text), nil)
	if d.Error != "" || d.Verdict == nil || d.Summary == nil || d.Stored == 0 || d.Origin != store.DumpOfRun || d.Host != "web1" || d.Service != "shop" || d.Number != 1 || d.Of != 3 {
		t.Fatalf("stored: %+v", d)
	}
	kept, err := w.Text(t.Context(), d.ID)
	if err != nil || !bytes.HasPrefix(kept, []byte(threads(12))) || bytes.Contains(kept, []byte("hunter2")) {
		t.Errorf("kept is %.200q, %v", kept, err)
	}
	dumps, err := w.Parsed(t.Context(), d.ID)
	if err != nil || len(dumps) != 1 || len(dumps[0].Threads) != 12 {
		t.Fatalf("%d dumps, %v", len(dumps), err)
	}
	again, err := w.Parsed(t.Context(), d.ID)
	if err != nil || &again[0].Threads[0] != &dumps[0].Threads[0] {
		t.Errorf("it was parsed again: %v", err)
	}
	if other := w.fetch(report(1), packed(t, threads(99)), nil); other.ID != d.ID { // stored once, whoever fetches it again
		t.Errorf("%s took the place of %s", other.ID, d.ID)
	}
}

// TestHostileHosts: whatever a host says or sends is stored with a sentence, and
// nothing of it costs more than its bound.
func TestHostileHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat(z.EncodeAll(make([]byte, 8<<20), nil), 64) // half a GiB in some KB
	good := packed(t, threads(3))
	n := 0
	for name, c := range map[string]struct {
		data []byte
		err  error
		want string // in the error that is stored
		kept bool
	}{
		"a bomb":             {data: bomb, want: "more than"},
		"rubbish":            {data: bytes.Repeat([]byte{0, 1, 2, 255, 254}, 1000), kept: true, want: "*"},
		"a cut file":         {data: good[:len(good)-5], want: "can't be unpacked"},
		"zstd of rubbish":    {data: packed(t, string(bytes.Repeat([]byte{0, 7, 255}, 1000))), kept: true, want: "*"},
		"nothing":            {data: packed(t, ""), kept: true, want: "*"},
		"it is not there":    {err: &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "there is no dump 3")}, want: "did not give it"},
		"endless":            {err: restart.Errorf(restart.CodeTooLarge, "web1 answered with more than 69 MiB"), want: "69 MiB"},
		"a dump that is cut": {data: packed(t, threads(5)[:900]), kept: true},
	} {
		n++
		d := w.fetch(report(n), c.data, c.err)
		if (c.want == "") != (d.Error == "") || c.want != "*" && !strings.Contains(d.Error, c.want) || (d.Stored > 0) != c.kept {
			t.Errorf("%s: error %q, %d bytes are kept", name, d.Error, d.Stored)
		}
	}
	lie := protocol.DumpReport{
		N: n + 1, Number: -5, Of: 1 << 30, When: "rubbish\x1b[31m", Runtime: dump.Runtime(strings.Repeat("x", 1<<20)), Method: strings.Repeat("m", 1<<20), PID: -1,
		TakenAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Took: -time.Hour, Size: 1 << 60, Stored: 1, Error: "\x1b[2Jboo", Notes: make([]string, 1<<16),
	}
	d := w.fetch(lie, good, nil)
	if d.Number != 1 || d.Of != dump.MaxSeries || d.Origin != store.DumpOfRun || d.Runtime != "" || len(d.Method) > 30 || d.PID != 0 || d.Took != 0 || len(d.Notes) > 100 ||
		strings.ContainsRune(d.Error, '\x1b') || time.Since(d.TakenAt) > time.Hour || d.Size > 1<<20 {
		t.Errorf("a lie was believed: %.2000v", d)
	}
	none := report(n + 2)
	none.Stored, none.Size, none.Error = 0, 1<<40, "no such process"
	if d := w.fetch(none, nil, errors.New("it is not asked for")); d.Error != "no such process" || d.Stored != 0 || d.Size != 0 {
		t.Errorf("%+v", d)
	}
	// A host that can't be asked now is asked again.
	w.hosts.dump = func(int) ([]byte, error) { return nil, errors.New("connection reset") }
	if err := w.Fetch(t.Context(), w.run, w.run.Tasks[0], restart.Host{Name: "web1"}, report(n+3)); err == nil {
		t.Error("a lost connection is no dump")
	}
}

// TestAParserThatFallsOver: a text that no parser survives is kept like any other
// that is not understood, and whoever looks at many dumps passes it by.
func TestAParserThatFallsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ParseWith(func([]byte) ([]*dump.Dump, error) { panic("index out of range") })
	d := w.fetch(report(1), packed(t, threads(3)), nil)
	if d.Stored == 0 || d.Error != "it can't be read" || d.Verdict != nil {
		t.Errorf("stored: %+v", d)
	}
	if _, err := w.Parsed(t.Context(), d.ID); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("%v, want %s", err, restart.CodeInvalid)
	}
}

// TestLongAnswersWait: however many hosts answer with long dumps at once, a few
// of them are in memory.
func TestLongAnswersWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hosts.long = true
	var now, most atomic.Int32
	full, goOn := make(chan struct{}, 20), make(chan struct{})
	w.hosts.dump = func(n int) ([]byte, error) {
		if k := now.Add(1); k > most.Load() {
			most.Store(k)
		}
		full <- struct{}{}
		<-goOn
		now.Add(-1)
		return packed(t, threads(1)), nil
	}
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			if err := w.Fetch(t.Context(), w.run, w.run.Tasks[0], w.run.Plan.Hosts[0].Host, report(n+1)); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-full
	}
	close(goOn)
	all.Wait()
	if most.Load() != 3 {
		t.Errorf("%d long answers at once", most.Load())
	}
	if places, err := w.store.TaskDumps(t.Context(), w.run.Tasks[0].ID); err != nil || len(places) != 10 {
		t.Errorf("%v are stored, %v", places, err)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := func(name string, file io.Reader) (store.Dump, error) {
		return w.Upload(t.Context(), "anna", name, file, audit.Record{Action: audit.DumpUploaded, Actor: "anna"})
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, threads(4))
	z.Close()
	for name, data := range map[string][]byte{"text": []byte(threads(4)), "zstd": packed(t, threads(4)), "gzip": zipped.Bytes(), "a log around it": []byte("INFO starting\n" + threads(4) + "INFO stopping\n")} {
		d, err := put(`C:\dumps\`+name+"\x1b.txt", bytes.NewReader(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Owner != "anna" || d.Origin != store.DumpUpload || strings.ContainsAny(d.Name, "\\/\x1b") && !strings.Contains(d.Name, `\x1b`) || d.Runtime != dump.JVM || d.Verdict == nil || d.RunID != "" {
			t.Errorf("%s: %+v", name, d)
		}
		dumps, err := w.Parsed(t.Context(), d.ID)
		if err != nil || len(dumps) != 1 || len(dumps[0].Threads) != 4 {
			t.Errorf("%s: %d dumps, %v", name, len(dumps), err)
		}
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file io.Reader
		want restart.Code
	}{
		"5 GB":      {io.LimitReader(zeros{}, 5<<30), restart.CodeTooLarge},
		"a bomb":    {bytes.NewReader(bytes.Repeat(enc.EncodeAll(make([]byte, 8<<20), nil), 64)), restart.CodeTooLarge},
		"rubbish":   {bytes.NewReader(bytes.Repeat([]byte{0, 1, 254, 255, 13}, 10_000)), restart.CodeInvalid},
		"nothing":   {strings.NewReader(""), restart.CodeInvalid},
		"cut":       {bytes.NewReader(packed(t, threads(4))[:50]), restart.CodeInvalid},
		"cut gzip":  {bytes.NewReader(zipped.Bytes()[:50]), restart.CodeInvalid},
		"lost half": {io.MultiReader(strings.NewReader(threads(1)), failing{}), restart.CodeInvalid},
	} {
		d, err := put("x", c.file)
		if restart.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s: %+v", name, err, c.want, d)
		}
	}
	list, _, err := w.store.Dumps(t.Context(), store.DumpFilter{Owner: "anna"})
	if err != nil || len(list) != 4 {
		t.Errorf("%d uploads are stored, %v", len(list), err)
	}
	if found, _, err := w.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.DumpUploaded, Limit: 10}); err != nil || len(found) != 4 {
		t.Errorf("%d records, %v", len(found), err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("reset by peer") }

func TestBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "web2", "web3", "web4")
	good := packed(t, threads(2))
	w.hosts.evidence = func(_ context.Context, host string) (protocol.EvidenceReport, error) {
		items := []protocol.EvidenceItem{{Kind: "journal", Text: "a line, token=swordfish\n" + strings.Repeat("x", 2<<20)}, {Kind: "thread-dump", Text: "taken"}}
		r := report(1)
		switch host {
		case "web2":
			return protocol.EvidenceReport{}, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "there is nothing here")} // an old agent
		case "web3":
			return protocol.EvidenceReport{}, errors.New("no answer")
		case "web4":
			return protocol.EvidenceReport{Items: items, Dump: []byte("rubbish"), Report: &r, TakenAt: time.Now()}, nil
		}
		return protocol.EvidenceReport{Items: items, Dump: good, Report: &r, TakenAt: time.Now()}, nil
	}
	w.Before(t.Context(), w.run)
	list, _, err := w.store.Dumps(t.Context(), store.DumpFilter{Run: w.run.ID})
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]store.Dump{}
	for _, d := range list {
		said[d.Host], err = w.store.Dump(t.Context(), d.ID)
		if err != nil || d.Origin != store.DumpBefore {
			t.Errorf("%+v %v", d, err)
		}
	}
	if _, there := said["web2"]; there || len(said) != 3 {
		t.Errorf("kept of %d hosts; an agent that knows no evidence has nothing to keep", len(said))
	}
	if d := said["web1"]; d.Error != "" || d.Stored == 0 || d.Verdict == nil || !bytes.Contains(d.Evidence, []byte("a line")) || len(d.Evidence) > 2<<20 || bytes.Contains(d.Evidence, []byte("swordfish")) {
		t.Errorf("web1: %.500v", d)
	}
	if d := said["web3"]; d.Error == "" || d.Stored != 0 {
		t.Errorf("web3: %+v", d)
	}
	if d := said["web4"]; d.Error == "" || d.Evidence == nil {
		t.Errorf("web4: %.500v", d)
	}
	// A server that takes over asks only who has not answered.
	w.hosts.asked = nil
	w.Before(t.Context(), w.run)
	if len(w.hosts.asked) != 1 || w.hosts.asked[0] != "web2" {
		t.Errorf("asked again: %v", w.hosts.asked)
	}
}

// TestARoundIsBrokenOff: a round that ends because the run or the server stops is
// no answer of those who were still being asked: the next round asks them.
func TestARoundIsBrokenOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "web2", "web3")
	asked := make(chan struct{}, 3)
	w.hosts.evidence = func(ctx context.Context, _ string) (protocol.EvidenceReport, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return protocol.EvidenceReport{}, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Before(ctx, w.run) }()
	for range 3 {
		<-asked
	}
	cancel()
	<-ended
	w.hosts.asked = nil
	w.hosts.evidence = func(context.Context, string) (protocol.EvidenceReport, error) {
		return protocol.EvidenceReport{}, errors.New("no answer")
	}
	w.Before(t.Context(), w.run)
	if slices.Sort(w.hosts.asked); !slices.Equal(w.hosts.asked, []string{"web1", "web2", "web3"}) {
		t.Errorf("asked again: %v", w.hosts.asked)
	}
}

// TestWhyThereIsNoEvidence: a person reads what was in the way.
func TestWhyThereIsNoEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "web2", "web3")
	w.hosts.evidence = func(ctx context.Context, host string) (protocol.EvidenceReport, error) {
		switch host {
		case "web1":
			return protocol.EvidenceReport{}, &dispatch.NotSentError{Err: restart.Errorf(restart.CodeUnreachable, "web1 refuses connections")}
		case "web2":
			return protocol.EvidenceReport{}, errors.New("unexpected EOF")
		}
		return protocol.EvidenceReport{}, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeBusy, "others take evidence")}
	}
	w.Before(t.Context(), w.run)
	list, _, err := w.store.Dumps(t.Context(), store.DumpFilter{Run: w.run.ID})
	if err != nil || len(list) != 3 {
		t.Fatal(len(list), err)
	}
	for _, d := range list {
		if want := map[string]string{
			"web1": "the host gave no evidence: web1 refuses connections", "web2": "the host broke its answer off", "web3": "the host gave no evidence: others take evidence",
		}[d.Host]; d.Error != want {
			t.Errorf("%s: %q, want %q", d.Host, d.Error, want)
		}
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fetch(report(1), packed(t, threads(1)), nil)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, _, err := w.store.Dumps(t.Context(), store.DumpFilter{}); err != nil || len(list) != 1 {
		t.Fatalf("%d dumps, %v", len(list), err)
	}
	later := archive.New(archive.Config{Store: w.store, Hosts: w.hosts, Now: func() time.Time { return time.Now().Add(31 * 24 * time.Hour) }})
	if err := later.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, _, err := w.store.Dumps(t.Context(), store.DumpFilter{}); err != nil || len(list) != 0 {
		t.Errorf("%d dumps are left, %v", len(list), err)
	}
}

// TestMuchIsSweptAtOnce: hosts can't fill the disk between two sweeps.
func TestMuchIsSweptAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stored := make(chan struct{}, 1)
	w.Archive = archive.New(archive.Config{Store: w.store, Hosts: w.hosts, MaxBytes: 1, Kept: func(dump.Runtime, store.DumpOrigin) { stored <- struct{}{} }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	w.hosts.dump = func(int) ([]byte, error) { return packed(t, threads(1)), nil }
	for n := range 3 {
		if err := w.Fetch(ctx, w.run, w.run.Tasks[0], w.run.Plan.Hosts[0].Host, report(n+1)); err != nil {
			t.Fatal(err)
		}
		<-stored
		for {
			total, err := w.store.DumpBytes(ctx) // the test's own limit bounds this
			if err != nil {
				t.Fatal(err)
			}
			if total == 0 {
				break
			}
		}
	}
}

// TestEvidenceFillsNoDisk: what is kept beside dumps, or instead of one, counts as
// they do.
func TestEvidenceFillsNoDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Archive = archive.New(archive.Config{Store: w.store, Hosts: w.hosts, MaxBytes: 1})
	w.hosts.evidence = func(context.Context, string) (protocol.EvidenceReport, error) {
		return protocol.EvidenceReport{Items: []protocol.EvidenceItem{{Kind: "journal", Text: "a line"}}, TakenAt: time.Now()}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	w.Before(ctx, w.run)
	for {
		list, _, err := w.store.Dumps(ctx, store.DumpFilter{}) // the test's own limit bounds this
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
	}
}
