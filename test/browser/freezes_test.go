package browser

import (
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// A plan that is frozen is started past the freeze in two steps, the second of
// which wants the service's name; everything of it fits a phone.
func TestBreakGlass(t *testing.T) {
	f := newFixture(t)
	token, err := f.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "on call", Owner: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper, restart.RoleBreakGlass}})
	must(t, err)
	f.DevToken = token.Secret
	b := f.signedIn()
	b.visit("/freezes")
	f.fits(b, "freezes-empty")
	b.visit("/break-glass")
	f.fits(b, "glass-empty")
	for _, req := range []wire.FreezeRequest{
		{Environments: []string{demo.Environment}, To: time.Now().Add(time.Hour).UTC().Format(time.RFC3339), Reason: "the big sale is on, and everybody looks at it"},
		{Environments: []string{restart.EveryEnvironment}, Weekly: "fri 18:00-mon 08:00", Zone: "Europe/Berlin", Services: []string{demo.ServiceName}, Reason: "nobody is there at weekends"},
	} {
		_, err := f.Admin.AddFreeze(t.Context(), req)
		must(t, err)
	}
	b.visit("/freezes")
	f.fits(b, "freezes")
	run, err := f.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	b.visit("/runs/" + run.ID)
	f.fits(b, "draft-frozen")
	if n := eval[int](b, "document.querySelectorAll('form[action$=\"/start\"]').length"); n != 0 {
		t.Error("a frozen plan can be started with one press")
	}
	b.press("form[action$='/break-glass'] button.break")
	b.until("document.querySelector('#service') !== null && document.readyState === 'complete'")
	f.fits(b, "break")
	b.fill("#service", "another")
	b.press("button.main")
	b.until("document.querySelector('#break-service-wrong') !== null && document.readyState === 'complete'")
	b.retype("#service", demo.ServiceName)
	b.press("button.main")
	b.until("location.pathname === '/runs/" + run.ID + "' && document.readyState === 'complete' && document.querySelector('#summary').textContent.includes('the glass was broken')")
	b.visit("/break-glass")
	f.fits(b, "glass")
	b.visit("/runs")
	f.fits(b, "runs-glass")
	started, err := f.Dev.Run(t.Context(), run.ID)
	must(t, err)
	for _, task := range started.Tasks {
		f.release(task)
	}
	b.quiet("status of 422") // of the wrong name
}

// A draft has a button, which a double click presses once.
func TestADraftIsStarted(t *testing.T) {
	f := newFixture(t)
	b := f.signedIn()
	run, err := f.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	b.visit("/runs/" + run.ID)
	f.fits(b, "draft")
	eval[bool](b, "(() => { const button = document.querySelector('button.green'); button.click(); button.click(); return true })()")
	b.until("document.readyState === 'complete' && document.querySelector('form[action$=\"/start\"]') === null")
	runs, err := f.Dev.Runs(t.Context(), wire.RunQuery{})
	must(t, err)
	if len(runs.Items) != 1 || runs.Items[0].ID != run.ID || len(runs.Items[0].Tasks) != 3 {
		t.Errorf("runs: %+v", runs.Items)
	}
	for _, task := range runs.Items[0].Tasks {
		f.release(task)
	}
	b.quiet()
}
