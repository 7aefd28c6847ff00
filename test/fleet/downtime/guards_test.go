package downtime

import (
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/test/fleet"
)

func TestExampleHasNothingToSay(t *testing.T) {
	for _, finding := range scenario.Lint([]byte(example(t, "nginx-rolling.yaml"))) {
		t.Errorf("line %d: %s", finding.Line, finding.Message)
	}
}

// guards tries when drain must refuse, which leaves nginx alone, and when it must
// not. The script is run by itself, as the agent would call it.
func guards(t *testing.T, f *fleet.Fleet, text string) {
	t.Helper()
	parsed, err := scenario.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	drain := "export PARAM_WAIT=2\n" + parsed.Steps.Drain.Script
	first, others := f.Web[0], f.Web[1:]
	settled(f)
	before := invocations(f)

	fetchLong(t, f) // which takes longer than drain waits
	refused(t, first, drain, "scur=1/", "nginx was not touched", "rm /run/drain-nginx")
	first.Shell("rm /run/drain-nginx") // as the message says
	settled(f)

	for _, h := range others {
		h.Shell("touch /run/drain-nginx")
	}
	inUse(f, first)
	first.Await(5*time.Second, `test "$(tail -n 2 /var/log/nginx/alive.log | grep -c ' UP.*weight=1/1;')" = 2`) // both backends have said so
	refused(t, first, drain, "last one in rotation", "/web01; ")
	first.Shell("test ! -e /run/drain-nginx")
	for _, h := range others {
		h.Shell("rm /run/drain-nginx")
	}

	first.Shell("mv /var/log/nginx/alive.log /var/log/nginx/alive.log.gone")
	refused(t, first, drain, "no haproxy")
	first.Shell("test ! -e /run/drain-nginx")

	for i, id := range invocations(f) {
		if id != before[i] {
			t.Errorf("nginx of %s was restarted", f.Web[i].Name)
		}
	}
	forged(t, f)

	// A dead nginx is in no balancer's use, and must not be left dead for that.
	first.Shell("systemctl stop nginx")
	first.Shell(drain)
	first.Shell("test -e /run/drain-nginx")
}

func refused(t *testing.T, h *fleet.Host, script string, words ...string) {
	t.Helper()
	out, err := h.Try(script)
	if err == nil {
		t.Errorf("drain did not refuse:\n%s", out)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("drain does not say %q:\n%s", word, out)
		}
	}
}

// forged: what anybody but a balancer says of a host is neither heard nor kept,
// and users of the balancer don't reach /alive.
func forged(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	const say = `curl -s -m 5 -o /dev/null -w '%{http_code}' -H 'X-Haproxy-Server-State: DOWN; name=web/forged; scur=0/0' http://`
	for url, want := range map[string]string{f.Web[1].Name + ":8081/alive": "403", f.Server.Name + "/alive": "404"} {
		if got := f.Web[0].Shell(say + url); got != want {
			t.Errorf("%s answers %s, want %s", url, got, want)
		}
	}
	f.Web[1].Shell("! grep forged /var/log/nginx/alive.log")
}

// settled waits until haproxy has every host in use.
func settled(f *fleet.Fleet) { inUse(f, f.Web...) }
