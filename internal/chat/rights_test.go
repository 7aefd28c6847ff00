package chat_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// A chat gives nobody more than the page does: each person asks for each service,
// and gets a plan exactly where control gives him one.
func TestNobodyMayMoreInAChat(t *testing.T) {
	t.Parallel()
	o := newMattermost(t).(*onMattermost)
	w := newWorld(t, o)
	w.usual()
	for _, who := range []struct {
		name  string
		roles []restart.Role // of the token that he has now
		link  []restart.Role // that he had when he linked his account
		may   map[string]bool
	}{
		{"anna", []restart.Role{restart.RoleDeveloper}, []restart.Role{restart.RoleDeveloper}, map[string]bool{"shop": true}},
		{"anna", []restart.Role{restart.RoleDeveloper}, []restart.Role{restart.RoleViewer}, nil},
		{"anna", []restart.Role{restart.RoleViewer}, []restart.Role{restart.RoleDeveloper}, nil}, // taken away since
		{"root", []restart.Role{restart.RoleAdmin}, []restart.Role{restart.RoleAdmin}, map[string]bool{"shop": true, "bare": true}},
		{"root", []restart.Role{restart.RoleDeveloper}, []restart.Role{restart.RoleAdmin}, nil}, // no admin any more
		{"root", nil, []restart.Role{restart.RoleAdmin}, nil},                                   // has left
		{"olga", []restart.Role{restart.RoleAuditor}, []restart.Role{restart.RoleAuditor}, nil},
	} {
		t.Run(who.name+" "+join(who.roles)+" linked as "+join(who.link), func(t *testing.T) {
			w.revokeAll(who.name)
			if who.roles != nil {
				w.Token(who.name, who.roles...)
			}
			code, err := w.Control.ChatCode(t.Context(), restart.Actor{Name: who.name, Roles: who.link, Via: "cli"})
			w.must(err)
			p := w.person(anna)
			_, err = w.Control.LinkChat(t.Context(), p, code.Code)
			w.must(err)
			for _, service := range []string{"shop", "bare"} {
				place := o.direct(anna)
				before := len(o.shown(place))
				status, told, err := o.server.Command(o.ours.Client(), o.ours.URL+"/chat/mattermost/command", "xr3j5x3p4pfk7kk6ck7b4e6ghh", mattermostPeople[anna], place, "/restartilka", "restart "+service+" "+reason)
				if err != nil || status != 200 {
					t.Fatalf("%d %v", status, err)
				}
				planned := len(o.shown(place)) > before
				if planned != who.may[service] || planned == (told != "") {
					t.Errorf("%s: planned %v, told %q", service, planned, told)
				}
			}
			links, err := w.Store.ChatLinks(t.Context(), who.name)
			w.must(err)
			w.must(w.Store.DropChatLink(t.Context(), links[0].ID))
		})
	}
}

func join(roles []restart.Role) string {
	var out []string
	for _, r := range roles {
		out = append(out, string(r))
	}
	return strings.Join(out, "+")
}

func (w *world) revokeAll(owner string) {
	w.t.Helper()
	list, err := w.Store.Tokens(w.t.Context(), owner)
	w.must(err)
	for _, x := range list {
		w.must(w.Store.RevokeToken(w.t.Context(), x.ID, audit.Record{Action: audit.TokenRevoked}))
	}
}

// A user who is disabled is nobody in a chat from that moment on, nor is one who
// lost the right between the plan and the button.
func TestRightsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	o := newTelegram(t)
	w := newWorld(t, o)
	w.usual()
	w.must(w.Store.CreateUser(t.Context(), store.User{Name: "anna", Method: "local", Roles: []restart.Role{restart.RoleDeveloper}}))
	code, err := w.Control.ChatCode(t.Context(), restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleDeveloper}, Via: "cli"})
	w.must(err)
	_, err = w.Control.LinkChat(t.Context(), w.person(anna), code.Code)
	w.must(err)
	place := o.direct(anna)
	m := w.plan(anna, place)
	w.must(w.Store.ChangeUser(t.Context(), "anna", store.UserChange{Roles: &[]restart.Role{}}))
	o.press(anna, place, m.id, "Start it")
	w.until("the refusal", func() bool { return strings.Contains(w.message(place, m.id).text, "Not started") })
	w.must(w.Store.ChangeUser(t.Context(), "anna", store.UserChange{Roles: &[]restart.Role{restart.RoleDeveloper}}))

	m = w.plan(anna, place)
	w.must(w.Store.ChangeUser(t.Context(), "anna", store.UserChange{Disabled: new(true)}))
	o.press(anna, place, m.id, "Start it")
	w.hears(anna, place, "Anna can't sign in any more")
	o.say(anna, place, "/runs")
	w.until("a second refusal", func() bool { return w.told(anna, place, "Anna can't sign in any more") == 2 })
	if n := len(w.runs()); n != 0 {
		t.Errorf("%d runs", n)
	}
}

// An approval is given by another person, who has seen the plan and says what he
// has looked at.
func TestApprovals(t *testing.T) {
	t.Parallel()
	o := newTelegram(t)
	w := newWorld(t, o)
	w.AskApproval()
	w.Teams("boris", "web")
	w.rewriteInventory("owners: [anna]", "owners: [anna, boris]")
	w.usual()
	w.link(anna)
	w.link(boris)
	place, his := o.direct(anna), o.direct(boris)
	ask := func() restart.Run {
		t.Helper()
		m := w.plan(anna, place)
		if !strings.Contains(m.text, "Warning: it waits for an approval") {
			t.Errorf("the plan does not say so:\n%s", m.text)
		}
		o.press(anna, place, m.id, "Start it")
		w.seesButtons(place, m.id, "Abort")
		return w.runs()[0]
	}
	run := ask()
	o.say(boris, his, "/approvals")
	w.hears(boris, his, "/approve "+run.ID)
	o.say(boris, his, "/approve "+run.ID+" ok")
	w.hears(boris, his, "is too short")
	o.say(anna, place, "/approve "+run.ID+" the graphs of the others are fine")
	w.hears(anna, place, "Anna may not decide about this run")
	o.say(boris, his, "/approve "+run.ID+" the graphs of the others are fine")
	m := w.sees(his, "You say: the graphs of the others are fine")
	if !strings.Contains(m.text, "web1") || len(m.buttons) != 1 {
		t.Errorf("he sees %+v", m)
	}
	o.press(boris, his, m.id, "Approve")
	w.until("both to see the end", func() bool {
		return strings.Contains(w.message(his, m.id).text, "completed") && w.runs()[0].State == restart.RunCompleted
	})
	if a := w.runs()[0].Approval; a == nil || a.By != "boris" || a.Reason != "the graphs of the others are fine" {
		t.Errorf("%+v", a)
	}

	run = ask()
	o.say(boris, his, "/reject "+run.ID+" the sale runs until six")
	var second message
	w.until("the question", func() bool {
		shown := o.shown(his)
		second = shown[len(shown)-1]
		return len(second.buttons) == 1 && second.buttons[0] == "Reject"
	})
	o.press(boris, his, second.id, "Reject")
	w.until("the end", func() bool { return strings.Contains(w.message(his, second.id).text, "rejected") })

	run = ask()
	mine := w.sees(place, "awaiting approval")
	o.press(anna, place, mine.id, "Abort") // one's own is taken back
	w.until("the end", func() bool { return w.runs()[0].State == restart.RunAborted && w.runs()[0].ID == run.ID })
}

// What is planned and waits for an approval is listed with where it is decided
// about.
func TestPlannedApprovalsAreListed(t *testing.T) {
	t.Parallel()
	o := newTelegram(t)
	w := newWorld(t, o)
	w.AskApproval()
	w.Teams("boris", "web")
	w.rewriteInventory("owners: [anna]", "owners: [anna, boris]")
	w.usual()
	w.link(anna)
	w.link(boris)
	self := restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleDeveloper}, Via: "cli"}
	draft, err := w.Control.Draft(t.Context(), self, restart.Request{Service: "shop", Reason: reason}, "")
	w.must(err)
	p, err := w.Control.Later(t.Context(), self, draft.ID, wire.LaterRequest{At: time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
	w.must(err)
	his, hers := o.direct(boris), o.direct(anna)
	o.say(boris, his, "/approvals")
	w.hears(boris, his, "planned for "+p.At.Format("2006-01-02 15:04 UTC")+": https://restartilka.example.com/planned/"+p.ID)
	w.hears(boris, his, "restartilka planned approve "+p.ID)
	o.say(anna, hers, "/approvals")
	w.hears(anna, hers, "may approve: ")
	if w.told(anna, hers, "planned approve") != 0 {
		t.Error("she is told to approve her own")
	}
}
