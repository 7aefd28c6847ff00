package demo

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
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

// WriteDumps lays the scenario that takes the service's thread dumps, on the
// server's shelf and on every host.
func (l Layout) WriteDumps() error {
	const name = "hello-dump.yaml"
	files := []string{filepath.Join(l.ServerDir(), "scenarios", name)}
	for _, h := range l.Hosts {
		files = append(files, filepath.Join(h.Dir, "scenarios.d", name))
	}
	for _, file := range files {
		if err := write(file, l.dumpScenario(), 0o640); err != nil {
			return err
		}
	}
	return nil
}

// dumpScenario is what has been reviewed besides: three thread dumps of it.
func (l Layout) dumpScenario() string {
	return fmt.Sprintf(`# Takes thread dumps of the demo's service. The shipped thread-dump asks for the
# unit's main process; the demo has no units, so this one goes by a pid file.
format: 1
name: hello-dump
serial: 1
author: demo@restartilka.invalid
kind: thread-dump
services: [%s]
description: Thread dumps of hello, three, 1 s apart
strategy:
  batches: [50]
  on_failure: continue
  task_timeout: 1m
dump:
  runtime: go
  process: {pid_file: %s/#host#/%s}
  url: http://%s:%d/#host#/debug/pprof/goroutine
  count: 3
  interval: 1s
`, ServiceName, filepath.Join(l.Dir, "hosts"), pidFile, relayAddress, servicePort)
}
