package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// askApproval lays rules that ask for an approval of restarts.
func askApproval(c *company.Company) {
	text := fmt.Sprintf(`format: 1
roles: {developer: [everybody]}
rules:
  - {allow: [see], to: [everybody]}
  - {allow: [restart, dump, control, approve], to: [owners]}
  - {allow: [all], to: ["role:admin"]}
approval:
  - {environments: [%s], within: 1h}
`, demo.Environment)
	if err := os.WriteFile(filepath.Join(c.ServerDir(), "rules.yaml"), []byte(text), 0o600); err != nil {
		panic(err)
	}
}

// A developer asks, another person finds it in the queue, looks at the plan and
// approves; the developer's page follows until all is green. Everything of it
// fits a phone, by day and by night.
func TestApproval(t *testing.T) {
	f := newFixtureWith(t, askApproval)
	token, err := f.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "approver", Owner: "lead", Roles: []restart.Role{restart.RoleAdmin}})
	must(t, err)
	dev, lead := f.signedIn(), f.signedInAs("lead", token.Secret)
	lead.visit("/approvals")
	f.fits(lead, "approvals-empty")

	run, err := f.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	dev.visit("/runs/" + run.ID)
	dev.press("button.green")
	dev.until("document.readyState === 'complete' && document.querySelector('#typed') !== null")
	dev.fill("#typed", demo.ServiceName)
	dev.press("button.green")
	dev.until("document.readyState === 'complete' && " + badge + " === 'Awaiting approval' && " + live)
	if n := eval[int](dev, `document.querySelectorAll('#acts form[action$="/approve"], #acts form[action$="/reject"]').length`); n != 0 {
		t.Error("who asked could decide himself")
	}
	f.fits(dev, "approval-own")

	// The queue finds it by itself; the number is in the navigation of every page.
	lead.until("document.querySelector('#run-" + run.ID + "') !== null")
	f.fits(lead, "approvals")
	lead.visit("/runs")
	if text := eval[string](lead, "document.querySelector('nav').textContent.trim().replaceAll(/\\s+/g, ' ')"); text != "Restart Runs Dumps Services Statistics Scenarios Approvals 1 (1 run waits for you) Audit Administration" {
		t.Errorf("the navigation says %q", text)
	}
	lead.press(".menu summary") // on a phone
	lead.press("nav a[href='/approvals']")
	lead.until("location.pathname === '/approvals' && document.readyState === 'complete' && document.querySelector('#run-" + run.ID + " a') !== null") // the list of runs has it, too
	lead.press("#run-" + run.ID + " h2 a")
	lead.until("document.readyState === 'complete' && document.querySelector('#acts form[action$=\"/approve\"]') !== null && " + live)
	if text := eval[string](lead, "document.querySelector('pre.command').innerText"); text == "" {
		t.Error("the scripts are not shown")
	}
	f.fits(lead, "approval")
	lead.fill(`#acts form[action$="/approve"] [name=reason]`, "looked at the graphs")
	lead.submit(`#acts form[action$="/approve"] button`)
	lead.until("document.readyState === 'complete' && document.querySelector('#acts form[action$=\"/approve\"]') === null && document.querySelector('#summary').innerText.includes('Approved by lead')")

	dev.until(tones + " === 'now wait wait' && document.querySelector('#summary').innerText.includes('Approved by lead') && " + live)
	started, err := f.Dev.Run(t.Context(), run.ID)
	must(t, err)
	for _, task := range started.Tasks {
		f.release(task)
	}
	dev.until(badge + " === 'Completed' && " + tones + " === 'done done done'")
	f.fits(dev, "approval-done")
	dev.quiet()
	lead.quiet()
}

// What is rejected is said on the page of who asked, at once; nothing was touched.
func TestARunIsRejected(t *testing.T) {
	f := newFixtureWith(t, askApproval)
	dev := f.signedIn()
	run, err := f.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	run, err = f.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
	must(t, err)
	dev.visit("/runs/" + run.ID)
	dev.until(badge + " === 'Awaiting approval' && " + live)
	_, err = f.Admin.Reject(t.Context(), run.ID, wire.ApprovalRequest{Reason: "not during the sale <b>", Seen: wire.Seen{Version: run.Version}})
	must(t, err)
	dev.until(badge + " === 'Rejected' && document.querySelector('#summary').innerText.includes('not during the sale <b>')")
	f.keep(dev, "approval-rejected")
	dev.quiet()
}
