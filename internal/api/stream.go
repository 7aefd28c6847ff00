package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// writePatience is how long a reader of a stream may take for one piece of it.
const writePatience = 30 * time.Second

// events streams a run: each change an event "run" whose id is the run's
// version, the first with plan and all tasks, the others without plan and with
// the changed tasks only. After the final state comes an event "end".
func (a *api) events(ctx context.Context, actor restart.Actor, in *struct {
	ID    string `path:"id"`
	After int64  `header:"Last-Event-ID" minimum:"0" doc:"the newest event that the reader has"`
}) (http.HandlerFunc, error) {
	if _, err := a.cfg.Control.Run(ctx, actor, in.ID); err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		s := &eventStream{w: w, rc: http.NewResponseController(w)}
		if err := s.open(); err != nil || r.Method == http.MethodHead {
			return
		}
		if err := a.follow(s, r, actor, in.ID, in.After); err != nil && r.Context().Err() == nil {
			a.cfg.Logger.InfoContext(r.Context(), "an event stream ended early", "request_id", requestID(r.Context()), "run_id", in.ID, "actor", actor.Name, "error", err)
		}
	}, nil
}

// follow writes events until the run is final, the reader has gone or may not
// read any more.
func (a *api) follow(s *eventStream, r *http.Request, actor restart.Actor, id string, seen int64) error {
	ctx, cancel := context.WithCancel(r.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()

	runs, ended := make(chan restart.Run), make(chan error, 1)
	following.Go(func() {
		ended <- a.cfg.Control.Follow(ctx, actor, id, seen, func(run restart.Run) error {
			select {
			case runs <- run:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	alive := time.NewTicker(a.cfg.Keepalive)
	defer alive.Stop()
	rights := time.NewTicker(min(a.cfg.Keepalive, time.Second)) // what is revoked ends within about a second
	defer rights.Stop()
	for {
		select {
		case run := <-runs:
			if err := s.run(run); err != nil {
				return err
			}
		case err := <-ended:
			if err != nil || ctx.Err() != nil {
				return err
			}
			return s.write("event: end\ndata: {}\n\n")
		case <-rights.C:
			if now, err := a.cfg.Authn.Authenticate(ctx, r); err != nil || now.Name != actor.Name {
				return fmt.Errorf("the reader is not signed in any more: %w", err)
			}
		case <-alive.C:
			if err := s.write(": alive\n\n"); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// eventStream writes server-sent events, each at once.
type eventStream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s *eventStream) open() error {
	// The request has been read; its deadline would end the stream.
	s.rc.SetReadDeadline(time.Time{}) //nolint:errcheck // where it can't be set, there is none
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx passes on at once
	s.w.WriteHeader(http.StatusOK)
	return s.rc.Flush()
}

func (s *eventStream) run(run restart.Run) error {
	data, err := json.Marshal(run) // in one line
	if err != nil {
		return fmt.Errorf("encode run %s: %w", run.ID, err)
	}
	return s.write(fmt.Sprintf("id: %d\nevent: run\ndata: %s\n\n", run.Version, data))
}

func (s *eventStream) write(text string) error {
	s.rc.SetWriteDeadline(time.Now().Add(writePatience)) //nolint:errcheck // as above
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.rc.Flush()
}

// downloadOutput gives a task's output as a file, byte for byte, with a line
// where some of it was dropped.
func (a *api) downloadOutput(ctx context.Context, actor restart.Actor, in *taskID) (http.HandlerFunc, error) {
	const chunk = 1 << 20
	read := func(offset int64) ([]protocol.Output, error) {
		return a.cfg.Control.Output(ctx, actor, in.ID, in.Task, offset, chunk)
	}
	pieces, err := read(0)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Disposition", `attachment; filename="restartilka-`+in.Task+`.txt"`)
		rc := http.NewResponseController(w)
		for len(pieces) > 0 {
			rc.SetWriteDeadline(time.Now().Add(writePatience)) //nolint:errcheck // where it can't be set, there is none
			for _, p := range pieces {
				if p.Truncated > 0 {
					fmt.Fprintf(w, "\n[truncated %d bytes]\n", p.Truncated)
				}
				if _, err := w.Write(p.Data); err != nil {
					return
				}
			}
			if pieces, err = read(after(pieces)); err != nil {
				a.cfg.Logger.ErrorContext(r.Context(), "read a task's output", "request_id", requestID(r.Context()), "task_id", in.Task, "error", err)
				fmt.Fprintln(w, "\n[the rest could not be read]") // not to be taken for the whole
				return
			}
		}
	}, nil
}
