package api_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/jira"
	"github.com/restartilka/restartilka/test/foreign/trouble"
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

// overHosts runs what is due, and gives the hosts of its run.
func overHosts(t *testing.T, s *apitest.Server, token, run string) (hosts []string) {
	t.Helper()
	must(t, s.Control.StartDue(t.Context()))
	for _, task := range until(t, s, token, run, restart.RunCompleted).Tasks {
		hosts = append(hosts, task.Host)
	}
	return hosts
}

// TestOnlyShownHostsAreTouched: a host that was left out as it was planned stays
// so, though it is ready by then; of what was approved none is left out.
func TestOnlyShownHostsAreTouched(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, root := s.Token("anna", developer), s.Token("root", admin)
	s.Agents.Set("web3", apitest.Away)
	for body, want := range map[string][]string{tomorrow(""): {"web1", "web2"}, tomorrow(`,"hosts":["web1"]`): {"web1"}, tomorrow(`,"hosts":["web1","web3"]`): {"web1", "web3"}} {
		p := later(t, s, anna, body)
		if p.Hosts != len(want) || len(p.Unticked) != 3-len(want) {
			t.Errorf("planned over %d hosts, without %v", p.Hosts, p.Unticked)
		}
		s.Agents.Set("web3", apitest.Succeeds)
		now := due(t, s, p.ID, nil)
		if got := overHosts(t, s, anna, now.Run); !slices.Equal(got, want) {
			t.Errorf("over %v, and %v was shown", got, want)
		}
		s.Agents.Set("web3", apitest.Away)
	}
	s.AskApproval()
	p := later(t, s, anna, tomorrow(""))
	decode[wire.Planned](t, s.Request("POST", "/api/v1/planned/"+p.ID+"/approve", root, []byte(looked), nil), 200)
	s.Agents.Set("web2", apitest.Away)
	s.Agents.Set("web3", apitest.Succeeds)
	now := due(t, s, p.ID, nil)
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); !strings.HasPrefix(got, "waiting host_unreachable web2 is among the hosts that were approved, and is not ready: nothing listens ") {
		t.Errorf("%s", got)
	}
	s.Agents.Set("web2", apitest.Succeeds)
	must(t, s.Store.DelaySchedule(t.Context(), now.ID, "", "", 0))
	if got := overHosts(t, s, anna, now.Run); !slices.Equal(got, []string{"web1", "web2"}) {
		t.Errorf("over %v", got)
	}
}

// TestPlannedTicket: what is planned is for the ticket that its reason names, and
// its ticket is judged as it is planned and as it starts.
func TestPlannedTicket(t *testing.T) {
	x := startTicketed(t)
	x.demand("refuse")
	ctx := t.Context()
	plan := func(ticket, reason string) (restart.Schedule, error) {
		t.Helper()
		return x.Control.Later(ctx, ticketAnna, x.mustDraft(ticket, reason).ID, wire.LaterRequest{At: time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
	}
	for _, ticket := range []string{"", "WEB-18"} {
		if _, err := plan(ticket, hang); restart.CodeOf(err) != restart.CodeTicket {
			t.Errorf("for %q: %v", ticket, err)
		}
	}
	p, err := plan("", hang+", WEB-17")
	must(t, err)
	var file strings.Builder
	must(t, x.Control.WriteCalendar(ctx, ticketAnna, &file))
	if p.Ticket != "WEB-17" || p.Request.Ticket != "" || !strings.Contains(file.String(), "ticket WEB-17") {
		t.Errorf("for %q; %s", p.Ticket, file.String())
	}
	// The tracker does not answer: it may in a moment.
	x.later()
	x.jira.Trouble.Next(trouble.Forever, trouble.Page)
	now := due(t, x.Server, p.ID, nil)
	must(t, x.Control.StartDue(ctx))
	if got := happened(t, x.Server, now.ID); !strings.HasPrefix(got, "waiting ticket_refused ticket WEB-17 could not be checked with ") {
		t.Errorf("%s", got)
	}
	x.jira.Trouble.Next(0, nil)
	x.later()
	must(t, x.Store.DelaySchedule(ctx, now.ID, "", "", 0))
	must(t, x.Control.StartDue(ctx))
	if run := until(t, x.Server, x.Token("anna", developer), now.Run, restart.RunCompleted); run.Ticket != "WEB-17" || run.Plan.TicketKey() != "WEB-17" {
		t.Errorf("for %q", run.Ticket)
	}
	// One that is closed meanwhile stays so.
	x.jira.Change("WEB-17", func(i *jira.Issue) { i.Status, i.Category = "Done", "done" })
	x.later()
	now = due(t, x.Server, p.ID, nil)
	must(t, x.Control.StartDue(ctx))
	if got := happened(t, x.Server, now.ID); !strings.HasPrefix(got, "refused ticket_refused ticket WEB-17 is closed: Done") {
		t.Errorf("%s", got)
	}
}

// bounded makes a token of anna's for another service.
func bounded(t *testing.T, s *apitest.Server, roles ...restart.Role) string {
	t.Helper()
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	must(t, s.Store.CreateToken(t.Context(), store.Token{
		ID: restart.NewID(now), Name: "x", Owner: "anna", Roles: roles, Scope: &restart.Scope{Services: []string{"other"}}, Hash: hash, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}))
	return secret
}

// TestSmallTokensEndNothing: a token that was made for less than its owner may do
// cancels nothing that he has planned, and ends no address of his calendar.
func TestSmallTokensEndNothing(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	p := later(t, s, anna, tomorrow(""))
	for name, token := range map[string]string{"another service": bounded(t, s, developer), "a viewer": s.Token("anna", restart.RoleViewer)} {
		problem(t, s.Request("POST", "/api/v1/planned/"+p.ID+"/cancel", token, nil, nil), 403)
		if got := decode[wire.Planned](t, s.Request("GET", "/api/v1/planned/"+p.ID, token, nil, nil), 200); got.MayCancel {
			t.Errorf("%s is told that it may", name)
		}
	}
	decode[wire.Calendar](t, s.Request("POST", "/api/v1/calendar", anna, nil, nil), 201)
	problem(t, s.Request("DELETE", "/api/v1/calendar", bounded(t, s, developer), nil, nil), 403)
	if resp := s.Request("DELETE", "/api/v1/calendar", anna, nil, nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestGroupsLapseBeforeItsTime: who may do it by groups that nobody can be asked
// for is told so, and what was planned waits for the next sign-in.
func TestGroupsLapseBeforeItsTime(t *testing.T) {
	s := apitest.Start(t, nil)
	s.Rights("format: 1\nroles: {developer: [everybody]}\nrules:\n  - {allow: [see], to: [everybody]}\n  - {allow: [restart], to: [\"team:web\"]}\n")
	now := time.Now().UTC()
	user := store.User{Name: "dana", Method: "oidc", Roles: []restart.Role{developer}, Groups: []string{"web"}, GroupsAt: now, CreatedAt: now}
	must(t, s.Store.CreateUser(t.Context(), user))
	dana := restart.Actor{Name: "dana", Roles: []restart.Role{developer}, Teams: []string{"web"}, Via: "test"}
	plan := func(in time.Duration) restart.Schedule {
		t.Helper()
		run, err := s.Control.Draft(t.Context(), dana, restart.Request{Service: "shop", Reason: hang}, "")
		must(t, err)
		p, err := s.Control.Later(t.Context(), dana, run.ID, wire.LaterRequest{At: now.Add(in).Format(time.RFC3339)})
		must(t, err)
		return p
	}
	lapses := func(p restart.Schedule) bool {
		return strings.Contains(strings.Join(p.Plan.Warnings, "\n"), "your right to this comes from groups that are known until ")
	}
	if p := plan(time.Hour); lapses(p) {
		t.Errorf("an hour from now: %q", p.Plan.Warnings)
	}
	p := plan(24 * time.Hour)
	if !lapses(p) {
		t.Errorf("tomorrow: %q", p.Plan.Warnings)
	}
	user.GroupsAt = now.Add(-13 * time.Hour)
	must(t, s.Store.AdmitUser(t.Context(), user))
	x := due(t, s, p.ID, nil)
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, x.ID); got != "waiting sign_in_again the right to this comes from groups of dana that count for 12 hours after a sign-in" {
		t.Errorf("%s", got)
	}
	user.GroupsAt = now
	must(t, s.Store.AdmitUser(t.Context(), user))
	must(t, s.Store.DelaySchedule(t.Context(), x.ID, "", "", 0))
	overHosts(t, s, s.Token("root", admin), x.Run)
	// Somebody who was never to do it is refused as before.
	user.Groups, user.GroupsAt = []string{"others"}, now.Add(-13*time.Hour)
	must(t, s.Store.AdmitUser(t.Context(), user))
	x = due(t, s, p.ID, nil)
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, x.ID); !strings.HasPrefix(got, "refused forbidden ") {
		t.Errorf("%s", got)
	}
}
