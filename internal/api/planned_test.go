package api_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// looking are hosts that something happens to, once, as they are looked at.
type looking struct {
	control.Agents
	once    *sync.Once
	happens func()
}

func (l looking) Check(ctx context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error) {
	l.once.Do(l.happens)
	return l.Agents.Check(ctx, host, m)
}

// startWhile starts what is due on a server on which something happens as hosts
// are looked at.
func startWhile(t *testing.T, config control.Config, happens func()) {
	t.Helper()
	config.Agents = looking{config.Agents, &sync.Once{}, happens}
	must(t, control.New(config).StartDue(t.Context()))
}

// TestTimeEndsWhileHostsAreLookedAt: what was still in its time as it was taken is
// not started after it.
func TestTimeEndsWhileHostsAreLookedAt(t *testing.T) {
	var config control.Config
	s := apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { config = *c })
	anna := s.Token("anna", developer)
	now := due(t, s, later(t, s, anna, tomorrow("")).ID, func(x *restart.Schedule) { x.Until = time.Now().Add(2 * time.Second).UTC().Truncate(time.Microsecond) })
	startWhile(t, config, func() {
		for {
			<-time.After(time.Until(now.Until))
			at, err := s.Store.Now(t.Context())
			must(t, err)
			if !at.Before(now.Until) {
				return
			}
		}
	})
	if got := happened(t, s, now.ID); got != "waiting unavailable its time was over before all was looked at" {
		t.Errorf("%s", got)
	}
	must(t, s.Store.DelaySchedule(t.Context(), now.ID, restart.CodeUnavailable, "its time was over before all was looked at", 0))
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); got != "missed unavailable it could not start in time: its time was over before all was looked at" {
		t.Errorf("%s", got)
	}
}

// TestAnotherRunBeginsWhileHostsAreLookedAt: the planned run is not queued behind it.
func TestAnotherRunBeginsWhileHostsAreLookedAt(t *testing.T) {
	var config control.Config
	s := apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { config = *c })
	anna := s.Token("anna", developer)
	s.Agents.Set("web1", apitest.Hangs)
	now := due(t, s, later(t, s, anna, tomorrow("")).ID, nil)
	holder := draft(t, s, anna, "")
	startWhile(t, config, func() {
		start(t, s, anna, holder.ID)
		until(t, s, anna, holder.ID, restart.RunRunning)
	})
	if got := happened(t, s, now.ID); !strings.HasPrefix(got, "waiting locked run "+holder.ID+` by "anna" holds shop in production`) {
		t.Errorf("%s", got)
	}
	s.Agents.Set("web1", apitest.Succeeds)
	until(t, s, anna, holder.ID, restart.RunCompleted)
	must(t, s.Store.DelaySchedule(t.Context(), now.ID, "", "", 0))
	must(t, s.Control.StartDue(t.Context()))
	until(t, s, anna, now.Run, restart.RunCompleted)
}

// aged is a clock that runs ahead.
type aged struct{ by atomic.Int64 }

func (a *aged) now() time.Time { return time.Now().Add(time.Duration(a.by.Load())) }

func (a *aged) pass(d time.Duration) { a.by.Add(int64(d)) }

// inTime are hosts whose clock that is, too.
type inTime struct {
	control.Agents
	clock *aged
}

func (x inTime) Check(ctx context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error) {
	r, err := x.Agents.Check(ctx, host, m)
	r.Clock = x.clock.now()
	return r, err
}

func (a *aged) rules(c *control.Config) { c.Now, c.Agents = a.now, inTime{c.Agents, a} }

// TestAPlanIsOneRun: a plan that was confirmed for later is not started by itself,
// and whoever asks again, by its key or by its id, gets what it has become.
func TestAPlanIsOneRun(t *testing.T) {
	var clock aged
	s := apitest.StartReviewed(t, control.Review{}, windowed, clock.rules)
	anna := s.Token("anna", developer)
	d := draft(t, s, anna, "build-814")
	path, body := "/api/v1/runs/"+d.ID, []byte(tomorrow(""))
	p := decode[wire.Planned](t, s.Request("POST", path+"/later", anna, body, nil), 201)
	for range 2 { // soon, and when the plan is too old to be confirmed
		if again := draft(t, s, anna, "build-814"); again.ID != d.ID {
			t.Errorf("the key makes %s, and then %s", d.ID, again.ID)
		}
		if x := problem(t, s.Request("POST", path+"/start", anna, []byte("{}"), nil), 409); !strings.Contains(x.Detail, "this plan is planned already, for ") {
			t.Errorf("%s", x.Detail)
		}
		if again := decode[wire.Planned](t, s.Request("POST", path+"/later", anna, body, nil), 201); again.ID != p.ID {
			t.Errorf("planned as %s, and as %s", p.ID, again.ID)
		}
		clock.pass(control.DraftLife + time.Minute)
	}
	// At its time.
	keyed := draft(t, s, anna, "build-815")
	now := due(t, s, p.ID, func(x *restart.Schedule) { x.Draft = keyed.ID })
	must(t, s.Control.StartDue(t.Context()))
	until(t, s, anna, now.Run, restart.RunCompleted)
	if again := draft(t, s, anna, "build-815"); again.ID != now.Run {
		t.Errorf("the key gives %s, and not the run %s", again.ID, now.Run)
	}
	if run := start(t, s, anna, now.Run); run.State != restart.RunCompleted {
		t.Errorf("it is %s", run.State)
	}
	problem(t, s.Request("POST", "/api/v1/runs/"+keyed.ID+"/start", anna, []byte("{}"), nil), 409)
	asked := `{"at":"` + now.At.Format(time.RFC3339Nano) + `"}`
	for _, id := range []string{now.Run, keyed.ID} {
		if again := decode[wire.Planned](t, s.Request("POST", "/api/v1/runs/"+id+"/later", anna, []byte(asked), nil), 201); again.ID != now.ID || again.State != restart.ScheduleStarted {
			t.Errorf("%s is planned as %s, %s", id, again.ID, again.State)
		}
	}
	// In a window that is open: its time is now, whenever that is.
	opened := draft(t, s, anna, "")
	var ids []string
	for range 2 {
		ids = append(ids, decode[wire.Planned](t, s.Request("POST", "/api/v1/runs/"+opened.ID+"/later", anna, []byte(`{"window":"open"}`), nil), 201).ID)
		clock.pass(time.Second)
	}
	if ids[0] != ids[1] {
		t.Errorf("a double click plans %v", ids)
	}
}

// TestAKeyIsNotStuck: a draft of which nothing will come keeps no key.
func TestAKeyIsNotStuck(t *testing.T) {
	var clock aged
	s := apitest.StartReviewed(t, control.Review{}, clock.rules)
	anna := s.Token("anna", developer)
	old := draft(t, s, anna, "k")
	clock.pass(control.DraftLife + time.Minute)
	problem(t, s.Request("POST", "/api/v1/runs", anna, []byte(`{"service":"shop","reason":"memory climbs since noon"}`), http.Header{"Idempotency-Key": {"k"}}), 409)
	anew := draft(t, s, anna, "k")
	if anew.ID == old.ID {
		t.Fatal("the key gives a plan that can't be confirmed")
	}
	problem(t, s.Request("GET", "/api/v1/runs/"+old.ID, anna, nil, nil), 404)
	// Nor does one that was cancelled before its time.
	p := decode[wire.Planned](t, s.Request("POST", "/api/v1/runs/"+anew.ID+"/later", anna, []byte(tomorrow("")), nil), 201)
	must(t, s.Store.ChangeSchedule(t.Context(), store.ScheduleChange{ID: p.ID, To: restart.ScheduleCancelled, By: "anna", At: time.Now()}))
	if x := problem(t, s.Request("POST", "/api/v1/runs/"+anew.ID+"/later", anna, []byte(tomorrow("")), nil), 409); !strings.Contains(x.Detail, "this plan was planned before, and is cancelled") {
		t.Errorf("%s", x.Detail)
	}
	last := draft(t, s, anna, "k")
	if last.ID == anew.ID {
		t.Fatal("the key gives a plan that was cancelled")
	}
	until(t, s, anna, start(t, s, anna, last.ID).ID, restart.RunCompleted)
	clock.pass(24 * time.Hour)
	if again := draft(t, s, anna, "k"); again.ID != last.ID {
		t.Errorf("the key made %s, and now %s", last.ID, again.ID)
	}
}
