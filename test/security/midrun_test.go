package security

import (
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
)

// TestARightLostInMidRun: rules that change while a run is under way hold before
// its next host, whichever way they take the right away.
func TestARightLostInMidRun(t *testing.T) {
	t.Parallel()
	const head = "format: 1\nrules:\n  - {allow: [see], to: [everybody]}\n  - {allow: [all], to: [\"role:admin\"]}\n"
	for name, rules := range map[string]string{
		"no rule allows it any more": head,
		"it is denied to her":        head + "  - {allow: [restart], to: [owners]}\n  - {deny: [restart], to: [anna]}\n",
		"not in this environment":    head + "  - {allow: [restart], to: [owners], environments: [testing]}\n",
		"not in this group":          head + "  - {allow: [restart], to: [owners]}\n  - {deny: [restart], to: [everybody], groups: [\"*-production\"]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t, nil)
			w := &world{Server: s, t: t, tokens: map[string]string{"admin": s.Token("root", restart.RoleAdmin)}}
			s.Agents.Set("web1", apitest.Hangs)
			anna := &world{Server: s, t: t, tokens: map[string]string{"admin": s.Token("anna", restart.RoleDeveloper)}}
			run := as[restart.Run](anna, "POST", v1+"/runs", `{"service":"shop",`+reasonJSON+`,"start":true}`)
			run = w.until(run.ID, func(r restart.Run) bool { return len(r.Tasks) > 0 && r.Tasks[0].State == restart.TaskRunning })
			s.Rights(rules)
			s.Agents.Set("web1", apitest.Succeeds)
			run = w.until(run.ID, func(r restart.Run) bool { return r.State == restart.RunPaused || r.State.Final() })
			if run.Cause != restart.CauseRightsLost || run.Tasks[0].State != restart.TaskSucceeded || run.Tasks[1].State != restart.TaskPlanned {
				t.Errorf("%s (%s): %s", run.Summary(), run.Cause, run.Explanation)
			}
		})
	}
}
