package web

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// message is one server-sent event, or a comment.
type message struct {
	id      int64
	event   string
	data    string
	comment string
}

// listener is one open page.
type listener struct {
	t        testing.TB
	status   int
	messages chan message // closed when the stream ends
	stop     context.CancelFunc
}

// listen opens a run's stream.
func (f *fixture) listen(cookie, path string, headers ...string) *listener {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.server.URL+path, nil)
	f.must(err)
	req.Header.Set("Cookie", cookie)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := f.client.Do(req) //nolint:bodyclose // by the goroutine that reads it
	f.must(err)
	l := &listener{t: f.t, status: res.StatusCode, messages: make(chan message, 1000), stop: cancel}
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" {
		f.t.Errorf("%s: %s of type %s", path, res.Status, ct)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(l.messages)
		defer res.Body.Close()
		var m message
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			name, value, _ := strings.Cut(s.Text(), ": ")
			switch {
			case s.Text() == "":
				l.messages <- m
				m = message{}
			case name == "":
				m.comment = value
			case name == "id":
				m.id, _ = strconv.ParseInt(value, 10, 64)
			case name == "event":
				m.event = value
			case name == "data":
				m.data += value + "\n"
			}
		}
	}()
	f.t.Cleanup(func() { cancel(); <-done })
	return l
}

// next gives the next message; ok is false when the stream has ended.
func (l *listener) next() (m message, ok bool) {
	l.t.Helper()
	select {
	case m, ok = <-l.messages:
		return m, ok
	case <-time.After(20 * time.Second):
		l.t.Fatal("nothing comes")
	}
	return m, ok
}

func TestLive(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.create(f.newRun("nginx", 1, 1))
	f.to(run, restart.RunRunning, "", "")
	now, err := f.store.Run(t.Context(), run.ID)
	f.must(err)
	l := f.listen(cookie, "/runs/"+run.ID+"/events?after="+strconv.FormatInt(now.Version, 10))

	f.task(run, 0, restart.TaskRunning, store.TaskChange{Phase: "health"}, &protocol.TaskStatus{Health: []protocol.HealthSample{{Detail: "HTTP 503 <b>"}}})
	began := time.Now()
	m, _ := l.next()
	if took := time.Since(began); took > 2*time.Second { // 200 ms is the aim; a laden machine is not what is tested here
		t.Errorf("a change took %s to be seen", took)
	}
	wants(t, m.data, "<title>Running · 0/2", `id="summary"`, `hx-swap-oob="outerMorph"`, `id="cell-0" class="cell now"`, `id="host-0"`, "Checking health", "HTTP 503 &lt;b&gt;", `id="said"`, "Running. 0 of 2 hosts done")
	lacks(t, m.data, `id="host-1"`, `id="cell-1"`, "<html")
	if m.id == 0 || m.event != "" {
		t.Errorf("event %q, id %d", m.event, m.id)
	}

	f.task(run, 0, restart.TaskRunning, store.TaskChange{Phase: "undrain"}, nil)
	m, _ = l.next()
	wants(t, m.data, "Undraining")
	lacks(t, m.data, `id="said"`) // no state has changed: nothing is read out

	f.task(run, 0, restart.TaskSucceeded, store.TaskChange{}, nil)
	f.task(run, 1, restart.TaskSucceeded, store.TaskChange{}, nil)
	f.to(run, restart.RunCompleted, "", "")
	last, data := m, ""
	for m.event != "end" {
		data, last = data+m.data, m
		m, _ = l.next()
	}
	wants(t, data, `id="host-1"`, "Completed. 2 of 2 hosts done")
	if _, open := l.next(); open {
		t.Error("the stream goes on after the end")
	}

	// Whoever was away asks for what came after the newest event that he has.
	again := f.listen(cookie, "/runs/"+run.ID+"/events?after=1", "Last-Event-ID", strconv.FormatInt(last.id, 10))
	if m, _ := again.next(); m.event != "end" {
		t.Errorf("after everything: %+v", m)
	}
	missed := f.listen(cookie, "/runs/"+run.ID+"/events", "Last-Event-ID", strconv.FormatInt(now.Version, 10))
	m, _ = missed.next()
	wants(t, m.data, `id="host-0"`, `id="host-1"`, "Completed. 2 of 2 hosts done")
	if m, _ := missed.next(); m.event != "end" {
		t.Errorf("then: %+v", m)
	}
	future := f.listen(cookie, "/runs/"+run.ID+"/events", "Last-Event-ID", "999999")
	if m, _ = future.next(); !strings.Contains(m.data, "Completed") {
		t.Errorf("a version that is still to come: %+v", m)
	}
}

func TestLiveShowsANewAttempt(t *testing.T) {
	f := newFixture(t)
	run := f.create(f.newRun("nginx", 1))
	f.to(run, restart.RunRunning, "", "")
	f.task(run, 0, restart.TaskNotStarted, store.TaskChange{}, nil)
	now, err := f.store.Run(t.Context(), run.ID)
	f.must(err)
	l := f.listen(f.signIn(), "/runs/"+run.ID+"/events?after="+strconv.FormatInt(now.Version, 10))
	f.apply(store.Change{RunID: run.ID, NewTasks: now.Again(time.Now())})
	m, _ := l.next()
	wants(t, m.data, "1 waiting", `id="cell-0" class="cell wait"`, "attempt 2")
	if strings.Count(m.data, `id="host-0"`) != 1 {
		t.Errorf("the host is there more than once:\n%s", m.data)
	}
	m, _ = f.listen(f.signIn(), "/runs/"+run.ID+"/events").next() // of whom nothing is known
	if strings.Count(m.data, `id="host-0"`) != 1 || !strings.Contains(m.data, "attempt 2") {
		t.Errorf("not the newest attempt alone:\n%s", m.data)
	}
}

// TestLiveIsPaced: however fast a run changes, a page gets ten events a second
// at most, and the last of them has everything.
func TestLiveIsPaced(t *testing.T) {
	f := newFixture(t)
	run := f.create(f.newRun("nginx", 30))
	f.to(run, restart.RunRunning, "", "")
	l := f.listen(f.signIn(), "/runs/"+run.ID+"/events")
	if m, _ := l.next(); !strings.Contains(m.data, "30 waiting") {
		t.Fatalf("first: %s", m.data)
	}
	began := time.Now()
	for i := range 30 {
		f.task(run, i, restart.TaskSucceeded, store.TaskChange{}, nil)
	}
	for n := 1; ; n++ {
		m, open := l.next()
		if !open {
			t.Fatal("the stream has ended")
		}
		if most := int(time.Since(began)/pace) + 2; n > most {
			t.Fatalf("%d events in %s", n, time.Since(began))
		}
		if strings.Contains(m.data, "30 of 30 hosts done") {
			return
		}
	}
}

func TestLiveEndsWithTheSession(t *testing.T) {
	f := newFixture(t)
	run := f.create(f.newRun("nginx", 1))
	l := f.listen(f.signIn(), "/runs/"+run.ID+"/events")
	l.next()
	f.must(f.store.RevokeToken(t.Context(), f.tokenID))
	if m, open := l.next(); open {
		t.Errorf("instead of the end: %+v", m)
	}
}

func TestLiveSaysThatItIsAlive(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Keepalive = 10 * time.Millisecond })
	run := f.create(f.newRun("nginx", 1))
	l := f.listen(f.signIn(), "/runs/"+run.ID+"/events")
	for {
		if m, open := l.next(); m.comment == "alive" {
			return
		} else if !open {
			t.Fatal("the stream has ended")
		}
	}
}

func TestManyHostsLive(t *testing.T) {
	f := newFixture(t)
	run := f.create(f.newRun("many", maxCells+1))
	f.to(run, restart.RunRunning, "", "")
	now, err := f.store.Run(t.Context(), run.ID)
	f.must(err)
	l := f.listen(f.signIn(), "/runs/"+run.ID+"/events?after="+strconv.FormatInt(now.Version, 10))
	f.task(run, 7, restart.TaskSucceeded, store.TaskChange{}, nil)
	m, _ := l.next()
	wants(t, m.data, `<svg class="bar"`, `class="done" x="0" width="1"`, `id="host-7"`)
	lacks(t, m.data, `id="cell-`)
}

func TestStreamOfNoRun(t *testing.T) {
	f := newFixture(t)
	res := f.do("GET", "/runs/"+strings.Repeat("0", 26)+"/events", "", "Cookie", f.signIn(), "Sec-Fetch-Site", "same-origin")
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("%s", res.Status)
	}
}

// Many readers of one run, in two languages and with different rights: each
// gets what is his, and all of it; the run is read for none of them alone, and
// nobody is left when they have gone.
func TestLiveForMany(t *testing.T) {
	f := newFixture(t)
	run := f.create(f.newRun("nginx", 3))
	f.to(run, restart.RunRunning, "", "")
	dana, anna := f.signIn(), f.signInAs("anna", restart.RoleDeveloper)
	var readers []*listener
	for i := range 30 {
		cookie, lang := dana, "en"
		if i%2 == 1 {
			cookie, lang = anna, "ru"
		}
		readers = append(readers, f.listen(cookie, "/runs/"+run.ID+"/events", "Accept-Language", lang))
	}
	for i := range 3 {
		f.task(run, i, restart.TaskSucceeded, store.TaskChange{}, nil)
	}
	f.to(run, restart.RunCompleted, "", "")
	for i, l := range readers {
		var all string
		last := int64(0)
		for m, open := l.next(); open && m.event != "end"; m, open = l.next() {
			if m.comment == "" && m.id <= last {
				t.Errorf("reader %d: event %d after %d", i, m.id, last)
			}
			all, last = all+m.data, max(last, m.id)
		}
		done := "3 of 3 hosts done"
		if i%2 == 1 {
			done = "готово хостов: 3 из 3"
		}
		wants(t, all, `id="host-0"`, `id="host-1"`, `id="host-2"`)
		wants(t, all, done)
		if may := strings.Contains(all, `/abort"`); may != (i%2 == 0) {
			t.Errorf("reader %d may abort: %v", i, may)
		}
	}
	f.site.live.mu.Lock()
	defer f.site.live.mu.Unlock()
	if n := len(f.site.live.byRun); n != 0 {
		t.Errorf("%d broadcasts are left", n)
	}
}

// A reader who is far behind is told all at once what he has missed.
func TestFarBehind(t *testing.T) {
	b := &broadcast{began: make(chan struct{})}
	now := time.Now()
	for i := range 3 * keptSteps {
		b.add(control.Glance{Run: restart.Run{Version: int64(i), State: restart.RunRunning}}, now)
	}
	if next, behind, err := b.after(0); next.number != 3*keptSteps-1 || !behind || err != nil {
		t.Errorf("after the first: %d %v %v", next.number, behind, err)
	}
	if next, behind, _ := b.after(3*keptSteps - 1 - keptSteps); next.number != 3*keptSteps-keptSteps || behind {
		t.Errorf("the oldest that is kept: %d %v", next.number, behind)
	}
	b.end(nil)
	if next, _, err := b.after(3*keptSteps - 1); next != nil || err != nil {
		t.Errorf("after the last: %v %v", next, err)
	}
	if len(b.recent) != keptSteps {
		t.Errorf("%d are kept", len(b.recent))
	}
}
