package web

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// failedRun makes a run whose first host went well and whose second one did not.
func (f *fixture) failedRun() restart.Run {
	f.t.Helper()
	run := f.create(f.newRun("nginx", 1, 1, 1))
	f.to(run, restart.RunRunning, "", "")
	began := time.Now().UTC()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	end := func(s int) *time.Time { t := at(s); return &t }
	f.task(run, 0, restart.TaskSucceeded, store.TaskChange{}, &protocol.TaskStatus{Phases: []protocol.PhaseReport{
		{Phase: protocol.PhaseDrain, StartedAt: at(0), FinishedAt: end(1)}, {Phase: protocol.PhaseRun, StartedAt: at(1), FinishedAt: end(3)},
	}})
	f.must(f.store.AppendOutput(f.t.Context(), run.Tasks[1].ID, 0, []byte("\x1b[31mno space left\x1b[0m </script><script>alert(1)</script>\n"), 0))
	f.task(run, 1, restart.TaskFailed, store.TaskChange{Error: `exit code 7 <img src=x onerror=alert(1)>`}, &protocol.TaskStatus{Phases: []protocol.PhaseReport{
		{Phase: protocol.PhaseRun, StartedAt: at(4), FinishedAt: end(5), ExitCode: new(7)},
	}})
	f.task(run, 2, restart.TaskNotStarted, store.TaskChange{}, nil)
	f.to(run, restart.RunFailed, restart.CauseFailure, "web2.nginx.example.com failed")
	return run
}

func TestChart(t *testing.T) {
	f := newFixture(t)
	run := f.failedRun()
	cookie := f.signIn()
	res := f.do("GET", "/runs/"+run.ID+"/chart", "", "Cookie", cookie)
	wants(t, res.body, "<h1>Phases over time</h1>", `<table class="gantt">`, `web1`, `<line class="drain" x1="`, "<title>Drain 1.0\u00a0s</title>", "Drain 1.0\u00a0s; Script 2.0\u00a0s", `web2`, `<line class="run fail"`, "Script (failed) 1.0\u00a0s", "web3", "nothing yet")
	wants(t, f.do("GET", "/runs/"+run.ID+"/chart", "", "Cookie", cookie, "Accept-Language", "ru").body, "Этапы во времени", "Скрипт (с ошибкой)")
	wants(t, f.page(cookie, run.ID), `hx-get="/runs/`+run.ID+`/chart"`, `/replay.html" download`)
	many := f.create(f.newRun("many", maxCharted+3))
	res = f.do("GET", "/runs/"+many.ID+"/chart", "", "Cookie", cookie)
	wants(t, res.body, "3 more hosts are not drawn")
	if n := strings.Count(res.body, `<th scope="row"`); n != maxCharted {
		t.Errorf("%d hosts are drawn", n)
	}
}

// Whatever the clocks of the hosts say, a bar lies within the chart and can be
// seen.
func TestChartOfWrongClocks(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	end := start.Add(time.Minute)
	run := restart.Run{StartedAt: &start, FinishedAt: &end}
	c := chartView{Rows: []chartRow{{Bars: []chartBar{
		{from: start.Add(-time.Hour), to: start.Add(-time.Minute)}, {from: end.Add(time.Hour), to: end.Add(2 * time.Hour)}, {from: start.Add(time.Second), to: start}, {from: start, to: end},
	}}}}
	c.scale(english, run, end)
	for i, want := range [][2]string{{"0.00%", "0.30%"}, {"99.70%", "100.00%"}, {"1.67%", "1.97%"}, {"0.00%", "100.00%"}} {
		if got := c.Rows[0].Bars[i]; got.From != want[0] || got.To != want[1] {
			t.Errorf("bar %d from %s to %s, want %v", i, got.From, got.To, want)
		}
	}
	if c.Ticks[0] != (tick{"0.00%", "start", "0"}) || c.Ticks[3] != (tick{"50.00%", "middle", "30\u00a0s"}) || c.Ticks[6] != (tick{"100.00%", "end", "1\u00a0min"}) {
		t.Errorf("axis %v", c.Ticks)
	}
}

// A replay is one file that loads nothing: its policy names the style and the
// script that it has, and neither can be made by what hosts and people wrote.
func TestReplay(t *testing.T) {
	f := newFixture(t)
	run := f.failedRun()
	res := f.do("GET", "/runs/"+run.ID+"/replay.html", "", "Cookie", f.signIn())
	if disposition := res.Header.Get("Content-Disposition"); res.StatusCode != http.StatusOK || disposition != `attachment; filename="restartilka-`+run.ID+`.html"` {
		t.Fatalf("%s, %q", res.Status, disposition)
	}
	wants(t, res.body, "Failed", "<h1>nginx", "workers hang", "dana, from the command line", "Phases over time", `type="range"`, "What happened", "dana asked for it", "The run began", "<strong>web1.nginx.example.com</strong> Drain",
		"<strong>web2.nginx.example.com</strong> Failed: exit code 7 &lt;img", "Failed: a host failed", "<h3>web2.nginx.example.com</h3>", "exit code 7", `<span class="t2">no space left</span> &lt;/script&gt;&lt;script&gt;`, "nginx-restart")
	for _, element := range []string{"style", "script"} {
		if n := strings.Count(res.body, "<"+element); n != 1 {
			t.Fatalf("%d elements %s", n, element)
		}
		_, rest, _ := strings.Cut(res.body, "<"+element+">")
		content, _, _ := strings.Cut(rest, "</"+element+">")
		sum := sha256.Sum256([]byte(content))
		if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(html.UnescapeString(res.body), element+"-src "+hash) {
			t.Errorf("the policy does not name the %s %s", element, hash)
		}
	}
	lacks(t, res.body, "http://", "https://", "src=\"", "url(", "@import", " style=", "<img", "<link")
	lacks(t, f.do("GET", "/runs/"+f.create(f.newRun("shop", 1)).ID, "", "Cookie", f.signIn()).body, "replay.html") // nothing has happened
}

// A link to a run says something to who may see it, and nothing to others.
func TestPreviewOfALink(t *testing.T) {
	f := newFixture(t)
	run := f.failedRun()
	wants(t, f.page(f.signIn(), run.ID), "<title>Failed · 1/3 · nginx in production", `<meta name="description" content="502s since the 14:00 deploy, workers hang · dana, from the command line · 1 of 3 hosts done, 1 failed, 1 not started · web2.nginx.example.com failed">`, `property="og:title" content="Failed · 1/3`)
	res := f.do("GET", "/runs/"+run.ID, "")
	lacks(t, res.body, "nginx", "workers")
	door := f.do("GET", res.Header.Get("Location"), "").body
	wants(t, door, `og:description" content="Sign in to see it: `+run.ID+`"`, `og:title" content="A run in restartilka"`)
	wants(t, f.do("GET", f.do("GET", "/services/nginx", "").Header.Get("Location"), "", "Accept-Language", "ru").body, `content="Войдите, чтобы увидеть."`, `og:title" content="Сервис в restartilka"`)
	wants(t, f.do("GET", "/sign-in?next=/runs", "").body, `<meta name="description" content="Restart your own services, safely">`, `og:title" content="Sign in"`)
	lacks(t, door, "nginx", "workers", "Failed")
	long := runView{Reason: strings.Repeat("я", 2*maxDescription)}
	if text := []rune(describe(long)); len(text) != maxDescription {
		t.Errorf("a description of %d characters", len(text))
	}
}
