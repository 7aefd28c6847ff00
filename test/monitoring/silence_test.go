package monitoring

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
	"github.com/restartilka/restartilka/test/foreign/alertmanager"
	"github.com/restartilka/restartilka/test/foreign/juggler"
)

// A real Alertmanager is silent about the host in hand and about no other, also
// while the server is dead, and hears again at once when the host is done. While
// a chosen alert fires there, no run goes on.
func TestARestartWakesNobody(t *testing.T) {
	t.Parallel()
	am, checks := alertmanager.Start(t), juggler.Start(t)
	c := company.New(t, company.Options{
		Hosts: 2,
		Server: fmt.Sprintf(`monitoring:
  systems:
    - {name: main, kind: alertmanager, urls: [%q]}
  gates:
    - {system: main, alerts: [CentreDown]}
notify:
  juggler:
    - {url: %q, events: [run-started, run-paused, run-finished, run-failed], health: 5s}
`, am.URL, checks.URL),
		Scenario: func(c *company.Company) (string, string) {
			return "witness", c.Witness(0) + "silence: [InstanceDown, \"Slow:#host#\"]\n"
		},
	})
	var alerts []map[string]string
	for _, h := range c.Hosts {
		alerts = append(alerts, map[string]string{"alertname": "InstanceDown", "instance": h.Name + ":9100"})
	}
	am.Fire(alerts...)
	first, second := "InstanceDown "+c.Hosts[0].Name+":9100", "InstanceDown "+c.Hosts[1].Name+":9100"
	heard := func(want ...string) func() bool {
		return func() bool {
			got := am.Heard()
			return got[first] == slices.Contains(want, first) && got[second] == slices.Contains(want, second)
		}
	}

	c.Hold()
	run := c.Start(reason)
	c.Eventually("the first host to be in hand", func() bool { return len(c.Witnessed()) == 1 })
	if !heard(second)() || len(am.Silences()) != 1 {
		t.Errorf("heard: %v; %d silences", am.Heard(), len(am.Silences()))
	}
	if s := am.Silences(); len(s) == 1 && (s[0].EndsAt.After(time.Now().Add(10*time.Minute)) || !strings.Contains(s[0].Comment, "/runs/"+run.ID)) {
		t.Errorf("%+v", s[0])
	}
	c.KillServer()
	c.Release()
	c.Eventually("the script to end", func() bool { return len(c.WitnessLines()) == 2 })
	if !heard(second)() {
		t.Errorf("heard while the server is dead: %v", am.Heard())
	}
	c.StartServer()
	paused := c.Until(run.ID, restart.RunPaused)
	if paused.Cause != restart.CauseInterrupted {
		t.Errorf("paused: %s", paused.Cause)
	}
	c.Eventually("the host that is done to be heard", heard(first, second))

	centre := map[string]string{"alertname": "CentreDown", "instance": "dc1"}
	am.Fire(centre)
	if _, err := c.Dev.Resume(t.Context(), run.ID); restart.CodeOf(err) != restart.CodeConflict || !strings.Contains(err.Error(), "no host is touched while this alert fires: CentreDown (dc1), says monitoring system main") {
		t.Errorf("resumed while an alert fires: %v", err)
	}
	plan, err := c.Dev.Plan(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason})
	must(t, err)
	if !slices.ContainsFunc(plan.Warnings, func(w string) bool { return strings.Contains(w, "CentreDown") }) || !slices.Equal(plan.Silence, []string{"InstanceDown", "Slow:#host#"}) {
		t.Errorf("the plan warns of %q, and silences %q", plan.Warnings, plan.Silence)
	}
	am.Stop(centre)
	c.Eventually("the gate to open", func() bool {
		_, err := c.Dev.Resume(t.Context(), run.ID)
		return err == nil
	})
	done := c.Until(run.ID, restart.RunCompleted)
	c.Eventually("nothing to be silent", func() bool { return len(am.Silences()) == 0 && heard(first, second)() })
	if all := am.AllSilences(); len(all) != 2 {
		t.Errorf("%d silences were placed", len(all))
	}
	for _, s := range done.Silenced {
		if s.System != "main" || s.Failure != "" || !slices.Equal(s.Alerts, []string{"InstanceDown", "Slow:" + s.Host}) {
			t.Errorf("%+v", s)
		}
	}
	if n := len(done.Silenced); n != 2 {
		t.Errorf("%d silences are told of", n)
	}
	c.Eventually("the check of the run to be well again", func() bool {
		events := checks.Events("restartilka-run")
		return len(events) > 0 && events[len(events)-1].Status == "OK" && strings.Contains(events[len(events)-1].Description, run.ID)
	})
	if events := checks.Events("restartilka-server"); len(events) == 0 || slices.ContainsFunc(events, func(e juggler.Event) bool { return e.Status == "CRIT" }) {
		t.Errorf("of the server itself: %+v", events)
	}
}
