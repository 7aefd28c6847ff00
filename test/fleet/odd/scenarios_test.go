package odd

import (
	"os"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/test/fleet"
)

// orphan is where a daemon that a script starts tells its process id.
const orphan = "/var/lib/orphan"

// daemonise starts a daemon that has left the script's session and process
// group, has no parent of the script's, and does not heed TERM.
const daemonise = "rm -f " + orphan + `
(setsid sh -c 'trap "" TERM; echo $$ >` + orphan + `.new; mv ` + orphan + `.new ` + orphan + `; while :; do sleep 1; done' </dev/null >/dev/null 2>&1 &)
until [ -e ` + orphan + ` ]; do sleep 0.02; done
` + fleet.Witness

const (
	// atOnce touches all hosts at the same time, whatever becomes of them.
	atOnce = "strategy: {batches: [\"100%\"], on_failure: continue, task_timeout: 1m}\n"
	brief  = "strategy: {batches: [\"100%\"], on_failure: continue, task_timeout: 3s}\n"
	usual  = "strategy: {batches: [1], task_timeout: 1m}\nevidence: [{journal: 20}, process]\n"

	byUnit = "health:\n  new_process: {unit: \"#unit#\"}\n  http: {url: \"http://127.0.0.1/\", status: 200}\n  healthy_for: 1s\n  deadline: 10s\n"
)

var scenarios = map[string]string{
	"unit":    text("unit", "restart", usual, fleet.Witness+"\nsystemctl restart #unit#\n", byUnit),
	"endless": text("endless", "custom", atOnce, daemonise+"\nsleep 3600\n", ""),
	"brief":   text("brief", "custom", brief, daemonise+"\nsleep 3600\n", ""),
	"leaves":  text("leaves", "custom", atOnce, daemonise+"\nsleep 3\n", ""),
}

func text(name, kind, strategy, script, health string) string {
	out := "format: 1\nname: " + name + "\nserial: 1\nauthor: test@restartilka.invalid\nkind: " + kind +
		"\nservices: [nginx]\ndescription: For a test\nrun_as: root\n" + strategy + "steps:\n  run:\n    script: |\n"
	return out + indent(script) + health
}

// examples are the scenarios of examples/without-systemd, quicker and on all
// hosts at once, with a witness and with the journal as evidence.
func examples(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"service-restart", "supervisor-restart"} {
		b, err := os.ReadFile("../../../examples/without-systemd/" + name + ".yaml")
		must(t, err)
		changed := strings.NewReplacer("healthy_for: 10s", "healthy_for: 1s", "pause_between: 5s", "pause_between: 0s", "evidence: [", "evidence: [{journal: 20}, ",
			"batches: [1]", "batches: [\"100%\"]", "  min_available: N-1\n", "", `script: "`, `script: "echo $RESTARTILKA_TASK >>`+fleet.WitnessFile+"; ").Replace(string(b))
		all[name] = changed
	}
	return all
}

func indent(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		b.WriteString("      " + line)
	}
	return b.String()
}
