package web

import (
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// What an address names and the service has not is said beside its field, and
// nothing else is chosen in its place.
func TestAnAddressNamesWhatIsNotThere(t *testing.T) {
	f, _ := newStart(t, "")
	anna := f.as("anna", developer)
	get := func(query string) string {
		t.Helper()
		return f.do("GET", "/start?service=shop&"+query, "", "Cookie", anna).body
	}
	page := get("")
	wants(t, page, `name="env" value="production" checked`) // the only one
	lacks(t, page, `class="wrong"`)
	page = get("env=staging&scenario=plain-restart")
	wants(t, page, `id="ask-env-wrong"`, "shop is not in the environment &#34;staging&#34;")
	lacks(t, page, `name="env" value="production" checked`)
	page = get("group=shop-moon")
	wants(t, page, `id="ask-group-wrong"`, "shop is not in the group &#34;shop-moon&#34;")
	lacks(t, page, `value="shop-moon"`)
	page = get("group=bare-production")
	wants(t, page, `id="ask-group-wrong"`, "shop is not in the group &#34;bare-production&#34;")
	page = get("env=production&scenario=knobs&param.mode=gently&param.speed=9")
	wants(t, page, `href="#knobs.param.mode"`, "knobs has no parameter &#34;speed&#34;", `id="ask-scenario-wrong"`, `id="ask-knobs.param.mode-wrong"`)
	wants(t, f.do("GET", "/start?service=shop&env=staging", "", "Cookie", anna, "Accept-Language", "ru").body, "Сервиса shop нет в окружении «staging»")

	f, _ = newStart(t, manyPlaces(2))
	anna = f.as("anna", developer)
	page = get("env=testing&group=shop-us")
	wants(t, page, `name="env" value="testing" checked`, "The group shop-us that the address names is of environment &#34;production&#34;, not &#34;testing&#34;")
	lacks(t, page, `value="shop-us" data-env="production" selected`)
}

// Where the rules want an approval the button asks for one, and says so.
func TestTheButtonAsksForAnApproval(t *testing.T) {
	f, s := newStart(t, "")
	anna := f.as("anna", developer)
	s.AskApproval()
	run := f.draft(s)
	page := f.page(anna, run.ID)
	wants(t, page, "Somebody else has to approve it before it starts. It waits for 1\u00a0h", "an admin", "<summary>Why?</summary>", "rules.yaml, line 10", `data-forms="Ask for approval to restart # host of shop`, ">Ask for approval to restart 3 hosts of shop in production</button>")
	lacks(t, page, "it waits for an approval")
	page = f.do("GET", "/runs/"+run.ID+"/confirm", "", "Cookie", anna).body
	wants(t, page, "Somebody else has to approve it", ">Ask for approval to restart 3 hosts of shop in production</button>")
	wants(t, f.page(anna, run.ID, "Accept-Language", "ru"), "Попросить одобрения: перезапуск на 3 хостах сервиса shop в production")
}

// A start that is refused shows the plan again, with the ticks.
func TestARefusedStartIsShownOnThePlan(t *testing.T) {
	f, s := newStart(t, "")
	anna := f.as("anna", developer)
	run := f.draft(s)
	res := f.post("/runs/"+run.ID+"/start", url.Values{"version": {"99"}, "ticked": {"yes"}, "hosts": {"web1", "web3"}, "typed": {"shop"}}, "Cookie", anna)
	if res.StatusCode != http.StatusConflict {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	wants(t, res.body, `<div class="callout fail" role="alert">`, `value="web1" checked`, `value="web3" checked`, "Restart 2 hosts of shop")
	lacks(t, res.body, `value="web2" checked`)
}

// So does a form of a run's page that is refused as a whole.
func TestARefusalOfAWholeFormKeepsIt(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.running(1, 1)
	f.task(run, 0, restart.TaskUnknown, store.TaskChange{}, nil)
	f.to(run, restart.RunFailed, restart.CauseFailure, "1 of 2 hosts did not succeed")
	res := f.post("/runs/"+run.ID+"/decide", url.Values{"host": {run.Tasks[0].Host}, "verdict": {"did-not"}, "reason": {why}, "version": {"1"}}, "Cookie", cookie)
	if res.StatusCode != http.StatusConflict {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	wants(t, res.body, `id="act-decide-`+run.Tasks[0].Host+`" open>`, `role="alert"`, `value="did-not" checked`, why)
}

// The poll of the first page changes nothing above the list: it says that there
// is something new.
func TestHomeAnnouncesWhatWaits(t *testing.T) {
	f, s := newStart(t, "")
	root := f.as("root", admin)
	page := f.do("GET", "/", "", "Cookie", root).body
	poll := regexp.MustCompile(`hx-get="(/\?waits=[0-9a-f]+)"`).FindStringSubmatch(page)
	if poll == nil {
		t.Fatalf("the page does not ask again:\n%s", page)
	}
	wants(t, page, `hx-select-oob="#news"`, `<div id="news" class="news" role="status"></div>`)
	s.AskApproval()
	_, err := s.Control.Start(t.Context(), anna, f.draft(s).ID, wire.StartRequest{})
	f.must(err)
	wants(t, f.do("GET", poll[1], "", "Cookie", root).body, `hx-get="`+poll[1]+`"`, `role="status"><a class="button main" href="/">`)
	wants(t, f.do("GET", "/", "", "Cookie", root).body, "Waits for you", `role="status"></div>`)
	lacks(t, f.do("GET", "/?waits=%22%3E%3Cscript%3E", "", "Cookie", root).body, "<script>\"")
}

// Every form leaves it to the pages to say what is wrong with it, in their own
// words beside the field.
func TestNoFormIsValidatedByTheBrowser(t *testing.T) {
	forms := regexp.MustCompile(`<form\b[^>]*>`)
	n := 0
	err := fs.WalkDir(templates, "templates", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := templates.ReadFile(name)
		for _, form := range forms.FindAllString(string(text), -1) {
			if n++; !strings.Contains(form, " novalidate") {
				t.Errorf("%s: %s", name, form)
			}
		}
		return err
	})
	if err != nil || n < 50 {
		t.Errorf("%d forms, %v", n, err)
	}
}

func TestSentencesHaveTimesAndRuns(t *testing.T) {
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	const id = "01m8481p0b7cxq2k5w9e3r6t8y"
	for text, want := range map[string]string{
		"frozen until Tue 2026-11-24 00:40 UTC: the sale": "frozen until |@00:40:00 UTC|: the sale",
		"its answer of 2026-11-23T17:31:03Z":              "its answer of |@2026-11-23 17:31 UTC",
		"заморожено до пт 2026-11-27 18:00 UTC: x":        "заморожено до |@2026-11-27 18:00 UTC|: x",
		"until Fri 2026-11-27 18:00 CET: x":               "until Fri 2026-11-27 18:00 CET: x",
		"run " + id + " failed":                           "run |/runs/" + id + "| failed",
		"nothing":                                         "nothing",
		"2026-99-99 10:00 UTC":                            "2026-99-99 10:00 UTC",
		"":                                                "",
	} {
		var got []string
		for _, p := range sentenceOf(text, now) {
			switch {
			case p.At != nil:
				got = append(got, "@"+p.At.Short)
			case p.URL != "":
				got = append(got, p.URL)
			default:
				got = append(got, p.Text)
			}
		}
		if got := strings.Join(got, "|"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"it waits": "It waits", "shop is not there": "shop is not there", "web1: no": "web1: no", "это": "Это", "": "", "a-b c": "a-b c"} {
		if got := whole(text, "shop"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Days are those of the reader's zone, in which the year has shorter ones too.
func TestDaysOfAFilterAreTheReaders(t *testing.T) {
	for zone, want := range map[string][2]string{
		"":                 {"2026-03-29", "2026-03-29"},
		"UTC":              {"2026-03-29", "2026-03-29"},
		"Europe/Berlin":    {"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		"America/New_York": {"2026-03-29T04:00:00Z", "2026-03-30T04:00:00Z"},
	} {
		query, view := filterOf(english, url.Values{"since": {"2026-03-29"}, "until": {"2026-03-29"}, "zone": {zone}})
		if query.Since != want[0] || query.Until != want[1] || len(view.Sent.Wrongs) > 0 || view.Since != "2026-03-29" || view.address(query).Get("zone") != zone || !strings.Contains(view.CSV, "since=2026-03-29") {
			t.Errorf("%q: %+v %+v", zone, query, view)
		}
	}
	for _, bad := range []string{"Local", "Europe/Moon", "../../etc/passwd", strings.Repeat("x", 65)} {
		// The page has filled it in, and the reader can't mend it.
		if query, view := filterOf(english, url.Values{"since": {"2026-03-29"}, "zone": {bad}}); len(view.Sent.Wrongs) != 0 || query.Since != "2026-03-29" || view.Zone != "" {
			t.Errorf("%q: %+v %+v", bad, query, view)
		}
	}
	f := newFixture(t)
	page := f.do("GET", "/runs?q=nobody+wrote+this", "", "Cookie", f.signIn()).body
	wants(t, page, `<details class="fold">`, `name="since" type="date"`, "No run fits")
	if n := strings.Count(page, "Clear all filters"); n != 1 {
		t.Errorf("%d ways to clear the filters", n)
	}
	wants(t, f.do("GET", "/runs?since=2026-11-22T20:00:00Z", "", "Cookie", f.signIn()).body, `name="since" value="2026-11-22T20:00:00Z"`)
}

// A reason is typed on several lines, and is one.
func TestAReasonIsOneLine(t *testing.T) {
	f, s := newStart(t, "")
	anna := f.as("anna", developer)
	res := f.post("/start", url.Values{"service": {"shop"}, "env": {"production"}, "scenario": {"plain-restart"}, "reason": {"502s since\r\nthe 14:00 deploy"}}, "Cookie", anna)
	run, err := s.Store.Run(t.Context(), strings.TrimPrefix(res.Header.Get("Location"), "/runs/"))
	if err != nil || run.Reason != "502s since the 14:00 deploy" {
		t.Errorf("%s: %q, %v", res.Status, run.Reason, err)
	}
}

func TestPlacesOfHosts(t *testing.T) {
	var plan restart.Plan
	for name := range strings.FieldsSeq("a b c d e f g") {
		plan.Hosts = append(plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: name}})
	}
	for hosts, want := range map[string]string{"a": "1", "a b c": "1-3", "a c": "1,3", "g": "7", "a b d f g": "1-2,4,6-7", "a b c d e f g": "1-7"} {
		at := placesIn(plan, strings.Fields(hosts))
		back, err := hostsAt(plan, at)
		if at != want || err != nil || strings.Join(back, " ") != hosts {
			t.Errorf("%s: %s, and back %q, %v", hosts, at, back, err)
		}
	}
}
