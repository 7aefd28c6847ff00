package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/restartilka/restartilka/internal/authn"
)

// inside carries requests to a handler of this process, in the name of who has
// shown a key. It is an http.RoundTripper.
type inside struct {
	handler  http.Handler
	shown    authn.ShownKey
	log      *slog.Logger
	handling *sync.WaitGroup // has the handlers that are at work, also for who has gone
}

// RoundTrip implements http.RoundTripper. The answer's body comes as the handler
// writes it; closing it ends the handler's context.
func (t inside) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(authn.WithKey(req.Context(), t.shown))
	r := req.Clone(ctx)
	r.RemoteAddr = net.JoinHostPort(t.shown.From, "0")
	r.RequestURI = req.URL.RequestURI()
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header.Del("Authorization") // who it is, the key says alone
	r.Header.Del("Cookie")
	if r.Body == nil {
		r.Body = http.NoBody
	}
	reader, writer := io.Pipe()
	w := &answer{ctx: ctx, header: http.Header{}, body: writer, begun: make(chan struct{})}
	t.handling.Go(func() { // it ends with the handler, whose context ends with the request's, or with the body
		defer cancel()
		defer r.Body.Close()
		err := io.EOF
		func() {
			defer func() {
				if p := recover(); p != nil {
					err = io.ErrUnexpectedEOF
					if failed, ok := p.(error); !ok || !errors.Is(failed, http.ErrAbortHandler) {
						t.log.Error("a handler has panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
					}
				}
			}()
			t.handler.ServeHTTP(w, r)
		}()
		w.WriteHeader(http.StatusOK)
		if ctx.Err() != nil { // what was given up is not whole
			err = ctx.Err()
		}
		writer.CloseWithError(err)
	})
	select {
	case <-w.begun:
	case <-req.Context().Done(): // not ctx's, which a handler that is done has ended too
		writer.CloseWithError(req.Context().Err())
		return nil, req.Context().Err()
	}
	// Of two ends the first counts: that of an answer which is whole stays.
	stop := context.AfterFunc(ctx, func() { writer.CloseWithError(context.Canceled) })
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &body{reader, func() { stop(); cancel() }}, ContentLength: -1, Request: req,
	}, nil
}

// body ends the handler as it is closed.
type body struct {
	*io.PipeReader
	end func()
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.end()
	return b.PipeReader.Close()
}

// answer is what a handler writes.
type answer struct {
	ctx    context.Context // of the request: what is written after its end arrives nowhere
	header http.Header
	body   *io.PipeWriter
	begun  chan struct{} // closed once status and sent are there

	once   sync.Once
	status int
	sent   http.Header
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if status/100 == 1 {
		return
	}
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) Write(b []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Flush implements http.Flusher: what is written is there at once.
func (a *answer) Flush() { a.WriteHeader(http.StatusOK) }
