package api

import (
	"io"
	"net/http"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// ping answers as long as the process does.
func (a *api) ping(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "pong") }

// readyz says whether the server can do its work: a line for each check, and
// the verdict. Why one fails is for those who may read the server's log.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	status, verdict := http.StatusOK, "ready"
	var checks []Check
	if a.cfg.Ready != nil {
		checks = a.cfg.Ready(r.Context())
	}
	var b strings.Builder
	for _, c := range checks {
		if c.Err == nil {
			b.WriteString(c.Name + " ok")
			if c.Note != "" {
				b.WriteString(": " + c.Note)
			}
			b.WriteByte('\n')
			continue
		}
		status, verdict = http.StatusServiceUnavailable, "not ready"
		b.WriteString(c.Name + " failed\n")
	}
	say(w, status, b.String()+verdict)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text+"\n") //nolint:errcheck // the caller has gone
}

// nothingHere answers below /api/ where no route fits: a wrong method is told
// apart from a wrong path.
func (a *api) nothingHere(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/api/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		a.refuse(w, r, restart.Errorf(restart.CodeNotFound, "there is nothing at %s", restart.Quote(r.URL.Path)).WithHint("the routes are listed at /api/openapi.json"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	p := a.problem(r.Context(), restart.Errorf(restart.CodeInvalid, "%s is not a method of %s", restart.Quote(r.Method), restart.Quote(r.URL.Path)).
		WithHint("it has: %s", strings.Join(allowed, ", ")))
	p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	writeProblem(w, p)
}
