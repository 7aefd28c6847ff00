package web

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const goodReason = "502s since the 14:00 deploy"

// knobs is a scenario of shop with a parameter of each type, some of which must
// be given.
const knobs = `format: 1
name: knobs
serial: 1
author: review@example.com
kind: custom
services: [shop]
description: "Turn <b>knobs</b>"
params:
  mode: {type: enum, values: [gentle, quick]}
  warm: {type: bool, default: "true"}
  workers: {type: int, min: 1, max: 8}
  wait: {type: duration, default: 30s}
  label: {type: string, default: blue}
steps:
  run: {script: "echo $PARAM_MODE"}
`

// newStart is a whole server with another scenario and an inventory of one's own.
func newStart(t *testing.T, inventory string) (*fixture, *apitest.Server) {
	t.Helper()
	f, s := newWhole(t)
	if inventory != "" {
		f.must(os.WriteFile(filepath.Join(s.Dir, "inventory.yaml"), []byte(inventory), 0o600))
	}
	f.must(os.WriteFile(filepath.Join(s.Shelf, "knobs.yaml"), []byte(knobs), 0o600))
	return f, s
}

// manyPlaces has thousands of services, one of them in three environments.
func manyPlaces(services int) string {
	var b strings.Builder
	b.WriteString("services:\n  - {name: shop, package: shop, owners: [anna, \"team:web\"]}\n")
	for i := range services {
		fmt.Fprintf(&b, "  - {name: svc-%04d, package: pkg-%04d, description: \"<script>alert(%d)</script> & 'more'\", owners: [boris]}\n", i, i, i)
	}
	b.WriteString("  - {name: zoo-shop, owners: [anna]}\n")
	b.WriteString(`groups:
  - {name: shop-testing, environment: testing, services: [shop], hosts: [web1]}
  - {name: shop-eu, environment: production, project: eu, services: [shop, svc-0001], hosts: [web1, web2]}
  - {name: shop-us, environment: production, project: us, services: [shop], hosts: [web3]}
hosts:
  - {name: web1, data_centre: dc1, tags: [edge]}
  - {name: web2}
  - {name: web3}
`)
	return b.String()
}

// attribute gives an attribute of the element with an id.
func attribute(page, id, name string) string {
	m := regexp.MustCompile(`<[a-z]+ [^>]*id="` + regexp.QuoteMeta(id) + `"[^>]*>`).FindString(page)
	if m == "" {
		return "no element " + id
	}
	value := regexp.MustCompile(` ` + name + `="([^"]*)"`).FindStringSubmatch(m)
	if value == nil {
		return ""
	}
	return value[1]
}

// Of thousands of services those that were used last are first, then one's own.
func TestServicesAreFound(t *testing.T) {
	f, s := newStart(t, manyPlaces(3000))
	anna := f.as("anna", developer)
	get := func(path string, headers ...string) string {
		t.Helper()
		return f.do("GET", path, "", append([]string{"Cookie", anna}, headers...)...).body
	}
	names := func(page string) string {
		var out []string
		for _, m := range regexp.MustCompile(`<li><a href="[^"]*"><strong>([^<]*)<`).FindAllStringSubmatch(page, -1) {
			out = append(out, m[1])
		}
		return strings.Join(out, " ")
	}
	if got := names(get("/start")); !strings.HasPrefix(got, "shop zoo-shop svc-0000 ") || strings.Count(got, " ") != offersShown-1 {
		t.Errorf("at first: %s", got)
	}
	wants(t, get("/start"), "2990 more: type a part of the name")
	run, err := s.Control.Draft(t.Context(), restart.Actor{Name: "anna", Roles: []restart.Role{admin}}, restart.Request{Service: "svc-0001", Reason: goodReason}, "")
	f.must(err)
	_, err = s.Control.Start(t.Context(), restart.Actor{Name: "anna", Roles: []restart.Role{admin}}, run.ID, wire.StartRequest{})
	f.must(err)
	if got := names(get("/")); !strings.HasPrefix(got, "svc-0001 shop zoo-shop ") {
		t.Errorf("once it was used: %s", got)
	}
	for query, want := range map[string]string{"SHOP": "shop zoo-shop", "pkg-2999": "svc-2999", "alert(17)": "svc-0017", "nothing such": ""} {
		page := get("/services/suggest?q=" + url.QueryEscape(query))
		if got := names(page); got != want || strings.Contains(page, "<script>") || strings.Contains(page, "<html") {
			t.Errorf("%q finds %q, want %q:\n%s", query, got, want, page)
		}
	}
	wants(t, get("/services/suggest?q=x", "Accept-Language", "ru"), "Такого сервиса нет")
	// What was prefilled goes along; nothing else does.
	page := get("/services/suggest?q=zoo&reason=" + url.QueryEscape(`<b>"why"</b>`) + "&ticket=WEB-1&param.mode=quick&evil=1")
	wants(t, page, `href="/start?param.mode=quick&amp;reason=%3Cb%3E%22why%22%3C%2Fb%3E&amp;service=zoo-shop&amp;ticket=WEB-1"`)
}

// An address fills the form in, and changes nothing.
func TestTheFormIsPrefilled(t *testing.T) {
	f, s := newStart(t, manyPlaces(2))
	anna := f.as("anna", developer)
	nasty := `"><script>alert(1)</script>`
	text := "&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
	path := "/start?" + url.Values{
		"service": {"shop"}, "env": {"testing"}, "scenario": {"knobs"}, "reason": {nasty}, "ticket": {nasty}, "hosts": {nasty}, "except": {nasty}, "group": {nasty},
		"param.mode": {"quick"}, "param.label": {nasty}, "param.workers": {nasty}, "param.warm": {"false"}, "rehearse": {"yes"},
	}.Encode()
	page := f.do("GET", path, "", "Cookie", anna).body
	lacks(t, page, "<script>alert", "<b>knobs")
	if bad := inline.FindString(unquoted(page)); bad != "" {
		t.Errorf("the page has %q", bad)
	}
	for id, want := range map[string]string{"ticket": text, "knobs.param.wait": "30s", "knobs.param.label": text} {
		if got := attribute(page, id, "value"); got != want {
			t.Errorf("%s has %q, want %q", id, got, want)
		}
	}
	wants(t, page, `name="env" value="testing" checked`, `name="scenario" value="knobs" checked`, `<option value="quick" selected>`, text+"</textarea>", `name="rehearse" value="yes" checked`)
	wants(t, page, `id="ask-group-wrong"`, `id="ask-knobs.param.workers-wrong"`, `id="ask-knobs.param.label-wrong"`)
	if attribute(page, "knobs.param.workers", "type") != "number" || attribute(page, "knobs.param.workers", "min") != "1" || attribute(page, "knobs.param.workers", "max") != "8" ||
		attribute(page, "knobs.param.workers", "aria-required") != "true" || attribute(page, "knobs.param.wait", "pattern") == "" || attribute(page, "knobs.param.warm", "type") != "checkbox" ||
		strings.Contains(page, `value="true" checked`) {
		t.Errorf("the fields of the parameters:\n%s", page)
	}
	runs, err := s.Store.AskedBy(t.Context(), "anna", 10)
	f.must(err)
	if len(runs) != 0 {
		t.Errorf("looking at the form has made %v", runs)
	}
	// The group follows from the environment, and is asked for where it does not.
	page = f.do("GET", "/start?service=shop", "", "Cookie", anna).body
	wants(t, page, "testing</strong>", "group shop-testing, 1 host", "production</strong>", "2 groups: choose one below", "a second step follows", "follows from service and environment", `value="shop-eu" data-env="production"`)
	lacks(t, page, `name="env" value="testing" checked`)
	wants(t, f.do("GET", "/start?service=svc-0000", "", "Cookie", anna).body, "not one of its owners", "has no group with this service")
	res := f.do("GET", "/start?service=shpo", "", "Cookie", anna)
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("no such service: %s", res.Status)
	}
	wants(t, res.body, "is not in the inventory", `Did you mean <a href="/start?service=shop">shop</a>`, `id="q"`, `value="shpo"`, `aria-invalid="true"`)
	wants(t, f.do("GET", "/start?service=shop&scenario=none-such", "", "Cookie", anna).body, "There is no scenario", "none-such")
}

// What is wrong is said beside its field; what was typed is kept; the focus goes
// to the first.
func TestWhatIsWrongIsSaidBesideItsField(t *testing.T) {
	f, _ := newStart(t, manyPlaces(2))
	anna := f.as("anna", developer)
	good := url.Values{
		"service": {"shop"}, "env": {"testing"}, "scenario": {"knobs"}, "reason": {goodReason}, "ticket": {"WEB-1"},
		"knobs.param.mode": {"quick"}, "knobs.param.workers": {"3"}, "knobs.param.wait": {"1m"}, "knobs.param.label": {"green"},
	}
	for name, c := range map[string]struct {
		change map[string]string
		fields string // that are wrong, the first has the focus
		words  string
	}{
		"no reason":          {map[string]string{"reason": ""}, "reason", "A reason is needed"},
		"a reason of a word": {map[string]string{"reason": "restart"}, "reason", "too short"},
		"no environment":     {map[string]string{"env": ""}, "env", "choose an environment"},
		"no such environment": {map[string]string{"env": "moon"}, "env",
			"no group in environment &#34;moon&#34;"},
		"several groups":   {map[string]string{"env": "production"}, "env", "say the project or the group"},
		"no such group":    {map[string]string{"group": "shop-moon"}, "group", "is not in the inventory"},
		"another's group":  {map[string]string{"group": "shop-us"}, "group", "is of environment production, not testing"},
		"bad hosts":        {map[string]string{"hosts": "web[1-"}, "hosts", "web[1-"},
		"foreign host":     {map[string]string{"hosts": "web3"}, "hosts", "holds all of these hosts"},
		"left out too":     {map[string]string{"except": "web3"}, "except", "is not in the plan"},
		"no such scenario": {map[string]string{"scenario": "none-such"}, "scenario", "There is no scenario"},
		"required":         {map[string]string{"knobs.param.mode": "", "knobs.param.workers": " "}, "knobs.param.mode knobs.param.workers", "This is needed"},
		"out of range":     {map[string]string{"knobs.param.workers": "9"}, "knobs.param.workers", "from 1 to 8"},
		"no duration":      {map[string]string{"knobs.param.wait": "soon"}, "knobs.param.wait", "a duration such as"},
		"hostile text":     {map[string]string{"knobs.param.label": "$(reboot)"}, "knobs.param.label", "not acceptable"},
		"ticket":           {map[string]string{"ticket": strings.Repeat("x", 65)}, "ticket", "is not a key"},
		"all at once":      {map[string]string{"reason": ".", "knobs.param.workers": "x", "ticket": "a\x07b"}, "knobs.param.workers reason ticket", "This needs correcting"},
	} {
		t.Run(name, func(t *testing.T) {
			form := maps.Clone(good)
			for k, v := range c.change {
				form.Set(k, v)
			}
			res := f.post("/start", form, "Cookie", anna)
			if res.StatusCode < 400 || res.StatusCode >= 500 {
				t.Fatalf("%s to %q", res.Status, res.Header.Get("Location"))
			}
			wants(t, res.body, "This needs correcting", "</html>")
			wants(t, strings.ReplaceAll(res.body, "This needs correcting", "")+"This needs correcting", c.words)
			for i, field := range strings.Fields(c.fields) {
				if !strings.Contains(res.body, `id="ask-`+field+`-wrong"`) || !strings.Contains(res.body, `href="#`+field+`"`) {
					t.Errorf("%s is not said to be wrong:\n%s", field, res.body)
				}
				if first := attribute(res.body, field, "id") != ""; i == 0 && !first {
					t.Errorf("%s is not there", field)
				}
			}
			if n := strings.Count(res.body, `aria-invalid="true"`); n != len(strings.Fields(c.fields)) || strings.Count(res.body, " autofocus") != 1 {
				t.Errorf("%d fields are wrong, want %s; or the focus is not on one:\n%s", n, c.fields, res.body)
			}
			if _, changed := c.change["knobs.param.workers"]; !changed && attribute(res.body, "knobs.param.workers", "value") != "3" {
				t.Error("what was typed is lost")
			}
		})
	}
	res := f.post("/start", good, "Cookie", anna)
	if res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Location"), "/runs/") {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	page := f.do("GET", res.Header.Get("Location"), "", "Cookie", anna).body
	wants(t, page, "Run this on shop?", "label=green", "mode=quick", "wait=1m0s", "warm=false", "workers=3", "WEB-1", "Run on 1 host of shop in testing")
}

// Who may not is told so beside the environment, and who can; and again by the
// answer.
func TestWhoMayNotIsToldWhoCan(t *testing.T) {
	f, s := newStart(t, manyPlaces(2))
	vera := f.as("vera", developer)
	f.freeze(s, "the big <sale> is on")
	page := f.do("GET", "/start?service=shop", "", "Cookie", vera).body
	wants(t, page, "vera may not restart shop", "ask anna, team web or an admin", "Frozen until <time", "the big &lt;sale&gt; is on", "vera may not restart shop")
	res := f.post("/start", url.Values{"service": {"shop"}, "env": {"testing"}, "scenario": {"plain-restart"}, "reason": {goodReason}}, "Cookie", vera)
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("%s", res.Status)
	}
	wants(t, res.body, `role="alert"`, "vera may not restart shop", "Ask anna, team web or an admin", goodReason+"</textarea>")
	records, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Actor: "vera", Action: "run.refused"})
	if err != nil || len(records) != 1 {
		t.Errorf("%d refusals on record, %v", len(records), err)
	}
}

// An inventory that can't be read is an error on the page, or its age.
func TestTheInventoryIsDown(t *testing.T) {
	f, s := newStart(t, "not: [yaml")
	anna := f.as("anna", developer)
	for _, path := range []string{"/start", "/start?service=shop"} {
		res := f.do("GET", path, "", "Cookie", anna)
		if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(res.body, `id="q"`) {
			t.Errorf("%s: %s\n%s", path, res.Status, res.body)
		}
		wants(t, res.body, `role="alert"`, "The inventory", "can&#39;t be used")
	}
	if res := f.do("GET", "/", "", "Cookie", anna); res.StatusCode != http.StatusOK || !strings.Contains(res.body, "can&#39;t be used") {
		t.Errorf("%s", res.Status)
	}
	if res := f.post("/start", url.Values{"service": {"shop"}, "reason": {goodReason}}, "Cookie", anna); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s", res.Status)
	}
	f.must(os.WriteFile(filepath.Join(s.Dir, "inventory.yaml"), []byte(apitest.Inventory), 0o600))
	wants(t, f.do("GET", "/start?service=shop", "", "Cookie", anna).body, "group shop-production, 3 hosts")
	f.must(os.WriteFile(filepath.Join(s.Dir, "inventory.yaml"), []byte("not: [yaml, either"), 0o600))
	wants(t, f.do("GET", "/start?service=shop", "", "Cookie", anna).body, "this is how it was last", `his is its answer of <time datetime="`+time.Now().UTC().Format("2006-01-02T"))
}

// A double click makes one draft.
func TestADoubleClickMakesOneDraft(t *testing.T) {
	f, _ := newStart(t, "")
	anna := f.as("anna", developer)
	page := f.do("GET", "/start?service=shop&scenario=plain-restart", "", "Cookie", anna).body
	key := regexp.MustCompile(`name="key" value="([^"]+)"`).FindStringSubmatch(page)[1]
	form := url.Values{"service": {"shop"}, "env": {"production"}, "scenario": {"plain-restart"}, "reason": {goodReason}, "key": {key}}
	first, second := f.post("/start", form, "Cookie", anna), f.post("/start", form, "Cookie", anna)
	if first.StatusCode != http.StatusSeeOther || first.Header.Get("Location") != second.Header.Get("Location") {
		t.Errorf("%s %s", first.Header.Get("Location"), second.Header.Get("Location"))
	}
	wants(t, f.do("GET", "/start?service=shop", "", "Cookie", anna).body, "</textarea></div>") // reasons are of runs, and this is none yet
}
