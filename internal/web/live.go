package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// pace is the shortest time between two steps of a broadcast. The first
	// change after a quiet time is sent at once.
	pace = 100 * time.Millisecond
	// pulse is how often a stream looks whether its reader may still read.
	pulse = 900 * time.Millisecond
	// patience is how long a reader may take for one event.
	patience = 30 * time.Second
)

// frame is what one event puts into each page of a run, but for what its reader may press.
type frame struct {
	Title string
	Run   runView
	Cells []cell
	Hosts []hostRow
	Parts []sightLink // how many hosts each part of the list has
	Said  string      // for those who listen to the page; "" = nothing worth saying
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
	st := &stream{site: s, v: v, w: w, rc: rc, sent: after}
	if err := st.follow(run.ID); err != nil && v.Context().Err() == nil {
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
	site *site
	v    *visit
	w    http.ResponseWriter
	rc   *http.ResponseController
	sent int64 // version of the last event
	acts *acts // as last sent; nil = not yet
}

// follow sends what the run's broadcast has, from what the reader has seen on.
func (st *stream) follow(run string) error {
	ctx := st.v.Context()
	b := st.site.live.join(run)
	defer st.site.live.leave(b)
	now, err := b.newest(ctx)
	if now == nil {
		return err
	}
	if err := st.catchUp(ctx, now); err != nil {
		return err
	}
	number, passed := now.number, now.passed
	alive, check := time.NewTicker(st.site.cfg.Keepalive), time.NewTicker(pulse)
	defer alive.Stop()
	defer check.Stop()
	asked := time.Now()
	gone := st.site.present.join(st.v.actor.Session)
	defer st.site.present.leave(st.v.actor.Session)
	for {
		select {
		case <-passed:
			next, behind, err := b.after(number)
			if next == nil {
				return st.end(err)
			}
			if number, passed = next.number, next.passed; behind {
				err = st.catchUp(ctx, next)
			} else {
				err = st.send(ctx, next)
			}
			if err != nil {
				return err
			}
		case <-gone:
			return errors.New("the reader's session has ended")
		case now := <-check.C:
			if err := st.site.cfg.Control.Sees(st.v.actor); err != nil {
				return err // the rules have changed
			}
			if gone != nil && now.Sub(asked) < recheck {
				continue
			}
			asked = now
			if actor, err := st.site.cfg.Auth.Authenticate(ctx, st.v.Request); err != nil || actor.Name != st.v.actor.Name {
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

func (st *stream) end(err error) error {
	if err != nil {
		return err
	}
	return st.write("event: end\ndata: over\n\n")
}

// catchUp sends all that the reader has missed, as one event of his own, if he
// has missed something.
func (st *stream) catchUp(ctx context.Context, now *step) error {
	if now.run.Version <= st.sent {
		return nil
	}
	at := st.site.cfg.Now()
	// After a restart of the server very many have missed the same.
	text, err := now.once(fmt.Sprint(st.v.lang, " after ", st.sent, at.Unix()), func() (string, error) {
		var missed []restart.Task
		for _, t := range now.run.Tasks {
			if t.Version > st.sent {
				missed = append(missed, t)
			}
		}
		return st.site.frame(now, st.v.lang, at, missed, true)
	})
	if err != nil {
		return err
	}
	return st.event(ctx, now, text)
}

// send sends one step of the run, unless the reader has seen it.
func (st *stream) send(ctx context.Context, now *step) error {
	if now.run.Version <= st.sent {
		return nil
	}
	text, err := now.text(st.site, st.v.lang)
	if err != nil {
		return err
	}
	return st.event(ctx, now, text)
}

// event sends what all readers of a language get, with what this one may press,
// where that has changed.
func (st *stream) event(ctx context.Context, now *step, text string) error {
	a := st.site.acts(ctx, st.v.actor, now.run, now.frozen, now.at)
	a.Key, a.Live = now.key, true
	if st.acts == nil || !st.acts.same(a) || now.moved {
		own, err := now.forms(st.site, st.v.lang, a)
		if err != nil {
			return err
		}
		text, st.acts = text+own, &a
	}
	st.sent = now.run.Version
	return st.write("id: " + strconv.FormatInt(now.run.Version, 10) + "\n" + text + "\n")
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

// data makes lines of a server-sent event of a text.
func data(html string) string {
	var b strings.Builder
	b.Grow(len(html) + len(html)/8)
	for line := range strings.Lines(html) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString("data: " + line + "\n")
		}
	}
	return b.String()
}

func (st *stream) write(text string) error {
	st.rc.SetWriteDeadline(time.Now().Add(patience)) //nolint:errcheck // as above
	if _, err := st.w.Write([]byte(text)); err != nil {
		return err
	}
	return st.rc.Flush()
}
