package silence_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/silence"
	"github.com/restartilka/restartilka/test/foreign/alertmanager"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// realOne is a real Alertmanager behind a proxy that wants credentials.
type realOne struct {
	t      *testing.T
	server *alertmanager.Server
	front  string
	before *trouble.Gate
	file   string
}

func (r *realOne) settings() silence.System {
	return silence.System{Name: "main", Kind: "alertmanager", URLs: []string{r.front}, CredentialsFile: r.file}
}

func (r *realOne) gate() *trouble.Gate { return r.before }

func (r *realOne) asks() string { return "POST /api/v2/silences" }

// quiet has the alert fire, of the host with a port and without.
func (r *realOne) quiet(host, alert string) bool {
	r.t.Helper()
	r.server.Fire(map[string]string{"alertname": alert, "instance": host}, map[string]string{"alertname": alert, "instance": host + ":9100"})
	heard := r.server.Heard()
	bare, port := !heard[alert+" "+host], !heard[alert+" "+host+":9100"]
	if bare != port {
		r.t.Errorf("%s of %s: silent %v, and with a port %v", alert, host, bare, port)
	}
	return bare && port
}

func (r *realOne) placed(task string) (ends []time.Time) {
	for _, s := range r.server.Silences() {
		if strings.Contains(s.Comment, task) {
			ends = append(ends, s.EndsAt)
		}
	}
	return ends
}

func (r *realOne) byHand(host, alert string) func() bool {
	id := r.server.Add(map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": alert, "isRegex": false, "isEqual": true}, {"name": "instance", "value": host, "isRegex": false, "isEqual": true}},
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour), "createdBy": "boris", "comment": "the disk is being changed",
	})
	return func() bool {
		return slices.ContainsFunc(r.server.Silences(), func(s alertmanager.Silence) bool { return s.ID == id })
	}
}

func TestAlertmanager(t *testing.T) {
	server := alertmanager.Start(t)
	file := credentials(t, alertmanager.Authorization)
	Exercise(t, func(t *testing.T) watcher {
		front, gate := server.Front()
		return &realOne{t: t, server: server, front: front, before: gate, file: file}
	})
	t.Run("what people there read", func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(silence.System{Name: "main", Kind: "alertmanager", URLs: []string{"http://127.0.0.1:1", server.URL}}) // the second of the two answers
		b.must(b.begin(k, 0))
		task := b.run.Tasks[0]
		all := slices.DeleteFunc(server.Silences(), func(s alertmanager.Silence) bool { return !strings.Contains(s.Comment, task.ID) })
		want := fmt.Sprintf(`anna does shop-restart of shop on %s: 502s since 14:00 "quoted" {instance=~".*"} (https://restartilka.example.com/runs/%s, task %s)`, task.Host, b.run.ID, task.ID)
		if len(all) != 1 || all[0].Comment != want || all[0].CreatedBy != "restartilka" || all[0].Status.State != "active" {
			t.Fatalf("%+v\nwant %s", all, want)
		}
		if m := all[0].Matchers; len(m) != 2 {
			t.Errorf("matchers: %+v", m)
		}
		k.End(t.Context(), b.run, task.ID)
	})
	t.Run("a silence that is over already", func(t *testing.T) {
		b := newBench(t)
		r := &realOne{t: t, server: server, file: file}
		r.front, r.before = server.Front()
		k := b.keeper(r.settings())
		b.must(b.begin(k, 0))
		b.keeper(r.settings()).End(t.Context(), b.run, b.run.Tasks[0].ID) // somebody was quicker, and this one does not know
		b.must(b.begin(k, 0))
		for _, s := range server.Silences() {
			if strings.Contains(s.Comment, b.run.Tasks[0].ID) {
				server.Expire(s.ID)
			}
		}
		k.End(t.Context(), b.run, b.run.Tasks[0].ID)
		if got := b.states(0); got != "main lifted: " {
			t.Errorf("kept: %s", got)
		}
	})
	t.Run("gates", func(t *testing.T) { exerciseGates(t, server, file) })
}

// TestSilencesAreNarrow: whatever the names are, a silence is of them alone.
func TestSilencesAreNarrow(t *testing.T) {
	names := rapid.StringMatching(`[A-Za-z_][A-Za-z0-9@._:-]{0,12}`)
	hosts := rapid.StringMatching(`[a-z0-9]{1,6}(\.[a-z0-9]{1,4}){0,2}|10\.0\.[0-9]\.[0-9]|fe80::[0-9a-f]{1,4}`)
	rapid.Check(t, func(t *rapid.T) {
		host, alerts := hosts.Draw(t, "host"), rapid.SliceOfNDistinct(names, 1, 4, rapid.ID[string]).Draw(t, "alerts")
		alert, instance, err := silence.Pattern(host, alerts)
		if err != nil {
			t.Fatal(err)
		}
		alertRe, instanceRe := regexp.MustCompile("^(?:"+alert+")$"), regexp.MustCompile("^(?:"+instance+")$")
		for _, name := range alerts {
			if !alertRe.MatchString(name) {
				t.Errorf("%s does not fit %s", alert, name)
			}
		}
		bare := host
		if strings.Contains(host, ":") {
			bare = "[" + host + "]"
		}
		for _, ours := range []string{host, bare + ":9100"} {
			if !instanceRe.MatchString(ours) {
				t.Errorf("%s does not fit %s", instance, ours)
			}
		}
		if other := names.Draw(t, "other alert"); alertRe.MatchString(other) != slices.Contains(alerts, other) {
			t.Errorf("%s and %s", alert, other)
		}
		if other := hosts.Draw(t, "other host"); other != host && instanceRe.MatchString(other) {
			t.Errorf("%s fits %s", instance, other)
		}
		for _, other := range []string{"", "x" + host, host + "x", host + ":", host + ":x", host + ":9100x", host + "\n"} {
			if instanceRe.MatchString(other) && other != host {
				t.Errorf("%s fits %q", instance, other)
			}
		}
	})
	for _, alerts := range [][]string{nil, {}, {""}, {".*"}, {"Instance.*|Disk"}, {"InstanceDown", ".+"}, {"a|b"}, {"^x$"}} {
		if alert, _, err := silence.Pattern("web1", alerts); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %s, %v", alerts, alert, err)
		}
	}
	if _, _, err := silence.Pattern("", []string{"InstanceDown"}); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("no host: %v", err)
	}
}

func exerciseGates(t *testing.T, server *alertmanager.Server, file string) {
	front, before := server.Front()
	began := time.Now()
	var later time.Duration // that it is by the clock of the gates, which a busy machine does not move
	run := restart.Run{ID: "r", Kind: restart.KindRestart, Service: "shop", Environment: "production", Group: "shop-production"}
	open := func(g silence.Gate) func() (string, string) {
		t.Helper()
		g.System = "main"
		systems, err := silence.Settings{Systems: []silence.System{{Name: "main", Kind: "alertmanager", URLs: []string{front}, CredentialsFile: file}}, Gates: []silence.Gate{g}}.Open()
		if err != nil {
			t.Fatal(err)
		}
		gates := silence.NewGates(systems, nil, func() time.Time { return began.Add(later) })
		return func() (string, string) {
			inWay, unsure := gates.Fire(context.WithoutCancel(t.Context()), run)
			said := func(e *restart.Error) string {
				if e == nil {
					return ""
				}
				return e.Message
			}
			return said(inWay), said(unsure)
		}
	}
	ask := open(silence.Gate{Alerts: []string{"CentreDown", "NetSplit"}, Labels: map[string]string{"environment": "#environment#"}, Environments: []string{"prod*"}})
	expect := func(what string, ask func() (string, string), inWay, unsure string) {
		t.Helper()
		later += time.Minute
		if a, b := ask(); (inWay == "") != (a == "") || !strings.Contains(a, inWay) || (unsure == "") != (b == "") || !strings.Contains(b, unsure) {
			t.Errorf("%s: in the way %q, unsure %q", what, a, b)
		}
	}
	expect("nothing fires", ask, "", "")
	there := map[string]string{"alertname": "CentreDown", "environment": "production", "instance": "dc1 \x1b[2J"}
	elsewhere := map[string]string{"alertname": "CentreDown", "environment": "testing"}
	server.Fire(elsewhere, map[string]string{"alertname": "CentreDownAgain", "environment": "production"})
	expect("others fire", ask, "", "")
	server.Fire(there)
	if inWay, _ := ask(); inWay != "" {
		t.Errorf("it was asked again at once: %s", inWay)
	}
	expect("it fires", ask, `no host is touched while this alert fires: CentreDown (dc1 \x1b[2J), says monitoring system main`, "")
	seen := before.Seen()
	for range 100 {
		ask()
	}
	if n := before.Seen() - seen; n != 0 {
		t.Errorf("it was asked %d times within a moment", n)
	}
	run.Environment = "testing"
	expect("of another environment", ask, "", "")
	run.Environment = "production"
	id := server.Add(map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": "CentreDown", "isRegex": false, "isEqual": true}},
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour), "createdBy": "boris", "comment": "known",
	})
	expect("it is silenced", ask, "", "")
	server.Expire(id)
	expect("it fires again", ask, "CentreDown", "")
	server.Stop(there, elsewhere)
	expect("it is over", ask, "", "")

	strict := open(silence.Gate{Alerts: []string{"CentreDown"}, WhenDown: "strict"})
	for name, way := range map[string]trouble.Way{"down": trouble.Down, "a page": trouble.Page, "503": trouble.Status(503), "401": trouble.Status(401)} {
		before.Next(trouble.Forever, way)
		for _, gate := range []struct {
			ask           func() (string, string)
			inWay, unsure string
		}{
			{ask, "", "whether CentreDown, NetSplit fires is not known: monitoring system main "},
			{strict, "no host is touched while it is not known whether CentreDown fires: monitoring system main ", ""},
		} {
			expect(name, gate.ask, gate.inWay, gate.unsure)
			seen := before.Seen()
			gate.ask()
			if n := before.Seen() - seen; n != 0 {
				t.Errorf("%s: it was asked %d times at once", name, n)
			}
		}
	}
	before.Next(0, nil)
	expect("it answers again", strict, "", "")
}
