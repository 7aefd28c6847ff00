package store_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// A lease is measured by the database's clock alone: what a server's own says,
// and how it jumps, makes it neither longer nor shorter. In the bubble the
// program's clock is years behind, and an hour takes no time.
func TestALeaseIsOfTheDatabasesClock(t *testing.T) {
	dsn := storetest.SQLite(t)
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), store.Config{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		now, err := s.Now(t.Context())
		if err != nil || time.Until(now) < 24*365*time.Hour {
			t.Fatalf("the clocks do not differ: %s and %s, %v", now, time.Now(), err)
		}
		mustCreate(t, s, newRun(1))
		claim := func(owner string) int {
			t.Helper()
			claims, err := s.Claim(t.Context(), owner, time.Minute, 10)
			if err != nil {
				t.Fatal(err)
			}
			return len(claims)
		}
		if claim("one") != 1 {
			t.Fatal("the run was not to be had")
		}
		time.Sleep(time.Hour) // for the program, not for the database
		if claim("two") != 0 {
			t.Error("an hour of the program's clock has ended a lease of a minute of the database's")
		}
		if held, err := s.Renew(t.Context(), "one", -time.Second); err != nil || len(held) != 1 {
			t.Errorf("%v %v", held, err)
		}
		if claim("two") != 1 {
			t.Error("a lease that is over by the database's clock holds all the same")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
