package agent

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/restartilka/restartilka/internal/restart"
)

// otherVerb stands for requests that fit no verb, or came without a certificate.
const otherVerb = "other"

// request is what a request is counted by.
type request struct {
	verb   string
	status int
}

// tally counts what was asked of this agent since it started.
type tally struct {
	mu       sync.Mutex
	requests map[request]int64
	refusals map[restart.Code]int64 // of PUT
}

// refusalCodes are the refusals of a task that are shown before they happen, so
// that the first one is seen as a rise.
var refusalCodes = []restart.Code{
	restart.CodeBadSignature, restart.CodeInvalid, restart.CodeReason, restart.CodeWrongHost, restart.CodeTombstone, restart.CodeConflict, restart.CodeReplay,
	restart.CodeClockSkew, restart.CodeStaleEpoch, restart.CodeUnknownService, restart.CodeWrongGroup, restart.CodeNotReviewed, restart.CodeParam,
	restart.CodeForbidden, restart.CodeNotInstalled, restart.CodeBusy, restart.CodeDiskFull, restart.CodeStopping, restart.CodeTooLarge, restart.CodeInternal,
}

func newTally() *tally {
	t := &tally{requests: map[request]int64{}, refusals: map[restart.Code]int64{}}
	for _, code := range refusalCodes {
		t.refusals[code] = 0
	}
	return t
}

func (t *tally) asked(verb string, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests[request{verb, status}]++
}

func (t *tally) refused(code restart.Code) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusals[code]++
}

// read gives copies of the counts.
func (t *tally) read() (map[request]int64, map[restart.Code]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.requests), maps.Clone(t.refusals)
}

// name is the word for a verb: its path without what all have, or what its
// method does with a task.
func (v verb) name() string {
	rest, ofTask := strings.CutPrefix(v.path, "/v1/tasks/{id}")
	if !ofTask {
		return strings.ReplaceAll(strings.TrimPrefix(v.path, "/v1/"), "/", "_")
	}
	if rest != "" {
		return rest[1:]
	}
	switch v.method {
	case http.MethodGet:
		return "status"
	case http.MethodDelete:
		return "forget"
	}
	return "put"
}

// statusRecorder remembers the status of an answer. Deadlines and flushing find
// the writer below through Unwrap.
type statusRecorder struct {
	http.ResponseWriter
	status int // 0 = nothing was written yet
}

func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *statusRecorder) sent() int {
	if r.status == 0 {
		return http.StatusOK // so does net/http when a handler writes nothing
	}
	return r.status
}

// counted counts the requests of a verb by what was answered.
func (t *tally) counted(verb string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &statusRecorder{ResponseWriter: w}
		next.ServeHTTP(rec, r)
		t.asked(verb, rec.sent())
	})
}

func (r request) labels() []string { return []string{"verb", r.verb, "status", strconv.Itoa(r.status)} }
