package demo

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"sync"
	"time"
)

// The little service answers, and hangs when it is asked to: that is what the
// demo's thread dumps are for. Its health check knows nothing of it, as often.

const orders = 12 // of them hang at each call of /hang

// depot is what an order takes its goods from, one order after another.
type depot struct {
	shelf    sync.Mutex
	delivery chan struct{} // nothing is ever delivered
}

// pick takes one thing from the shelf, and holds the shelf meanwhile.
func (d *depot) pick() {
	d.shelf.Lock()
	defer d.shelf.Unlock()
	<-d.delivery
}

// answers is what the service serves once it is warm.
func answers(ready time.Time) http.Handler {
	d := &depot{delivery: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/goroutine", pprof.Handler("goroutine").ServeHTTP)
	mux.HandleFunc("GET /hang", func(w http.ResponseWriter, _ *http.Request) {
		for range orders {
			go d.pick()
		}
		fmt.Fprintf(w, "%d orders hang in process %d, until it is restarted\n", orders, os.Getpid())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().Before(ready) {
			http.Error(w, "warming up", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "hello from process %d\n", os.Getpid())
	})
	return mux
}
