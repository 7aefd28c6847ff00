package web

import (
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// besideField checks that a page says what is wrong beside one field, which is
// told to be wrong, has the focus, and has kept what was typed.
func besideField(t *testing.T, res answer, id, says, kept string) {
	t.Helper()
	if res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("%s, want 422\n%s", res.Status, res.body)
		return
	}
	wants(t, res.body, `<div class="wrong" id="`+id+`"`, says)
	wants(t, res.body, `aria-invalid="true" aria-describedby="`+id+`"`)
	if n := strings.Count(res.body, " autofocus"); n != 1 {
		t.Errorf("%s: %d fields want the focus", id, n)
	}
	if kept != "" {
		wants(t, res.body, `value="`+kept+`"`)
	}
}

// A form on a run's page that says too little is shown again on that page, with
// what is wrong beside the field, and all that was typed and ticked.
func TestARefusedFormOfARunIsShownAgain(t *testing.T) {
	f := newFixture(t)
	cookie, root := f.signIn(), f.signInAs("root", restart.RoleAdmin)
	waits := f.waiting()
	for _, verb := range []string{"approve", "reject"} {
		besideField(t, f.post("/runs/"+waits.ID+"/"+verb, url.Values{"reason": {"<b>"}}, "Cookie", root), verb+"-reason-wrong", "too short", "&lt;b&gt;")
	}

	run := f.running(1, 1, 1)
	f.task(run, 0, restart.TaskSucceeded, store.TaskChange{}, nil)
	f.task(run, 1, restart.TaskFailed, store.TaskChange{Error: "no", Drained: new(true)}, nil)
	f.task(run, 2, restart.TaskUnknown, store.TaskChange{}, nil)
	f.to(run, restart.RunFailed, restart.CauseFailure, "2 of 3 hosts did not succeed")
	const unknown = "web3.nginx.example.com"
	press := func(verb string, form url.Values) answer {
		return f.post("/runs/"+run.ID+"/"+verb, form, "Cookie", cookie)
	}
	res := press("decide", url.Values{"host": {unknown}, "verdict": {"did-not"}, "reason": {"dunno"}})
	besideField(t, res, "decide-"+unknown+"-reason-wrong", "too short", "dunno")
	wants(t, res.body, `<details class="act first" id="act-decide-`+unknown+`" open><summary>Decide about `+unknown, `value="did-not" checked`)
	besideField(t, press("decide", url.Values{"host": {unknown}, "reason": {why}}), "decide-"+unknown+"-verdict-wrong", "is no decision", why)
	besideField(t, press("retry", url.Values{"reason": {"again"}}), "retry-reason-wrong", "too short", "again")
	res = press("undrain", url.Values{"hosts": {"web2.nginx.example.com"}, "reason": {"back"}})
	besideField(t, res, "undrain-reason-wrong", "too short", "back")
	wants(t, res.body, `name="hosts" value="web2.nginx.example.com" checked`)

	// A form that the page has not for this reader is answered by the refusal alone.
	if res := press("approve", url.Values{"reason": {"x"}}); res.StatusCode < 400 || strings.Contains(res.body, `id="acts"`) {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
}

func TestARefusedNoteIsShownAgain(t *testing.T) {
	f, s := newWhole(t)
	run := f.draft(s)
	f.freeze(s, "the big sale is on")
	sure, olga := f.as("anna", developer, restart.RoleBreakGlass), f.as("olga", auditor)
	path := "/runs/" + run.ID + "/break-glass"
	besideField(t, f.post(path, url.Values{"service": {"shopp"}}, "Cookie", sure), "break-service-wrong", "not the name of the service", "shopp")
	if res := f.post(path, url.Values{"service": {"shop"}}, "Cookie", sure); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	besideField(t, f.post("/break-glass/"+run.ID+"/review", url.Values{"note": {"fine"}}, "Cookie", olga), "note-"+run.ID+"-note-wrong", "the note", "fine")
}

func TestARefusedWithdrawalIsShownAgain(t *testing.T) {
	r := apitest.NewReviewers(t, "anna@example.com", "olga@example.com", "ivan@example.com")
	f, s := over(t, apitest.StartReviewed(t, r.Review()))
	text := shopText("1", "")
	_, err := s.Control.Propose(t.Context(), anna1, wire.ScenarioProposal{Body: text, Signatures: []wire.SignatureRequest{r.Sign("ivan@example.com", text)}})
	f.must(err)
	res := f.post("/scenarios/"+scenario.Digest([]byte(text))+"/withdraw", url.Values{"reason": {"bad"}}, "Cookie", f.as("olga", restart.RoleReviewer))
	besideField(t, res, "withdraw-reason-wrong", "too short", "bad")
	wants(t, res.body, `<details class="act" open><summary>Withdraw this version`)
}

// What somebody has typed to make a token is there again, in each field.
func TestARefusedTokenIsShownAgain(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	res := f.post("/profile/token", url.Values{"name": {"deploys"}, "days": {"30"}, "services": {"shop nginx"}, "environments": {"testing"}}, "Cookie", cookie)
	besideField(t, res, "token-roles-wrong", "at least one role", "deploys")
	wants(t, res.body, `<option value="30" selected`, `value="shop nginx"`, `value="testing"`)
	besideField(t, f.post("/profile/token", url.Values{"days": {"30"}, "roles": {"developer"}}, "Cookie", cookie), "token-name-wrong", "name", "")
	besideField(t, f.post("/profile/token", url.Values{"name": {"x"}, "days": {"30"}, "roles": {"admin"}}, "Cookie", cookie), "token-roles-wrong", "admin", "x")
}

// Every form of every page says what is wrong by the one pair of parts.
func TestFormsShareTheirParts(t *testing.T) {
	err := fs.WalkDir(templates, "templates", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Base(name) == "parts.html" { // where they stand
			return err
		}
		text, err := templates.ReadFile(name)
		for _, own := range []string{"aria-invalid", `class="wrong"`} {
			if strings.Contains(string(text), own) {
				t.Errorf("%s has a %s of its own, beside the parts wrong and invalid", name, own)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
