package store_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// BenchmarkTransition measures one durable transition with its audit record,
// alone and with 200 hosts in hand.
func BenchmarkTransition(b *testing.B) {
	for name, parallel := range map[string]int{"alone": 0, "by 200": 100} {
		b.Run(name, func(b *testing.B) {
			s := storetest.Open(b, storetest.SQLite(b))
			run := mustCreate(b, s, newRun(b.N))
			var next atomic.Int64
			work := func() {
				task := run.Tasks[next.Add(1)-1].ID
				_, err := s.Apply(b.Context(), store.Change{
					RunID: run.ID, Tasks: []store.TaskChange{{ID: task, Path: []restart.TaskState{restart.TaskIntentLogged}}},
					Records: []audit.Record{{Action: audit.TaskIntent, Run: run.ID, Task: task, Reason: run.Reason, Actor: run.Actor}},
				})
				if err != nil {
					b.Error(err)
				}
			}
			b.ResetTimer()
			if parallel == 0 {
				for range b.N {
					work()
				}
				return
			}
			b.SetParallelism(parallel)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					work()
				}
			})
		})
	}
}

// BenchmarkHistory measures the first page of lists over a long history.
func BenchmarkHistory(b *testing.B) {
	s := storetest.Open(b, storetest.SQLite(b))
	start := time.Now()
	for i := range 5000 {
		run := newRun(3)
		run.ID = restart.NewID(start.Add(time.Duration(i) * time.Second))
		for j := range run.Tasks {
			run.Tasks[j].RunID = run.ID
		}
		run.Service = "svc" + strings.Repeat("x", i%50)
		mustCreate(b, s, run)
	}
	for name, filter := range map[string]store.RunFilter{
		"all": {}, "service": {Service: "svcxxx"}, "states": {States: []restart.RunState{restart.RunCompleted, restart.RunQueued}}, "host": {Host: "web1.example.com"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Runs(b.Context(), filter); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
