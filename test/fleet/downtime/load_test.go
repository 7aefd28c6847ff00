package downtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/fleet"
)

// Each way in gets the same load from two clients: ours, with a new connection
// for each request, so that each failure has its time and kind; and wrk, with
// connections that it keeps.
const (
	perSecond = 50              // requests of our client; wrk makes at most twice as many
	slowEvery = 4               // of our client's requests, one asks for what takes half a second
	patience  = 5 * time.Second // of our client with one request
	before    = 10              // requests before the restart begins
	after     = 25              // requests after it is over: late failures count too
)

// tally is what became of the requests of a load.
type tally struct {
	requests, failed int
	kinds            map[string]int
	outage           time.Duration // the longest stretch in which every request failed
}

// row is one way to restart, as users of both ways in saw it.
type row struct {
	way             string
	shipped, strict tally
	took            time.Duration
}

// measure keeps both loads up while restart runs.
func measure(t *testing.T, f *fleet.Fleet, way string, restart func()) row {
	t.Helper()
	shipped, strict := newLoad(t, f, 80), newLoad(t, f, 81)
	shipped.await(t, before)
	strict.await(t, before)
	began := time.Now()
	restart()
	r := row{way: way, took: time.Since(began)}
	shipped.await(t, shipped.count()+after)
	strict.await(t, strict.count()+after)
	r.shipped, r.strict = shipped.stop(t), strict.stop(t)
	return r
}

func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| method | requests | failed | longest outage | failed behind a balancer that retries | duration |\n| --- | --: | --: | --: | --: | --: |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %d of %d | %s |\n", r.way, r.strict.requests, r.strict.failed, round(r.strict.outage),
			r.shipped.failed, r.shipped.requests, r.took.Round(100*time.Millisecond))
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "%s: %v; behind a balancer that retries: %v\n", r.way, r.strict.kinds, r.shipped.kinds)
	}
	return b.String()
}

func round(d time.Duration) string { return d.Round(time.Millisecond).String() }

// answer is one request of our client.
type answer struct {
	began, ended time.Time
	kind         string // of its failure; "" = none
}

type load struct {
	cancel context.CancelFunc
	wrk    *wrk
	ticks  sync.WaitGroup

	mu      sync.Mutex
	answers []answer
}

// newLoad begins to ask the balancer at a port.
func newLoad(t *testing.T, f *fleet.Fleet, port int) *load {
	t.Helper()
	url := fmt.Sprintf("http://%s:%d/", f.Server.Address, port)
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, wrk: startWrk(t, f, url)}
	transport := &http.Transport{DialContext: f.Dial, DisableKeepAlives: true}
	l.ticks.Go(func() {
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			path := ""
			if n%slowEvery == 0 {
				path = "half.bin"
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C: // whether or not earlier requests are answered
				l.ticks.Go(func() { l.ask(transport, url+path) })
			}
		}
	})
	return l
}

// ask makes a request and keeps what became of it. The end of the load does not
// end a request: its answer counts.
func (l *load) ask(transport *http.Transport, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := answer{began: time.Now()}
	a.kind = kind(ask(ctx, transport, url))
	a.ended = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, a)
}

// statusError is an answer with another status than 200.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("status %d", int(s)) }

func ask(ctx context.Context, transport *http.Transport, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := discard(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return statusError(resp.StatusCode)
	}
	return nil
}

func discard(r io.Reader) (int, error) {
	n, err := io.Copy(io.Discard, r)
	return int(n), err
}

// kind names a failure, without the addresses that make each one different.
func kind(err error) string {
	var status statusError
	var timeout net.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &status):
		return status.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	}
	return err.Error()
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answers)
}

// await waits until our client has made n requests.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	end := time.Now().Add(limit)
	for l.count() < n {
		if time.Now().After(end) {
			t.Fatalf("only %d of %d requests were made within %s", l.count(), n, limit)
		}
		time.Sleep(10 * time.Millisecond) // between two looks, bounded by limit
	}
}

// stop ends both clients and adds up.
func (l *load) stop(t *testing.T) tally {
	t.Helper()
	l.cancel()
	l.ticks.Wait()
	out := sum(l.answers)
	out.add(l.wrk.stop(t))
	return out
}

// sum adds up the answers of our client.
func sum(answers []answer) tally {
	sort.Slice(answers, func(i, j int) bool { return answers[i].began.Before(answers[j].began) })
	out := tally{requests: len(answers), kinds: map[string]int{}}
	var down time.Time // since when every request has failed
	for _, a := range answers {
		if a.kind != "" {
			out.failed++
			out.kinds[a.kind]++
			if down.IsZero() {
				down = a.began
			}
			continue
		}
		if !down.IsZero() {
			out.outage = max(out.outage, a.began.Sub(down))
			down = time.Time{}
		}
	}
	if !down.IsZero() {
		out.outage = max(out.outage, answers[len(answers)-1].ended.Sub(down))
	}
	return out
}

func (t *tally) add(requests int, errors map[string]int) {
	t.requests += requests
	for kind, n := range errors {
		if n > 0 {
			t.failed += n
			t.kinds["wrk: "+kind] += n
		}
	}
}
