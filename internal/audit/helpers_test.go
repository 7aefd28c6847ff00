package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const source = "server-1"

var epochStart = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// event makes a record without a place. Its text is of the unpleasant kind.
func event(n int) audit.Record {
	return audit.Record{
		Time: epochStart.Add(time.Duration(n) * time.Millisecond), Actor: "anna", Origin: "cli 192.0.2.7", Action: audit.TaskOutcome,
		Run: "06dbx7kq3p0000000000000001", Service: "nginx", Host: fmt.Sprintf("web%d.example.com", n%7), Attempt: 1,
		Reason:  fmt.Sprintf("№ %d: очередь растёт, воркеры висят 🔥 <b>\"%%s\" ]\\ 'quoted'", n),
		Outcome: "succeeded", Params: map[string]string{"mode": "a=b]", "depth": "3"},
	}
}

// chained makes linked records with seq 1 to n.
func chained(n int) []audit.Record { return extend(audit.Head{Source: source}, n) }

func extend(head audit.Head, n int) []audit.Record {
	records := make([]audit.Record, n)
	for i := range records {
		records[i] = event(int(head.Seq) + 1)
		records[i].Link(head)
		head = records[i].Head()
	}
	return records
}

func lines(records []audit.Record) []byte {
	var b []byte
	for i := range records {
		b = append(append(b, records[i].Canonical()...), '\n')
	}
	return b
}

func parse(t *testing.T, text []byte) []audit.Record {
	t.Helper()
	var records []audit.Record
	for line := range bytes.Lines(text) {
		r, err := audit.Decode(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		records = append(records, r)
	}
	return records
}

// verify reads text as a stored trail.
func verify(t *testing.T, text []byte, heads ...audit.Head) audit.Report {
	t.Helper()
	report, err := audit.Verify(bytes.NewReader(text), heads...)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func describe(r audit.Report) string {
	var b bytes.Buffer
	r.Write(&b)
	return b.String()
}

// memory is the trail's store without a database. Its failures are switched by tests.
type memory struct {
	mu      sync.Mutex
	waiting []audit.Record
	records []audit.Record
	head    audit.Head
	cursors map[string]int64
	commits int   // of Sequence and SetCursor
	failure error // of every call, while it is set
}

func newMemory() *memory { return &memory{cursors: map[string]int64{}} }

func (m *memory) commit(records ...audit.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, records...)
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = err
}

func (m *memory) Sequence(_ context.Context, source string, limit int, link func(audit.Head, *audit.Record)) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return 0, m.failure
	}
	n := min(limit, len(m.waiting))
	if n == 0 {
		return 0, nil
	}
	m.commits++
	for i := range m.waiting[:n] {
		link(m.head, &m.waiting[i])
		m.head = m.waiting[i].Head()
	}
	m.records = append(m.records, m.waiting[:n]...)
	m.waiting = m.waiting[n:]
	return n, nil
}

func (m *memory) Seal(_ context.Context, source string, seal func(audit.Head, *audit.Record) []audit.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return m.failure
	}
	var last *audit.Record
	for i := range m.records {
		if m.records[i].Action == audit.AuditSealed {
			last = &m.records[i]
		}
	}
	for _, r := range seal(m.head, last) {
		m.records, m.head = append(m.records, r), r.Head()
	}
	return nil
}

func (m *memory) Sequenced(_ context.Context, _ string, after int64, limit int) ([]audit.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return nil, m.failure
	}
	from := min(int(after), len(m.records))
	return slices.Clone(m.records[from:min(from+limit, len(m.records))]), nil
}

func (m *memory) AuditHead(context.Context, string) (audit.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, m.failure
}

func (m *memory) Cursor(_ context.Context, sink, _ string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[sink], m.failure
}

func (m *memory) SetCursor(_ context.Context, sink, _ string, seq int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return m.failure
	}
	m.commits++
	m.cursors[sink] = seq
	return nil
}

// running starts a trail and gives what stops it and waits for its end.
func running(t *testing.T, c audit.Config) (*audit.Trail, func()) {
	t.Helper()
	if c.Source == "" {
		c.Source = source
	}
	trail, err := audit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		trail.Run(ctx)
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return trail, stop
}
