package storetest_test

import (
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// TestFillHistory: what is measured over is what the store itself would have.
func TestFillHistory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, newDSN storetest.NewDSN) {
		const runs = 1400
		dsn := newDSN(t)
		s, err := store.Open(t.Context(), store.Config{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		h, err := storetest.FillHistory(t.Context(), dsn, runs)
		if err != nil {
			t.Fatal(err)
		}
		s = storetest.Open(t, dsn)
		for _, i := range []int{0, 77, 1399} {
			run, err := s.Run(t.Context(), h.Run(i))
			if err != nil {
				t.Fatal(err)
			}
			if run.Service != h.Service(i) || run.Environment != h.Environment(i) || run.Actor != h.Actor(i) || run.Group != h.Group(i) || run.Plan == nil || len(run.Tasks) != 1+i%19 || run.Tasks[0].Host != h.Host(i) {
				t.Errorf("run %d: %+v", i, run)
			}
			if at := restart.TimeOfID(run.ID); !at.Equal(run.CreatedAt.Truncate(time.Millisecond)) || h.Day(i) != at.Format(time.DateOnly) {
				t.Errorf("run %d is of %s, and its id of %s", i, run.CreatedAt, at)
			}
			got, _, err := s.Runs(t.Context(), store.RunFilter{Text: run.Reason, Service: run.Service, Limit: 200})
			if err != nil || len(got) == 0 {
				t.Errorf("run %d is not found by %q: %v", i, run.Reason, err)
			}
		}
		f, err := s.Figures(t.Context(), store.FiguresFilter{Window: store.WindowYear, Now: time.Now()})
		if err != nil || f.Total.Runs < runs*2/5 || len(f.Services) != 500 || f.Total.P50 == 0 {
			t.Errorf("%+v, %v", f.Total, err)
		}
	})
}
