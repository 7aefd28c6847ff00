package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Follow calls each with the whole run, tasks and plan included, whenever its
// version has risen above after, until it is final, each fails or ctx ends
// (nil). A stream that is lost is asked for again from where it was; after
// Config.Patience without an answer the *UnreachableError is returned, and at
// once where the server has never answered this client. The run itself goes
// on, whoever watches.
//
// contact, where it is not nil, is called with false when the server has
// stopped answering and is asked again, and with true when it is back. Neither
// it nor each is called by two goroutines at a time.
func (c *Client) Follow(ctx context.Context, id string, after int64, each func(restart.Run) error, contact func(answers bool)) error {
	if contact == nil {
		contact = func(bool) {}
	}
	f := follower{c: c, id: id, after: after, each: each, contact: contact}
	var waited time.Duration
	for pause := time.Second; ; {
		heard, err := f.stream(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			return nil
		case !passing(err):
			return err
		case !c.answered.Load():
			return err
		case heard: // a stream that ends says nothing yet of the server
			waited, pause = 0, time.Second
		case !f.away:
			f.away = true
			contact(false)
		}
		if waited >= c.cfg.Patience {
			return err
		}
		d := pause/2 + rand.N(pause) //nolint:gosec // not a secret: not all watchers are to come at once
		if c.cfg.Wait(ctx, d) != nil {
			return nil
		}
		waited, pause = waited+d, min(2*pause, 15*time.Second)
	}
}

// errTooLong says that an event is over its bound.
var errTooLong = fmt.Errorf("an event has more than %d bytes", maxEvent)

// passing tells whether it may help to ask again: not where the server itself
// refuses, nor where each has failed.
func passing(err error) bool {
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return true
	}
	switch restart.CodeOf(err) {
	case restart.CodeUnavailable, restart.CodeStopping:
		return true
	}
	return false
}

type follower struct {
	c     *Client
	id    string
	after int64
	run   restart.Run // as it is known so far
	each  func(restart.Run) error

	contact func(answers bool)
	away    bool // contact was told so
}

// stream follows one stream to its end: nil means that the run is final.
// heard tells whether the server answered.
func (f *follower) stream(ctx context.Context) (heard bool, err error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if f.after > 0 {
		header.Set("Last-Event-Id", strconv.FormatInt(f.after, 10))
	}
	resp, err := f.c.do(ctx, http.MethodGet, "runs/"+segment(f.id)+"/events", nil, nil, header)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if f.away {
		f.away = false
		f.contact(true)
	}
	events := newDecoder(resp.Body)
	for {
		event, err := events.next()
		switch {
		case errors.Is(err, errTooLong):
			return true, err
		case err != nil:
			return true, &UnreachableError{URL: f.c.URL(), err: fmt.Errorf("the event stream ended: %w", err)}
		}
		switch event.kind {
		case "end":
			return true, nil
		case "run":
			if err := f.take(event); err != nil {
				return true, err
			}
		}
	}
}

// take adds what an event says to what is known.
func (f *follower) take(e event) error {
	var fresh restart.Run
	if err := json.Unmarshal([]byte(e.data), &fresh); err != nil {
		return fmt.Errorf("read an event of run %s: %w", f.id, err)
	}
	if fresh.Version <= f.after {
		return nil
	}
	if fresh.Plan == nil {
		fresh.Plan = f.run.Plan
	}
	fresh.Tasks = restart.Merge(f.run.Tasks, fresh.Tasks)
	f.run, f.after = fresh, fresh.Version
	return f.each(fresh)
}

// event is one server-sent event.
type event struct{ id, kind, data string }

// maxEvent bounds one event, in bytes.
const maxEvent = maxAnswer

// decoder reads server-sent events as the HTML standard describes them (9.2.6).
type decoder struct {
	r *bufio.Reader
}

func newDecoder(r io.Reader) *decoder { return &decoder{r: bufio.NewReader(r)} }

// next gives the next event that carries data. An event cut short by the end
// of the stream is none: the error is then io.EOF.
func (d *decoder) next() (event, error) {
	e := event{kind: "message"}
	var data strings.Builder
	some := false
	for size := 0; ; {
		line, err := d.line(maxEvent - size)
		if err != nil {
			return event{}, err
		}
		size += len(line) + 1
		if line == "" {
			if some {
				e.data = data.String()
				return e, nil
			}
			e = event{kind: "message"}
			size = 0
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			if some {
				data.WriteByte('\n')
			}
			data.WriteString(value)
			some = true
		case "event":
			e.kind = value
		case "id":
			e.id = value
		}
	}
}

// line reads up to a line feed, which may follow a carriage return.
func (d *decoder) line(most int) (string, error) {
	var b strings.Builder
	for {
		part, err := d.r.ReadSlice('\n')
		if b.Len()+len(part) > most {
			return "", errTooLong
		}
		b.Write(part)
		switch {
		case err == nil:
			return strings.TrimSuffix(strings.TrimSuffix(b.String(), "\n"), "\r"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}
