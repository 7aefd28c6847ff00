package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// recipe is a scenario of the demo's service whose lines are long.
func recipe(serial int, more, script string) string {
	return fmt.Sprintf("format: 1\nname: demo-web-restart\nserial: %d\nauthor: anna@example.com\nkind: restart\nservices: [%s]\ndescription: %s\n%srun_as: root\nstrategy: {batches: [1], task_timeout: 60s}\nsteps:\n  run:\n    script: |\n      %s\nhealth:\n  new_process: {unit: \"#unit#\"}\n  healthy_for: 1s\n  deadline: 10s\n",
		serial, demo.ServiceName, strings.Repeat("out-of-the-balancer-while-it-is-down-", 4), more, script)
}

// What a reviewer reads fits a phone, by day and by night, and works without
// a script of ours.
func TestReviewPages(t *testing.T) {
	reviewers := apitest.NewReviewers(t, "anna@example.com", "olga@example.com", "ivan@example.com", demo.Developer+"@example.com")
	program := chromium(t)
	f := &fixture{t: t}
	f.Company = company.New(t, company.Options{Server: fmt.Sprintf("review: signed\nscenario_signers: %s\nscenario_revoked: %s\n", reviewers.Signers, reviewers.Revoked)})
	f.browser = start(t, program, publicKey(t, f.URL, f.CA))
	push := func(body string, by ...string) {
		t.Helper()
		p := wire.ScenarioProposal{Body: body}
		for _, who := range by {
			p.Signatures = append(p.Signatures, reviewers.Sign(who, body))
		}
		_, err := f.Admin.Propose(t.Context(), p)
		must(t, err)
	}
	one := recipe(1, "expires: "+time.Now().UTC().AddDate(0, 0, 9).Format(time.DateOnly)+"\n", "systemctl restart #unit#")
	push(one, "olga@example.com", "ivan@example.com")
	two := recipe(2, "holds: group\n", "systemctl stop #unit# && echo '<script>alert(1)</script> "+strings.Repeat("wide/", 60)+"' && systemctl start #unit#")
	push(two, "ivan@example.com")
	token, err := f.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "review", Owner: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper, restart.RoleReviewer}})
	must(t, err)
	f.DevToken = token.Secret
	b := f.signedIn()
	must(t, os.WriteFile(filepath.Join(f.ServerDir(), "scenarios", "broken.yaml"), []byte("format: 1\n"), 0o600))
	b.visit("/scenarios")
	f.fits(b, "scenarios")
	b.visit("/scenarios/demo-web-restart")
	f.fits(b, "scenario-versions")
	b.visit("/review")
	f.fits(b, "review-queue")
	path := "/scenarios/" + scenario.Digest([]byte(two)) + "/review"
	b.visit(path)
	f.fits(b, "review")
	if text := eval[string](b, "document.querySelector('main').innerText"); !strings.Contains(text, "<script>alert(1)</script>") || !strings.Contains(text, demo.Developer+"@example.com.sig") {
		t.Errorf("the page: %s", text)
	}
	if n := eval[int](b, "document.querySelectorAll('main script').length"); n != 0 {
		t.Errorf("%d scripts in the page", n)
	}
	b.press("details.act summary")
	b.fill("details.act input", "it forgets to wait for the drain")
	b.press("details.act button.main")
	b.until("location.pathname === '" + path + "' && document.readyState === 'complete' && document.querySelector('.summary .badge.fail') !== null")
	f.fits(b, "review-withdrawn")
	b.quiet()
}
