//go:build ignore

// Goroutines of many kinds; what it then does is its argument: profile, grouped,
// panic, deadlock, or wait (for SIGQUIT).
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"sync"
	"time"
)

type store struct {
	mu sync.Mutex
	rw sync.RWMutex
}

func (s *store) get() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

func (s *store) read() {
	s.rw.RLock()
	defer s.rw.RUnlock()
}

func deep(n int, c chan int) int {
	if n == 0 {
		return <-c
	}
	return deep(n-1, c) + 1
}

func generic[T any](c chan T) { c <- *new(T) }

func start() {
	s := &store{}
	s.mu.Lock()
	s.rw.Lock()
	for range 4 {
		go s.get()
	}
	go s.read()
	go deep(150, make(chan int))
	go generic(make(chan struct{ name string }))
	go func() { select {} }()
	go func() { time.Sleep(time.Hour) }()
	go func() {
		var group sync.WaitGroup
		group.Add(1)
		group.Wait()
	}()
	go func() {
		c := sync.NewCond(&sync.Mutex{})
		c.L.Lock()
		c.Wait()
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { _, _ = l.Accept() }()
	pprof.Do(context.Background(), pprof.Labels("route", "/orders"), func(ctx context.Context) {
		go func() { <-ctx.Done(); select {} }()
	})
	time.Sleep(200 * time.Millisecond)
}

func main() {
	if os.Args[1] == "deadlock" {
		var mu sync.Mutex
		mu.Lock()
		mu.Lock()
	}
	start()
	switch os.Args[1] {
	case "profile":
		_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 2)
	case "grouped":
		_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
	case "panic":
		var none *store
		none.mu.Lock()
	case "wait":
		fmt.Println("ready")
		select {}
	}
}
