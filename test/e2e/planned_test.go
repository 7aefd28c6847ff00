package e2e

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// The server is killed around the times of what is planned: each becomes its one
// run, with the id that it was told to have, and no host is restarted twice.
func TestServerKilledAsPlannedTimesCome(t *testing.T) {
	t.Parallel()
	plannedKilled(t, company.Options{Work: 50 * time.Millisecond})
}

// The same on PostgreSQL.
func TestServerKilledAsPlannedTimesComeOnPostgreSQL(t *testing.T) {
	t.Parallel()
	plannedKilled(t, company.Options{Work: 50 * time.Millisecond, DSN: storetest.StartPostgres(t).NewDSN(t), Server: "runs: {lease: 3s}\n"})
}

func plannedKilled(t *testing.T, o company.Options) {
	c := company.New(t, o)
	for i := range kills() {
		draft, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
		must(t, err)
		planned := soon(t, c, draft.ID)
		// It is seen up to a second and a half after its time, and three hosts take
		// about 0.6 s: the kill falls anywhere from before to after.
		<-time.After(time.Until(planned.At) + time.Duration(rand.IntN(2000)-100)*time.Millisecond)
		c.KillServer()
		c.StartServer()
		ended := startedAs(t, c, planned.ID)
		if ended.State != restart.ScheduleStarted || ended.Run != planned.Run {
			t.Fatalf("%s %s: run %s, and %s was told", ended.State, ended.Why, ended.Run, planned.Run)
		}
		account(t, c, settle(t, c, planned.Run))
		runs, err := c.Dev.Runs(t.Context(), wire.RunQuery{Service: demo.ServiceName})
		must(t, err)
		if len(runs.Items) != i+1 {
			t.Errorf("%d schedules became %d runs", i+1, len(runs.Items))
		}
		if t.Failed() {
			return
		}
	}
	compared(t, c)
}

// soon plans a draft for a second from now: for a later one, where that is over
// before the server has read it.
func soon(t *testing.T, c *company.Company, draft string) (planned wire.Planned) {
	t.Helper()
	c.Eventually("it to be planned in time", func() bool {
		var err error
		planned, err = c.Dev.Later(t.Context(), draft, wire.LaterRequest{At: time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano)})
		if restart.CodeOf(err) == restart.CodeInvalid && strings.Contains(err.Error(), "the time is past") {
			return false
		}
		must(t, err)
		return true
	})
	return planned
}

// startedAs waits until a schedule is over. A server that has died as it began has
// it for two minutes more, where others may have the database, too.
func startedAs(t *testing.T, c *company.Company, id string) wire.Planned {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := c.Dev.PlannedOne(ctx, id)
		if err == nil && p.State != restart.ScheduleWaiting {
			return p
		}
		select {
		case <-ctx.Done():
			t.Fatalf("planned run %s: %s, %s, %v", id, p.State, p.Why, err)
		case <-tick.C:
		}
	}
}
