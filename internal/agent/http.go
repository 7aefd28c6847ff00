package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// answerTime is how long one piece of an answer may take to be taken.
const answerTime = 30 * time.Second

// policy says who may use a verb. The zero policy lets nobody.
type policy string

const (
	// servers are those that agent.yaml names, each with a client certificate of
	// the pinned authority: see Handler.
	servers policy = "server"
	// rootHere is root on this host, by the agent's socket: see LocalHandler.
	rootHere policy = "root"
)

// verbs is the one table of what can be asked of an agent by the network.
func (a *Agent) verbs() []verb {
	return []verb{
		{http.MethodPut, "/v1/tasks/{id}", servers, a.servePut},
		{http.MethodGet, "/v1/tasks/{id}", servers, a.serveGet},
		{http.MethodGet, "/v1/tasks/{id}/output", servers, a.serveOutput},
		{http.MethodGet, "/v1/tasks/{id}/dumps/{n}", servers, a.serveDump},
		{http.MethodPost, "/v1/tasks/{id}/cancel", servers, a.serveCancel},
		{http.MethodDelete, "/v1/tasks/{id}", servers, a.serveForget},
		{http.MethodPost, "/v1/check", servers, a.serveCheck},
		{http.MethodPost, "/v1/probe", servers, a.serveProbe},
		{http.MethodPost, "/v1/evidence", servers, a.serveEvidence},
		{http.MethodPost, "/v1/certificate/request", servers, a.serveRenewalRequest},
		{http.MethodPut, "/v1/certificate", servers, a.serveRenewal},
		{http.MethodPost, "/v1/discover", servers, a.serveDiscover},
		{http.MethodGet, "/v1/local", servers, a.serveLocal},
		{http.MethodPut, "/v1/scenarios/{id}", servers, a.serveLay},
		{http.MethodPut, "/v1/envelope-keys", servers, a.serveLearnKeys},
	}
}

type verb struct {
	method, path string
	policy       policy
	serve        func(http.ResponseWriter, *http.Request) error
}

// admitted is the verb for callers of whom the door has made sure that they are
// who. What is for others, or for nobody, is refused.
func (v verb) admitted(who policy) func(http.ResponseWriter, *http.Request) error {
	if v.policy == who {
		return v.serve
	}
	return func(http.ResponseWriter, *http.Request) error {
		return restart.Errorf(restart.CodeForbidden, "this verb has no policy that lets anybody use it here")
	}
}

// Handler serves the verbs of internal/protocol. A request whose connection
// carries no verified client certificate is refused before anything else, the
// unknown paths included.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, v := range a.verbs() {
		mux.Handle(v.method+" "+v.path, a.tally.counted(v.name(), a.answer(v.admitted(servers))))
	}
	mux.Handle("/", a.tally.counted(otherVerb, a.answer(func(_ http.ResponseWriter, r *http.Request) error {
		return restart.Errorf(restart.CodeNotFound, "this agent has no verb %s %s", restart.Quote(r.Method), restart.Quote(r.URL.Path))
	})))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
			a.tally.asked(otherVerb, http.StatusUnauthorized)
			protocol.WriteError(w, restart.Errorf(restart.CodeUnauthorised, "a server's client certificate is needed"))
			return
		}
		if err := expired(r, a.cfg.Now()); err != nil {
			w.Header().Set("Connection", "close")
			a.tally.asked(otherVerb, protocol.StatusOf(restart.CodeOf(err)))
			protocol.WriteError(w, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, protocol.MaxBody)
		mux.ServeHTTP(w, r)
	})
}

// answer turns a verb's error into an answer, and logs what is ours.
func (a *Agent) answer(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadline(w, answerTime)
		if r.Method == http.MethodGet { // there is no body to wait for, and the answer may take long
			http.NewResponseController(w).SetReadDeadline(time.Time{}) //nolint:errcheck // a recorder in a test has none
		}
		err := serve(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		log := a.cfg.Logger.With("method", r.Method, "path", restart.Escape(r.URL.Path), "peer", restart.Escape(r.RemoteAddr))
		if code := restart.CodeOf(err); code == restart.CodeInternal {
			log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.Any("error", err))
		} else {
			level := slog.LevelInfo
			if code == restart.CodeNotFound { // a server asks whether an id is known before it sends a task
				level = slog.LevelDebug
			}
			log.LogAttrs(r.Context(), level, "request refused", slog.String("code", string(code)), slog.String("error", err.Error()))
		}
		protocol.WriteError(w, err)
	})
}

// deadline bounds the writing of what comes next; 0 = no bound.
func deadline(w http.ResponseWriter, d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	http.NewResponseController(w).SetWriteDeadline(at) //nolint:errcheck // a recorder in a test has none
}

// decode reads a body strictly: one JSON value, no unknown fields.
func decode(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("other data follows")
		}
	}
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return restart.Errorf(restart.CodeTooLarge, "the request has more than %d bytes", over.Limit)
	}
	if err != nil {
		return restart.Errorf(restart.CodeInvalid, "the request can't be read: %s", restart.Escape(err.Error()))
	}
	return nil
}

func reply(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// handle is one verb with a body: decode, one call, reply.
func handle[In, Out any](w http.ResponseWriter, r *http.Request, call func(context.Context, string, In) (Out, error)) error {
	var in In
	if err := decode(r, &in); err != nil {
		return err
	}
	out, err := call(r.Context(), r.PathValue("id"), in)
	if err != nil {
		return err
	}
	return reply(w, out)
}

func (a *Agent) servePut(w http.ResponseWriter, r *http.Request) error {
	err := handle(w, r, a.Put)
	if err != nil && r.Context().Err() == nil {
		a.tally.refused(restart.CodeOf(err))
	}
	return err
}
func (a *Agent) serveCancel(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, a.Cancel)
}
func (a *Agent) serveForget(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, a.Forget)
}

func (a *Agent) serveCheck(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, func(ctx context.Context, _ string, in protocol.CheckRequest) (protocol.CheckReport, error) {
		report, err := a.Check(ctx, in)
		report.Certificate = a.cfg.Identity.Report()
		return report, err
	})
}

func (a *Agent) serveProbe(w http.ResponseWriter, r *http.Request) error {
	deadline(w, protocol.ProbeTime+answerTime)
	return handle(w, r, func(ctx context.Context, _ string, in protocol.ProbeRequest) (protocol.ProbeReport, error) {
		return a.Probe(ctx, in)
	})
}

func (a *Agent) serveGet(w http.ResponseWriter, r *http.Request) error {
	after, wait := int64(-1), time.Duration(0)
	q := r.URL.Query()
	if s := q.Get("after"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return restart.Errorf(restart.CodeInvalid, "after=%s is not a revision", restart.Quote(s))
		}
		after = n
	}
	if s := q.Get("wait"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > protocol.MaxWait {
			return restart.Errorf(restart.CodeInvalid, "wait=%s is not acceptable", restart.Quote(s)).WithHint("a duration from 0s to %s", protocol.MaxWait)
		}
		wait = d
	}
	deadline(w, wait+answerTime)
	status, err := a.Wait(r.Context(), r.PathValue("id"), after, wait)
	if err != nil {
		return err
	}
	return reply(w, status)
}

// serveLocal tells what root has begun on the host itself.
func (a *Agent) serveLocal(w http.ResponseWriter, r *http.Request) error {
	after := int64(0)
	if s := r.URL.Query().Get("after"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return restart.Errorf(restart.CodeInvalid, "after=%s is not a number", restart.Quote(s))
		}
		after = n
	}
	report, err := a.LocalReport(r.Context(), after)
	if err != nil {
		return err
	}
	return reply(w, report)
}

// serveOutput answers with NDJSON, line by line as the output comes. An error
// after the first line ends the answer without its EOF line: the server asks
// again from where it got to.
func (a *Agent) serveOutput(w http.ResponseWriter, r *http.Request) error {
	offset := int64(0)
	if s := r.URL.Query().Get("offset"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return restart.Errorf(restart.CodeInvalid, "offset=%s is not a number", restart.Quote(s))
		}
		offset = n
	}
	id := r.PathValue("id")
	if _, err := a.find(id); err != nil {
		return err
	}
	if offset < 0 {
		return restart.Errorf(restart.CodeInvalid, "offset=%d is not acceptable: it counts from 0", offset)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	control, lines := http.NewResponseController(w), json.NewEncoder(w)
	control.Flush() // the first line's error counts
	deadline(w, 0)
	err := a.Output(r.Context(), id, offset, func(o protocol.Output) error {
		deadline(w, answerTime)
		defer deadline(w, 0) // none while nothing is printed
		if err := lines.Encode(o); err != nil {
			return err
		}
		return control.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		a.cfg.Logger.Info("output broke off", "task_id", id, "error", err)
	}
	return nil
}
