package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
)

// shopText is a scenario of the shop, with something nasty in its description.
func shopText(serial, more string) string {
	return "format: 1\nname: shop-restart\nserial: " + serial + "\nauthor: anna@example.com\nkind: restart\nservices: [shop]\ndescription: \"<script>alert(1)</script>\"\nrun_as: root\n" + more +
		"steps:\n  run: {script: \"systemctl restart #unit# && echo #host#\"}\nhealth:\n  new_process: {unit: \"#unit#\"}\n  healthy_for: 1s\n  deadline: 10s\n"
}

// has wants each text in a page, in whatever order.
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		wants(t, page, text)
	}
}

func TestReviewPages(t *testing.T) {
	r := apitest.NewReviewers(t, "anna@example.com", "olga@example.com", "ivan@example.com")
	f, s := over(t, apitest.StartReviewed(t, r.Review()))
	anna, olga := f.as("anna", developer), f.as("olga", restart.RoleReviewer)
	has(t, f.do("GET", "/review", "", "Cookie", anna).body, "plain-restart")
	expires := time.Now().UTC().AddDate(0, 0, 9).Format(time.DateOnly)
	one := shopText("1", "expires: "+expires+"\n")
	_, err := s.Control.Propose(t.Context(), anna1, wire.ScenarioProposal{Body: one, Signatures: []wire.SignatureRequest{r.Sign("olga@example.com", one), r.Sign("ivan@example.com", one)}})
	f.must(err)
	two := shopText("2", "holds: group\n")
	_, err = s.Control.Propose(t.Context(), anna1, wire.ScenarioProposal{Body: two, Signatures: []wire.SignatureRequest{r.Sign("ivan@example.com", two)}})
	f.must(err)

	list := f.do("GET", "/scenarios", "", "Cookie", anna).body
	has(t, list, "Expiring soon", "until the end of "+expires, "In force", "2 versions wait for signatures", "2 of 2 signed", `<a href="/scenarios/shop-restart">All versions</a>`, "proposed")
	queue := f.do("GET", "/review", "", "Cookie", olga).body
	has(t, queue, "Waits for your signature</span>&nbsp;· <span class=\"quiet whole\">1 of 2 signed", "serial 2")
	lacks(t, queue, "Waits for signatures</span>", "Waits for you<")
	lacks(t, f.do("GET", "/review", "", "Cookie", f.as("vera", developer)).body, "Waits for your")

	digest := scenario.Digest([]byte(two))
	path := "/scenarios/" + digest + "/review"
	page := f.do("GET", path, "", "Cookie", olga).body
	has(t, page, "against serial 1", `<td class="code removed"`, `<td class="code added"`, "holds: group", "<h3>Runs as</h3>\n<p class=\"sentence\">root</p>", "<h3>Script</h3>\n<pre", "systemctl restart shop.service &amp;&amp; echo web1", "&lt;script&gt;alert(1)", digest)
	has(t, page, "restartilka scenario approve "+digest, "olga@example.com.sig", strings.ReplaceAll(r.Fingerprint("ivan@example.com"), "+", "&#43;"), "Your signature is missing, as olga@example.com", "Withdraw this version")
	lacks(t, page, "<script>alert(1)")
	has(t, f.do("GET", path+"?service=shop&host=web3", "", "Cookie", olga).body, "echo web3")
	has(t, f.do("GET", path+"?service=shop&host=web4", "", "Cookie", olga).body, "echo web1") // of another service
	has(t, f.do("GET", path, "", "Cookie", olga, "Accept-Language", "ru").body, "Ждёт вашей подписи", "Что сделает хост", "2 строки добавлены")
	of := f.do("GET", path, "", "Cookie", anna).body
	has(t, of, "Who could sign: olga@example.com")
	lacks(t, of, "Withdraw this version", "Your signature is missing")
	versions := f.do("GET", "/scenarios/shop-restart", "", "Cookie", anna).body
	has(t, versions, "serial 1", "serial 2")
	lacks(t, versions, "All versions")
	if res := f.do("GET", "/scenarios/"+digest, "", "Cookie", anna); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
		t.Errorf("a digest for a name: %s", res.Status)
	}
	if res := f.do("GET", "/scenarios/none", "", "Cookie", anna); res.StatusCode != http.StatusNotFound {
		t.Errorf("no such scenario: %s", res.Status)
	}

	withdraw := url.Values{"reason": {"it forgets to wait for the drain"}}
	if res := f.post("/scenarios/"+digest+"/withdraw", withdraw, "Cookie", anna); res.StatusCode != http.StatusForbidden {
		t.Errorf("a developer withdraws: %s", res.Status)
	}
	if res := f.post("/scenarios/"+digest+"/withdraw", withdraw, "Cookie", olga); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
		t.Errorf("a reviewer withdraws: %s", res.Status)
	}
	page = f.do("GET", path, "", "Cookie", olga).body
	has(t, page, "Withdrawn", "withdrawn by olga: it forgets to wait for the drain")
	lacks(t, page, "How to sign", "Withdraw this version")
}

var anna1 = restart.Actor{Name: "anna", Roles: []restart.Role{developer}, Via: "cli"}

// With review: files the pages show what lies in the folder, what is wrong with
// it, and what it was before.
func TestScenarioPagesOfFiles(t *testing.T) {
	f, s := newWhole(t)
	cookie := f.as("anna", developer)
	has(t, f.do("GET", "/scenarios", "", "Cookie", cookie).body, "review: files", "plain-restart", "In force")
	changed := strings.Replace(apitest.Scenario, "serial: 1", "serial: 2", 1)
	f.must(os.WriteFile(filepath.Join(s.Shelf, "plain-restart.yaml"), []byte(changed), 0o600))
	f.must(os.WriteFile(filepath.Join(s.Shelf, "broken.yaml"), []byte("format: 1\n"), 0o600))
	has(t, f.do("GET", "/scenarios", "", "Cookie", cookie).body, "1 file in the folder is not used", "broken.yaml")
	has(t, f.do("GET", "/scenarios/plain-restart", "", "Cookie", cookie).body, "serial 2", "serial 1", "Superseded")
	page := f.do("GET", "/scenarios/"+scenario.Digest([]byte(apitest.Scenario))+"/review", "", "Cookie", cookie).body
	has(t, page, "against serial 2", "serial: 1")
	lacks(t, page, "How to sign", "Signatures", "Withdraw this version")
	has(t, f.do("GET", "/review", "", "Cookie", cookie).body, "Nothing waits for signatures", "review: files")
}

// However long somebody makes a scenario, and however many look at it, a review
// takes a bounded part of the server.
func TestReviewsAreBounded(t *testing.T) {
	r := apitest.NewReviewers(t, "anna@example.com", "olga@example.com", "ivan@example.com")
	f, s := over(t, apitest.StartReviewed(t, r.Review()))
	cookie := f.as("olga", restart.RoleReviewer)
	propose := func(lines int) (path string) {
		text := shopText(strconv.Itoa(lines), "") + strings.Repeat("\n", lines)
		_, err := s.Control.Propose(t.Context(), anna1, wire.ScenarioProposal{Body: text})
		f.must(err)
		return "/scenarios/" + scenario.Digest([]byte(text)) + "/review"
	}
	page := f.do("GET", propose(mostRows), "", "Cookie", cookie).body
	has(t, page, "The text goes on", "lines added")
	if n := strings.Count(page, "<tr"); n != mostRows+1 {
		t.Errorf("%d rows", n)
	}
	page = f.do("GET", propose(mostLines), "", "Cookie", cookie).body
	has(t, page, "The text goes on")
	lacks(t, page, "lines added", `class="code`)

	path := propose(1)
	for range reviewsAtOnce {
		f.site.reviewing <- struct{}{}
	}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond) // many times what it takes
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.server.URL+path, nil)
	f.must(err)
	req.Header.Set("Cookie", cookie)
	res, err := f.client.Do(req)
	if err == nil {
		res.Body.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it did not wait for its turn: %v", err)
	}
	<-f.site.reviewing
	has(t, f.do("GET", path, "", "Cookie", cookie).body, "lines added")
	if len(f.site.reviewing) != reviewsAtOnce-1 {
		t.Errorf("%d are counted as being worked out", len(f.site.reviewing))
	}
}

// Every standing has a word in both languages, and a tone.
func TestStandings(t *testing.T) {
	for _, s := range review.Standings() {
		for _, l := range said.Languages() {
			if word := say(l, "standing."+string(s)); strings.HasPrefix(word, "{") {
				t.Errorf("%s in %s: %s", s, l, word)
			}
		}
		if toneOfStanding(string(s)) == toneUnknown {
			t.Errorf("%s has no tone", s)
		}
	}
}
