package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The ways by which an event stream is read.
const (
	viaAPI = "api"
	viaWeb = "web"
)

// The classes of routes: a path itself may hold names, and has no end of them.
const (
	classAPI        = "api"
	classPages      = "pages"
	classAssets     = "assets"
	classEvents     = "events"
	classMonitoring = "monitoring"
	classChat       = "chat" // what a chat sends to this server
)

func classOf(path string) string {
	switch {
	case path == "/ping", path == "/readyz", path == "/metrics":
		return classMonitoring
	case strings.HasPrefix(path, "/assets/"):
		return classAssets
	case strings.HasSuffix(path, "/events"):
		return classEvents
	case strings.HasPrefix(path, "/api/"):
		return classAPI
	case strings.HasPrefix(path, "/chat/"):
		return classChat
	}
	return classPages
}

func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
		return r.Method
	}
	return "other" // a method may be any word
}

// measured counts requests, and how long their answers take.
func (m *meters) measured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		class, began := classOf(r.URL.Path), time.Now()
		rec := &statusRecorder{ResponseWriter: w}
		if class == classEvents {
			via := viaWeb
			if strings.HasPrefix(r.URL.Path, "/api/") {
				via = viaAPI
			}
			open := m.streams.WithLabelValues(via)
			open.Inc()
			defer open.Dec()
		}
		next.ServeHTTP(rec, r)
		if class != classEvents {
			m.requestTime.WithLabelValues(class).Observe(time.Since(began).Seconds())
		}
		m.requests.WithLabelValues(class, methodOf(r), rec.code()).Inc()
	})
}

// statusRecorder remembers an answer's status. Flushing and deadlines find the
// writer below through Unwrap.
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

func (r *statusRecorder) code() string {
	if r.status == 0 {
		return strconv.Itoa(http.StatusOK) // so does net/http when a handler writes nothing
	}
	return strconv.Itoa(r.status)
}
