package web

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// pace is the shortest time between two events of one stream. The first
	// change after a quiet time is sent at once.
	pace = 100 * time.Millisecond
	// recheck is how often a stream looks whether its reader is still signed in.
	recheck = time.Second
	// patience is how long a reader may take for one event.
	patience = 30 * time.Second
)

// frame is what one event puts into the page.
type frame struct {
	Title string
	Run   runView
	Acts  *acts // nil = as they were
	Cells []cell
	Hosts []hostRow
	Said  string // for those who listen to the page; "" = nothing worth saying
}

// streamRun sends the parts of a run's page that change, as they change, until
// the run is final ("event: end"), the reader has gone, or is signed out.
func (s *site) streamRun(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	after := seen(v.Request)
	if after > run.Version {
		after = 0 // of another history: the database was restored from a backup
	}
	rc := http.NewResponseController(w)
	// The request has been read; its deadline would end the stream.
	rc.SetReadDeadline(time.Time{}) //nolint:errcheck // where deadlines can't be set there are none
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx passes on at once
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil || v.Method == http.MethodHead {
		return nil
	}
	st := &stream{site: s, v: v, w: w, rc: rc, board: newBoard(v.lang, run), run: run, sent: after}
	if err := st.follow(); err != nil && v.Context().Err() == nil {
		s.cfg.Logger.InfoContext(v.Context(), "a live page ended early", "request_id", v.id, "run_id", run.ID, "actor", v.actor.Name, "error", err)
	}
	return nil
}

// seen is the version of the run that the reader's page shows.
func seen(r *http.Request) int64 {
	for _, text := range []string{r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after")} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return 0
}

// stream is one open page of one run.
type stream struct {
	site  *site
	v     *visit
	w     http.ResponseWriter
	rc    *http.ResponseController
	board *board
	run   restart.Run // as last known
	sent  int64       // version of the last event
	acts  *acts       // as last sent; nil = not yet
}

func (st *stream) follow() error {
	ctx, cancel := context.WithCancel(st.v.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()

	runs, ended := make(chan restart.Run), make(chan error, 1)
	following.Go(func() {
		ended <- st.site.cfg.Control.Follow(ctx, st.v.actor, st.run.ID, st.sent, func(run restart.Run) error {
			select {
			case runs <- run:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	alive, check := time.NewTicker(st.site.cfg.Keepalive), time.NewTicker(recheck)
	defer alive.Stop()
	defer check.Stop()
	open := runs // nil while an event has just been sent: what changes meanwhile comes as one
	rest := time.NewTimer(pace)
	defer rest.Stop()
	for {
		select {
		case run := <-open:
			if err := st.send(ctx, run); err != nil {
				return err
			}
			open = nil
			rest.Reset(pace)
		case <-rest.C:
			open = runs
		case err := <-ended:
			if err != nil || ctx.Err() != nil {
				return err
			}
			return st.write("event: end\ndata: over\n\n")
		case <-check.C:
			if now, err := st.site.cfg.Auth.Authenticate(ctx, st.v.Request); err != nil || now.Name != st.v.actor.Name {
				return fmt.Errorf("the reader is not signed in any more: %w", err)
			}
		case <-alive.C:
			if err := st.write(": alive\n\n"); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// send makes one event of what has changed since the last one. The run comes
// with its changed tasks only, or, the first time, with all of them.
func (st *stream) send(ctx context.Context, run restart.Run) error {
	var changed []restart.Task
	for _, t := range run.Tasks {
		if t.Version > st.sent {
			changed = append(changed, t)
		}
	}
	before := st.run
	run.Tasks = restart.Merge(before.Tasks, run.Tasks)
	f := st.frame(ctx, before, run, changed)
	var b bytes.Buffer
	if err := st.site.pages[st.v.lang][pageRun].ExecuteTemplate(&b, "frame", f); err != nil {
		return fmt.Errorf("render an event: %w", err)
	}
	st.run, st.sent = run, run.Version
	return st.write(event(run.Version, b.String()))
}

func (st *stream) frame(ctx context.Context, before, run restart.Run, changed []restart.Task) frame {
	now := st.site.cfg.Now()
	attempts := map[string]int{} // the newest of each host
	for _, t := range run.Tasks {
		attempts[t.Host] = max(attempts[t.Host], t.Attempt)
	}
	f := frame{Title: st.board.title(run), Run: st.board.view(run, now)}
	f.Run.Live = true
	notes := st.site.notes(ctx, st.v.actor, changed)
	for _, t := range changed {
		if t.Attempt < attempts[t.Host] {
			continue
		}
		c, r := st.board.cell(t), st.board.row(t, notes[t.ID], now)
		c.Live, r.Live = true, true
		f.Cells, f.Hosts = append(f.Cells, c), append(f.Hosts, r)
	}
	if st.board.total > maxCells {
		f.Cells = nil
	}
	st.plan(&run)
	if a := st.site.acts(ctx, st.v.actor, run, st.frozen(ctx, run), now); st.acts == nil || !st.acts.same(a) || moved(before, run) {
		a.Live = true
		f.Acts, st.acts = &a, &a
	}
	if st.sent < before.Version || moved(before, run) { // the first: what the reader has missed
		f.Said = say(st.v.lang, "said.run", f.Run.State, f.Run.Counts[0].Text)
	}
	return f
}

// frozen tells whether a freeze stands in the run's way. Where that can't be
// found out it is left to the press, which asks again.
func (st *stream) frozen(ctx context.Context, run restart.Run) bool {
	if run.State != restart.RunDraft && run.State != restart.RunAwaitingApproval && run.State != restart.RunPaused {
		return false
	}
	f, err := st.site.cfg.Control.FreezeOn(ctx, st.v.actor, run)
	return err == nil && f != nil
}

// plan lays back what a follower is not told again.
func (st *stream) plan(run *restart.Run) {
	if run.Plan == nil {
		run.Plan = &st.board.plan
	}
}

// moved tells whether the run or one of its hosts is in another state now, or
// whether only the hosts' phases and looks at health have gone on.
func moved(before, after restart.Run) bool {
	if before.State != after.State || before.Control != after.Control || len(before.Tasks) != len(after.Tasks) {
		return true
	}
	for i := range after.Tasks { // Merge keeps their places
		if before.Tasks[i].State != after.Tasks[i].State || (before.Tasks[i].Decision == nil) != (after.Tasks[i].Decision == nil) {
			return true
		}
	}
	return false
}

// event is one server-sent event without a name: htmx puts its parts in place.
func event(id int64, html string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "id: %d\n", id)
	for line := range strings.Lines(html) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString("data: " + line + "\n")
		}
	}
	b.WriteByte('\n')
	return b.String()
}

func (st *stream) write(text string) error {
	st.rc.SetWriteDeadline(time.Now().Add(patience)) //nolint:errcheck // as above
	if _, err := st.w.Write([]byte(text)); err != nil {
		return err
	}
	return st.rc.Flush()
}
