package receive

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// atOnce is how many batches of one source are in memory at most.
	atOnce = 4

	readTime  = 30 * time.Second // of a request
	writeTime = 60 * time.Second // from its header to the end of its answer
)

// door is one source as the network sees it.
type door struct {
	name  string
	peer  pki.Identity // whose certificate opens it
	slots chan struct{}
	limit limiter
}

// Handler takes batches, from whoever shows the certificate of their source.
type handler struct {
	store *Store
	doors map[string]*door
	turn  func(why string) // counts who was turned away
	log   *slog.Logger
}

func newHandler(c Config, s *Store, turn func(string), log *slog.Logger) http.Handler {
	h := &handler{store: s, doors: map[string]*door{}, turn: turn, log: log}
	for _, from := range c.Sources {
		h.doors[from.Name] = &door{
			name: from.Name, peer: pki.Identity{Role: pki.RoleServer, Name: from.peer()},
			slots: make(chan struct{}, atOnce), limit: limiter{rate: float64(c.SourceRate << 20)},
		}
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/sources/{source}/records", h.admitted(h.take))
	mux.Handle("GET /v1/sources/{source}/records", h.admitted(h.head))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.turn("unknown")
		answer(w, audit.Head{}, restart.Errorf(restart.CodeNotFound, "this receiver has nothing there").WithHint("POST or GET /v1/sources/SOURCE/records"))
	})
	return mux
}

// admitted lets in who is the source that the path names, and answers with what
// comes of it.
func (h *handler) admitted(serve func(*door, *http.Request) (audit.Head, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := h.doors[r.PathValue("source")]
		if err := known(d, r); err != nil {
			h.turn("stranger")
			h.log.Warn("a stranger was turned away", "peer", r.RemoteAddr, "path", restart.Escape(r.URL.Path), "error", err)
			w.Header().Set("Connection", "close") // the next one may bring another certificate
			answer(w, audit.Head{}, err)
			return
		}
		head, err := serve(d, r)
		if err != nil && r.Context().Err() != nil {
			return // nobody listens any more
		}
		if _, ok := errors.AsType[*audit.Behind](err); err != nil && !ok {
			h.log.Warn("a batch was refused", "source", d.name, "peer", r.RemoteAddr, "error", err)
		}
		answer(w, head, err)
	})
}

// known wants the verified certificate of the source. Who has another one does
// not learn which sources there are.
func known(d *door, r *http.Request) error {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return restart.Errorf(restart.CodeUnauthorised, "the client certificate of a source is needed")
	}
	leaf := r.TLS.PeerCertificates[0]
	if d == nil || pki.Is(leaf, d.peer) != nil {
		return restart.Errorf(restart.CodeForbidden, "the certificate is not that of the source %s: it is for %s", restart.Quote(r.PathValue("source")), pki.Names(leaf)).
			WithHint("the receiver's configuration lists each source, with the name in its certificate")
	}
	if now := time.Now(); now.After(leaf.NotAfter) { // a connection may outlive its certificate
		return restart.Errorf(restart.CodeUnauthorised, "the certificate has expired since the connection was made").WithHint("connect again with the renewed one")
	}
	return nil
}

func (h *handler) head(d *door, _ *http.Request) (audit.Head, error) {
	return h.store.sources[d.name].stats().Head, nil
}

func (h *handler) take(d *door, r *http.Request) (audit.Head, error) {
	here := func() audit.Head { return h.store.sources[d.name].stats().Head }
	if r.ContentLength < 0 || r.ContentLength > audit.ReceiverBody {
		return here(), restart.Errorf(restart.CodeTooLarge, "a batch tells its length, and has at most %d bytes", audit.ReceiverBody)
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		return here(), restart.Errorf(restart.CodeTooMany, "%d batches of %s are being stored already", atOnce, d.name)
	}
	if err := d.limit.wait(r.Context(), r.ContentLength); err != nil {
		return here(), err
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return here(), restart.Errorf(restart.CodeInvalid, "the batch broke off: %v", err)
	}
	return h.store.Take(d.name, body)
}

// answer tells the head, and why not all was stored.
func answer(w http.ResponseWriter, head audit.Head, err error) {
	out, status := audit.ReceiverAnswer{Head: head}, http.StatusOK
	if behind, ok := errors.AsType[*audit.Behind](err); ok {
		out.Behind = true
		err = restart.Errorf(restart.CodeConflict, "records are missing behind record %d", behind.After).WithHint("send from record %d on", behind.After+1)
	}
	if err != nil {
		e, ok := errors.AsType[*restart.Error](err)
		if !ok {
			e = restart.Errorf(restart.CodeInternal, "internal error")
		}
		out.Error, status = e, protocol.StatusOf(e.Code)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(out) //nolint:errcheck // the peer has gone: it sends again
}

// server has the bounds that every listener needs.
func server(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       readTime,
		WriteTimeout:      writeTime,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: atOnce},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo), // who was turned away at the handshake, and why
	}
	return s
}
