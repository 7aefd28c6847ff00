package scenario_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/scenario"
)

func TestAdvice(t *testing.T) {
	const (
		top    = "format: 1\nname: a\nserial: 1\nauthor: anna\nkind: restart\ndescription: d\n"
		one    = "services: [a]\n"
		health = "health: {new_process: {unit: \"#unit#\"}, healthy_for: 10s}\n"
		run    = "run_as: root\nsteps: {run: {script: \"systemctl restart #unit#\"}}\n"
	)
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing to say", top + one + run + health, nil},
		{"over", top + "expires: 2020-02-29\n" + one + run + health, []string{"7 expires: it may be used no more since the end of 2020-02-29"}},
		{"no health", top + one + run, []string{"9 weak-health: nothing checks that a host is healthy: the next one is touched as soon as the script ends"}},
		{"no new process", top + one + run + "health: {tcp: {address: \"127.0.0.1:80\"}, healthy_for: 5s}\n", []string{"10 weak-health: a process that was not restarted passes this health check"}},
		{"one sample", top + one + run + "health: {new_process: {port: 80}}\n", []string{"10 weak-health: one good sample is taken for health"}},
		{"slow samples", top + one + run + "health: {new_process: {port: 80}, healthy_for: 5s, interval: 6s}\n", []string{"10 weak-health: the interval is longer than healthy_for, so fewer samples are taken than it seems"}},
		{"another host", top + one + run + "health:\n  new_process: {port: 80}\n  healthy_for: 5s\n  http: {url: \"http://example.com/\"}\n  tcp: {address: \"#host#:80\"}\n",
			[]string{"13 weak-health: the url names another host, so it says little about this one"}},
		{"no description", "format: 1\nname: a\nserial: 1\nauthor: anna\nkind: restart\n" + one + run + health, []string{"2 description: there is no description"}},
		{"undrain alone", top + one + "run_as: root\nsteps:\n  run: {script: \"systemctl restart #unit#\"}\n  undrain: {script: \"a\"}\n" + health,
			[]string{"11 drain: undrain stands without drain: it undoes what was not done"}},
		{"drain alone", top + one + "run_as: root\nsteps:\n  run: {script: \"systemctl restart #unit#\"}\n  drain: {script: \"a\"}\n" + health,
			[]string{"11 drain: drain stands without undrain: every host stays drained"}},
		{"strategy", top + one + run + health + "strategy:\n  on_failure: continue\n  batches: [1, \"100%\"]\n",
			[]string{"12 strategy: on_failure: continue takes a failing restart to every host", "13 strategy: a batch of 100% touches all hosts at once"}},
		{"min_available of a dump", strings.Replace(top, "kind: restart", "kind: thread-dump", 1) + one + run + "strategy:\n  min_available: N-1\n",
			[]string{"11 strategy: min_available has no effect on a thread-dump scenario, which takes no host down"}},
		{"batch over min_available", top + one + run + health + "strategy:\n  min_available: 80%\n  batches: [\"25%\"]\n",
			[]string{"13 strategy: a batch of 25% under min_available 80% can start only where there are few hosts"}},
		{"needless root", top + one + "run_as: root\nsteps: {run: {script: \"my-restart\"}}\n" + health, []string{"8 run-as: the scripts run as root, and nothing in them seems to need it"}},
		{"no root", top + one + "steps: {run: {script: \"systemctl restart #unit#\"}}\n" + health, []string{"8 run-as: a script asks the init system, and runs as the service's own user"}},
		{"one script for all", top + "services: [\"*\"]\nrun_as: root\nsteps: {run: {script: \"systemctl restart nginx\"}}\n" + health,
			[]string{"7 services: the scenario fits every service, and its script does the same for all of them"}},
		{"one unit for all", top + "services: [\"*\"]\nunit: nginx.service\n" + run + health,
			[]string{"7 services: the scenario fits every service, and its unit or package is fixed: whoever owns any service may use it on that one"}},
		{"evidence", top + one + run + health + "evidence: [{thread-dump: true, required: true}]\n", nil},
		{"parameters", top + one + `run_as: root
params:
  a: {type: bool, default: true}
  b: {type: bool, default: true}
  c: {type: bool, default: true}
  d: {type: bool, default: true}
  e: {type: bool, default: true}
steps:
  run:
    script: |
      # $PARAM_E is only mentioned
      systemctl restart "#unit#" $PARAM_A "$PARAM_B" "$(echo ${PARAM_C})"
      c=$PARAM_C awk 'BEGIN {print ENVIRON["PARAM_D"]}' "it's $PARAM_B"
` + health, []string{
			"14 parameter: parameter e is declared, and no script reads $PARAM_E",
			"19 parameter: $PARAM_A stands outside of double quotes",
			"19 parameter: $PARAM_C stands outside of double quotes",
		}},
	} {
		var got []string
		for _, f := range scenario.Lint([]byte(test.text)) {
			if f.Level != scenario.LevelWarning || f.Hint == "" {
				t.Errorf("%s: %+v", test.name, f)
			}
			got = append(got, fmt.Sprintf("%d %s: %s", f.Line, f.Code, f.Message))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if _, err := scenario.Parse([]byte(test.text)); err != nil {
			t.Errorf("%s: advice must not refuse: %v", test.name, err)
		}
	}
}
