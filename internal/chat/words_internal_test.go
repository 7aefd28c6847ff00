package chat

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]command{
		"/restart nginx 502s since noon":        {verb: "restart", rest: "nginx 502s since noon"},
		"/restart@restartilka_bot nginx why":    {verb: "restart", rest: "nginx why", to: "restartilka_bot"},
		"  /RESTART\tnginx\n why  ":             {verb: "restart", rest: "nginx\n why"},
		"restart nginx why":                     {verb: "restart", rest: "nginx why"},
		"/reboot nginx":                         {},
		"/ping@other":                           {to: "other"},
		"":                                      {},
		"/":                                     {},
		"//restart x":                           {},
		"/restart" + strings.Repeat(" x", 3000): {},
		"/restart \xff":                         {},
		"/whoami":                               {verb: "whoami"},
		"/link  k3j2h-9qwer":                    {verb: "link", rest: "k3j2h-9qwer"},
		"/restart\u00a0nginx":                   {verb: "restart", rest: "nginx"},
	} {
		if got := parse(text); got != want {
			t.Errorf("%.40q: %+v instead of %+v", text, got, want)
		}
	}
	for _, c := range [][3]string{{"/restartilka", "restart nginx why", "/restart nginx why"}, {"/restart", "nginx why", "/restart nginx why"}, {"/Restart", "x", "/Restart x"}, {"/ops", "/runs", "/runs"}, {"/ops", "", "/"}} {
		if got := slashed(c[0], c[1]); got != c[2] {
			t.Errorf("%s %s: %q", c[0], c[1], got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"/restart nginx why", "/restart@bot nginx", "  /link abcde-fghjk", "\x00\u202e/runs", strings.Repeat("/", 5000)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parse(text)
		if c.verb != "" && (strings.TrimSpace(c.rest) != c.rest || !utf8.ValidString(c.rest)) {
			t.Errorf("%+v", c)
		}
		if again := parse("/" + c.verb + " " + c.rest); c.verb != "" && len(text) < longestText/2 && (again.verb != c.verb || again.rest != c.rest) {
			t.Errorf("%q: %+v, and again %+v", text, c, again)
		}
	})
}

// Whatever comes from outside, a message is short enough for every chat, and
// every line of it is what it seems.
func TestTextsAreBounded(t *testing.T) {
	t.Parallel()
	odd := strings.Repeat("\u202e<script>`\x1b[2J\n", 400)
	run := restart.Run{ID: "r", Service: odd, Environment: odd, Actor: odd, Reason: odd, Ticket: odd, Group: odd, State: restart.RunPaused, Cause: restart.Cause(odd), Explanation: odd,
		Plan: &restart.Plan{Scenario: odd, Description: odd, Params: map[string]string{odd: odd}, Warnings: []string{odd, odd}}}
	for range 500 {
		run.Plan.Hosts = append(run.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: odd}, Health: odd, Why: odd})
		run.Plan.Batches = append(run.Plan.Batches, 2)
		run.Tasks = append(run.Tasks, restart.Task{Host: odd, State: restart.TaskFailed, Attempt: 1, Position: len(run.Tasks), Error: odd, Phase: odd})
	}
	for _, l := range said.Languages() {
		for name, text := range map[string]string{"plan": planText(l, run, "tail"), "run": runText(l, run), "error": refusal(l, restart.Errorf(restart.CodeInvalid, "%s", odd).WithHint("%s", odd))} {
			if n := utf8.RuneCountInString(text); n > mostText {
				t.Errorf("%s, %s: %d characters", l, name, n)
			}
			if strings.ContainsAny(text, "\x1b\u202e") {
				t.Errorf("%s, %s: %.100q", l, name, text)
			}
		}
	}
	for _, sign := range []string{"<", "я", "𝄞"} {
		text := slackText(strings.Repeat(sign, mostText))
		if n := len(utf16.Encode([]rune(text))); n > 3000 {
			t.Errorf("a block of %d characters", n)
		}
		if sign == "я" && !strings.Contains(text, strings.Repeat(sign, mostText)) {
			t.Errorf("of %d characters %d are there", mostText, strings.Count(text, sign))
		}
	}
}

func TestPlanSaysWhatMatters(t *testing.T) {
	t.Parallel()
	run := restart.Run{Service: "nginx", Environment: "production", Group: "front", Reason: "502s since noon", Plan: &restart.Plan{Scenario: "nginx-restart", Batches: []int{1, 2, 20}}}
	for i := range 25 {
		run.Plan.Hosts = append(run.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: "web" + string(rune('a'+i))}, LeftOut: i < 2, Why: "weba: its agent is silent"})
	}
	text := planText(said.English, run, "tail")
	for _, want := range []string{"Hosts: 23 of group front, in batches of 1, 2, 20", "  webv\n  and 3 more", "Left out: weba: its agent is silent", "Left out: webb", "\ntail"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "  webw") {
		t.Error("more than twenty hosts are named")
	}
	for want, sizes := range map[string][]int{"all at once": {5}, "one after another": {1, 1, 1}, "in batches of 1, 1, 1, 1, 1, 1, 1, 2, …": {1, 1, 1, 1, 1, 1, 1, 2, 2, 2}} {
		if got := batchesOf(said.English, sizes); got != want {
			t.Errorf("%v: %s", sizes, got)
		}
	}
}

func TestPlanInRussian(t *testing.T) {
	t.Parallel()
	run := restart.Run{Service: "nginx", Environment: "production", Group: "front", Reason: "502 с полудня", Ticket: "OPS-7", Plan: &restart.Plan{
		Scenario: "nginx-restart", Batches: []int{1, 2, 20}, Warnings: slices.Repeat([]string{"scenario nginx-restart has another version now"}, 8),
	}}
	for i := range 32 {
		run.Plan.Hosts = append(run.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: "web" + string(rune('a'+i))}, LeftOut: i < 7, Why: "left out by the request", Health: restart.HealthUnhealthy})
	}
	text := planText(said.Russian, run, "конец")
	for _, want := range []string{
		"Перезапуск nginx, окружение production\nСценарий: nginx-restart\nПричина: 502 с полудня\nТикет: OPS-7\n", "Хосты: 25, группа front, порциями по 1, 2, 20\n  webh нездоров\n", "  и ещё 5\n",
		"Не затронут: weba: исключён в запросе\n", "Не затронуто ещё: 2\n", "Внимание: у сценария nginx-restart теперь другая версия\n", "и ещё 2 предупреждения, на странице\n", "\nконец",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	began, ended := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), time.Date(2026, 11, 23, 10, 1, 5, 0, time.UTC)
	run = restart.Run{Service: "nginx", Kind: restart.KindCustom, Scenario: "cache-drop", Work: restart.WorkRehearse, State: restart.RunFailed, Cause: restart.CauseFailure, Explanation: "run 01m is over: aborted", Actor: "anna", Reason: "502 с полудня", StartedAt: &began, FinishedAt: &ended, Tasks: []restart.Task{
		{Host: "weba", State: restart.TaskSucceeded, Attempt: 1},
		{Host: "webb", Position: 1, State: restart.TaskRunning, Phase: "health", Attempt: 1},
		{Host: "webc", Position: 2, State: restart.TaskUnknown, Attempt: 1, Error: "webc: the script ended with exit status 3", Decision: &restart.Decision{Verdict: restart.VerdictDidNot}},
	}}
	want := "Репетиция: nginx: не выполнен (ошибка на хосте), готово 1 из 3 хостов за 65 с\nзапуск 01m закончен: прерван\nanna: 502 с полудня\n" +
		"  weba готово\n  webb идёт, проверяет здоровье\n  webc неизвестно, решено: не выполнено: скрипт завершился с кодом 3"
	if got := runText(said.Russian, run); got != want {
		t.Errorf("%s\ninstead of\n%s", got, want)
	}
	run.State, run.Control = restart.RunRunning, restart.ControlForceAbort
	if got := stateOf(said.Russian, run); got != "идёт (ошибка на хосте), запрошено прерывание силой" {
		t.Error(got)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := &limits{now: func() time.Time { return now }}
	count := func(account string) (good, tell int) {
		for range 50 {
			switch l.pass(account) {
			case passGood:
				good++
			case passTell:
				tell++
			}
		}
		return good, tell
	}
	if good, tell := count("a"); good != mostAMinute || tell != 1 {
		t.Errorf("%d pass, %d are told", good, tell)
	}
	if good, _ := count("b"); good != mostAMinute {
		t.Errorf("another account: %d pass", good)
	}
	now = now.Add(time.Minute)
	if good, _ := count("a"); good != mostAMinute {
		t.Errorf("a minute later: %d pass", good)
	}
}
