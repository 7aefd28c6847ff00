package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// waiting asks for a run of nginx, as dana, that waits for an approval.
func (f *fixture) waiting() restart.Run {
	f.t.Helper()
	f.asks.Store(true)
	dana := restart.Actor{Name: "dana", Roles: []restart.Role{restart.RoleDeveloper}, Via: "web"}
	run, err := f.site.cfg.Control.Draft(f.t.Context(), dana, restart.Request{Service: "nginx", Reason: "502s since the 14:00 deploy"}, "")
	f.must(err)
	run, err = f.site.cfg.Control.Start(f.t.Context(), dana, run.ID, wire.StartRequest{})
	f.must(err)
	if run.State != restart.RunAwaitingApproval {
		f.t.Fatalf("it is %s", run.State)
	}
	return run
}

func TestApprovingOnThePage(t *testing.T) {
	f := newFixture(t)
	dana, root, vera := f.signIn(), f.signInAs("root", restart.RoleAdmin), f.signInAs("vera", restart.RoleDeveloper)
	wants(t, f.do("GET", "/approvals", "", "Cookie", root).body, `<noscript><meta http-equiv="refresh" content="5"></noscript>`, "No run waits for an approval")
	run := f.waiting()

	// Who asked sees who can and until when, and can take it back.
	own := f.page(dana, run.ID)
	wants(t, own, "Awaiting approval", "an approval is needed, by an admin, other than dana", "Lapses at <time", `action="/runs/`+run.ID+`/abort"`, "Take it back")
	lacks(t, own, `/approve"`, `/reject"`, `/break-glass"`, `http-equiv="refresh"`)
	lacks(t, f.page(vera, run.ID), `method="post" action="/runs/`)
	// Who may decide sees the plan, the scripts, and what follows from either.
	page := f.page(root, run.ID)
	wants(t, page, `<b aria-hidden="true">1</b>`, "(1 run waits for you)", `href="#acts">Look through the plan, then decide`, // what is asked first, then the decision
		"What runs on each host", "Shown for web1.nginx.example.com, as user root, by /bin/sh", "balancer out web1.nginx.example.com", "systemctl restart nginx", "balancer in web1.nginx.example.com",
		`<dl class="facts">`, `/approve"`, "Approved, it starts at once on 3 hosts", "It runs in the name of dana", `/reject"`, "Rejected, it touches no host")
	wants(t, f.page(root, run.ID+"?host=web2.nginx.example.com"), `<option selected>web2.nginx.example.com`, "Shown for web2.nginx.example.com", "balancer out web2.nginx.example.com")
	wants(t, f.page(root, run.ID+"?host=db1.example.com"), "Shown for web1.nginx.example.com")
	lacks(t, f.page(dana, run.ID), "runs wait for you", "run waits for you")
	wants(t, f.page(root, run.ID, "Accept-Language", "ru"), "(1 запуск ждёт вас)", "Ждёт одобрения", "После одобрения запуск сразу начнётся на 3 хостах", "Одобрить", "Отклонить")
	wants(t, f.do("GET", "/approvals", "", "Cookie", root).body, "/runs/"+run.ID, "502s since the 14:00 deploy", "3 hosts", "Look at the plan and decide")
	wants(t, f.do("GET", "/approvals", "", "Cookie", dana).body, "/runs/"+run.ID, "Who may decide", "an admin, other than dana")

	press := func(cookie, verb, reason, version string) answer {
		return f.post("/runs/"+run.ID+"/"+verb, url.Values{"reason": {reason}, "version": {version}}, "Cookie", cookie)
	}
	version := shownVersion(t, page)
	for name, c := range map[string]struct {
		res  answer
		want int
	}{
		"who asked":       {press(dana, "approve", "looked at the graphs", version), http.StatusForbidden},
		"no right":        {press(vera, "reject", "not during the sale", version), http.StatusForbidden},
		"no sentence":     {press(root, "approve", "", version), http.StatusUnprocessableEntity},
		"another version": {press(root, "approve", "looked at the graphs", "1"), http.StatusConflict},
		"another page's":  {f.do("POST", "/runs/"+run.ID+"/approve", "reason=looked+at+the+graphs", "Content-Type", "application/x-www-form-urlencoded", "Cookie", root, "Origin", "https://evil.example"), http.StatusForbidden},
	} {
		if c.res.StatusCode != c.want {
			t.Errorf("%s: %s, want %d\n%s", name, c.res.Status, c.want, c.res.body)
		}
	}
	if res := press(root, "approve", "looked at the <graphs>", version); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	wants(t, f.page(dana, run.ID), "Queued", "Approved by root", "looked at the &lt;graphs&gt;")
	lacks(t, f.page(root, run.ID), `/approve"`, "What runs on each host")
}

func TestRejectingAndBreakingOnThePage(t *testing.T) {
	f := newFixture(t)
	dana, root := f.signIn(), f.signInAs("root", restart.RoleAdmin)
	run := f.waiting()
	res := f.post("/runs/"+run.ID+"/reject", url.Values{"reason": {"not during the sale"}, "version": {shownVersion(t, f.page(root, run.ID))}}, "Cookie", root)
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	wants(t, f.page(dana, run.ID), "Rejected by root", "not during the sale", "3 not started")

	sure := f.signInAs("dana", restart.RoleDeveloper, restart.RoleBreakGlass)
	run = f.waiting()
	wants(t, f.page(sure, run.ID), "/runs/"+run.ID+"/break-glass")
	form := f.do("GET", "/runs/"+run.ID+"/break-glass", "", "Cookie", sure).body
	wants(t, form, "without the approval that it waits for")
	if res := f.post("/runs/"+run.ID+"/break-glass", url.Values{"service": {"nginx"}}, "Cookie", sure); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	wants(t, f.page(dana, run.ID), "The approval was waived by dana", "the glass was broken")
}

// TestAPageThatWaitsFollowsTheRun: the forms go, and the verdict comes, as soon
// as somebody else has decided.
func TestAPageThatWaitsFollowsTheRun(t *testing.T) {
	f := newFixture(t)
	root := f.signInAs("root", restart.RoleAdmin)
	run := f.waiting()
	rootActor := restart.Actor{Name: "root", Roles: []restart.Role{restart.RoleAdmin}}
	wants(t, f.page(root, run.ID), `id="plan"`, "web1.nginx.example.com", "What runs on each host", "balancer out web1.nginx.example.com")
	done := make(chan answer, 1)
	go func() { done <- f.do("GET", "/runs/"+run.ID+"/events?after=0", "", "Cookie", root) }()
	_, err := f.site.cfg.Control.Reject(t.Context(), rootActor, run.ID, wire.ApprovalRequest{Reason: "not during the sale"})
	f.must(err)
	body := (<-done).body
	last := body[strings.LastIndex(body, "id: "):]
	wants(t, last, "Rejected by root", `id="acts"`, "event: end")
	lacks(t, last, `/approve"`)
}
