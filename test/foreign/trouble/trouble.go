// Package trouble lets the foreign servers of tests misbehave as real ones do:
// down, slow, behind a proxy that answers with a page, sending elsewhere, or
// cutting the line after they have done what was asked.
package trouble

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"
)

// Way is how a request goes wrong; well is the server that would answer it.
type Way func(w http.ResponseWriter, r *http.Request, well http.Handler)

// Gate stands before a server. Its zero value lets everything pass.
type Gate struct {
	mu    sync.Mutex
	way   Way
	times int
	seen  int
}

// Forever is for Next.
const Forever = 1 << 30

// Next has the next so many requests go wrong; 0 = none, from now on.
func (g *Gate) Next(times int, way Way) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.way, g.times = way, times
}

// Seen counts all requests that came, whatever became of them.
func (g *Gate) Seen() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

// Before puts the gate before a server. The whole request is read first, 1 MiB
// at most, as servers behind a proxy have it.
func (g *Gate) Before(well http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		g.mu.Lock()
		g.seen++
		var way Way
		if g.times > 0 {
			g.times--
			way = g.way
		}
		g.mu.Unlock()
		if way == nil {
			well.ServeHTTP(w, r)
			return
		}
		way(w, r, well)
	})
}

// Status answers a status with a page in HTML, as a proxy does whose server is away.
func Status(code int) Way {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { page(w, code) }
}

// Page answers 200 with a page to sign in.
func Page(w http.ResponseWriter, _ *http.Request, _ http.Handler) { page(w, http.StatusOK) }

func page(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, "<!DOCTYPE html><html><title>Sign in\x1b[2J</title><form action=\"/login\"></form></html>")
}

// Busy answers 429 and says for how long; in the way of a plain proxy, with no
// body of the server's own.
func Busy(after time.Duration) Way {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

// Redirect sends to another address, with the method and the body.
func Redirect(to string) Way {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
}

// Slow answers well, after a time or never if the caller leaves before.
func Slow(d time.Duration) Way {
	return func(w http.ResponseWriter, r *http.Request, well http.Handler) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			well.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// Hang never answers: it waits until the caller leaves.
func Hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }

// Down cuts the line at once.
func Down(w http.ResponseWriter, _ *http.Request, _ http.Handler) { cut(w) }

// Lost does what is asked, and cuts the line before the answer.
func Lost(w http.ResponseWriter, r *http.Request, well http.Handler) {
	well.ServeHTTP(httptest.NewRecorder(), r)
	cut(w)
}

func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2 has no line of its own to cut
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_ = conn.Close()
}
