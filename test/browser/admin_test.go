package browser

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// An admin makes a user, gives her a role, makes a join token, freezes and ends
// the freeze; and ends the session of somebody in the middle of his run, which
// goes on without him. Every page of it fits a phone.
func TestAnAdminAtWork(t *testing.T) {
	f := newFixture(t)
	const password = "correct horse battery"
	_, err := f.Admin.CreateUser(t.Context(), wire.UserRequest{Name: "olga", Password: password, Roles: []restart.Role{restart.RoleAdmin}})
	must(t, err)
	b := f.signedInAs("olga", password)
	loaded := func(path string) {
		t.Helper()
		b.until("location.pathname === '" + path + "' && document.readyState === 'complete'")
	}
	b.visit("/admin")

	b.press("nav.tabs a[href='/admin/users']")
	loaded("/admin/users")
	b.press("section[aria-labelledby=create] summary")
	b.fill("#name", "Vera!")
	b.press("input[value=auditor]")
	b.press("form[action='/admin/users/create'] button.main")
	b.until("document.querySelector('#create-name-wrong') !== null && document.readyState === 'complete'")
	b.until("document.activeElement.id === 'name'") // the field that is wrong, with what was typed
	f.fits(b, "admin-users-wrong")
	if kept := eval[string](b, "document.querySelector('#name').value + document.querySelector('input[value=auditor]').checked"); kept != "Vera!true" {
		t.Errorf("what was typed is %q", kept)
	}
	eval[bool](b, "document.querySelector('#name').value = ''; true")
	b.fill("#name", "vera")
	b.press("form[action='/admin/users/create'] button.main")
	b.until("document.querySelector('#new-password') !== null && document.readyState === 'complete'")
	secret := eval[string](b, "document.querySelector('#new-password').textContent")
	b.visit("/admin/users/vera")
	b.press("input[value=developer]")
	b.press("form[action$='/roles'] button")
	b.until("location.search === '?done=roles' && document.readyState === 'complete'")
	if roles := eval[string](b, "[...document.querySelectorAll('input[name=roles]:checked')].map(e => e.value).join(' ')"); roles != "developer auditor" {
		t.Errorf("vera has %q", roles)
	}
	f.signedInAs("vera", secret) // the password that was shown once

	b.visit("/admin/hosts?ask=1")
	b.press("section[aria-labelledby=tokens] summary")
	b.fill("#host", "web9.example.com")
	b.press("form[action='/admin/hosts/join-token'] button.main")
	b.until("document.querySelector('#join-command') !== null && document.readyState === 'complete'")
	f.fits(b, "admin-hosts-token")
	if command := eval[string](b, "document.querySelector('#join-command').textContent"); !strings.HasPrefix(command, "sudo restartilka-agent join https://") {
		t.Errorf("the command is %q", command)
	}

	f.freezeAndThaw(b)
	f.triesReceivers(b)
	f.endsASessionInMidRun(b)
	b.show(390, "light")
	for _, page := range []string{"tokens", "sessions", "rules?ask=who&action=restart", "rules?ask=why&action=restart&service=" + demo.ServiceName + "&who=vera", "locks", "delivery", "messages", "configuration"} {
		b.visit("/admin/" + page)
		if out := eval[string](b, wide); out != "" {
			t.Errorf("/admin/%s sticks out: %s", page, out)
		}
		f.keep(b, "admin-"+strings.NewReplacer("?ask=", "-").Replace(strings.Split(page, "&")[0]))
	}
	b.quiet("status of 422")
}

// freezeAndThaw makes a weekly freeze, and ends it.
func (f *fixture) freezeAndThaw(b *tab) {
	t := f.t
	t.Helper()
	b.visit("/freezes")
	b.press("section[aria-labelledby=add] summary")
	f.fits(b, "freezes-form")
	b.press("input[value='" + demo.Environment + "']")
	b.press("input[value=weekly]")
	b.fill("#add-reason", "nobody is there to look at weekends")
	b.press("form[action='/freezes/add'] button.main")
	b.until("location.search === '?done=frozen' && document.readyState === 'complete'")
	list, err := f.Dev.Freezes(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].Weekly != "fri 18:00-mon 08:00" || list[0].CreatedBy != "olga" {
		t.Fatalf("%+v", list)
	}
	b.press("#freeze-" + list[0].ID + " summary")
	b.fill("#end-"+list[0].ID+"-reason", "the sale is over, all are back")
	b.press("form[action='/freezes/end'] button")
	b.until("location.search === '?done=thawed' && document.readyState === 'complete'")
	if list, err := f.Dev.Freezes(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// endsASessionInMidRun: the page of whoever was signed in asks him to sign in
// again; the run goes on.
func (f *fixture) endsASessionInMidRun(b *tab) {
	t := f.t
	t.Helper()
	his := f.signedIn()
	run := f.Start(reason)
	his.visit("/runs/" + run.ID)
	his.until(tones + " === 'now wait wait' && " + live)
	b.visit("/admin/sessions?of=" + demo.Developer)
	b.press(".things summary")
	b.press("form[action='/admin/sessions/end'] button")
	b.until("location.search === '?done=session' && document.readyState === 'complete'")
	his.until("location.pathname === '/sign-in' && document.readyState === 'complete'")
	for _, task := range run.Tasks {
		f.release(task)
	}
	c, err := client.New(client.Config{URL: f.URL, CAFile: f.CA, Token: f.DevToken})
	must(t, err)
	b.wait("the run to end", func() bool {
		now, err := c.Run(t.Context(), run.ID)
		return err == nil && now.State == restart.RunCompleted
	})
	his.quiet("status of 401", "htmx:sse:error", "htmx:error", "ERR_")
}

// The header has the most in it for an admin, and more in Russian: on a desktop
// it is one row all the same.
func TestTheHeaderIsOneRow(t *testing.T) {
	f := newFixture(t)
	const password = "correct horse battery"
	_, err := f.Admin.CreateUser(t.Context(), wire.UserRequest{Name: "olga.k", Password: password, Roles: []restart.Role{restart.RoleAdmin}})
	must(t, err)
	b := f.signedInAs("olga.k", password)
	for _, language := range []string{"en", "ru"} {
		if language == "ru" {
			b.visit("/profile")
			b.press("button[name=language][value=ru]")
			b.until("document.documentElement.lang === 'ru' && document.readyState === 'complete'")
		}
		b.visit("/admin")
		for _, width := range []int64{1280, 1920} {
			b.show(width, "light")
			rows := eval[[]float64](b, "[document.querySelector('.top').offsetHeight, document.querySelector('.brand').offsetHeight]")
			if rows[0] > 1.7*rows[1] {
				t.Errorf("in %s at %d px the header is %.0f px high, its first row %.0f", language, width, rows[0], rows[1])
			}
		}
	}
}
