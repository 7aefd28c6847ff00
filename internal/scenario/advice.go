package scenario

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Codes of advice.
const (
	adviceHealth      = "weak-health"
	adviceDrain       = "drain"
	adviceStrategy    = "strategy"
	adviceUser        = "run-as"
	adviceParam       = "parameter"
	adviceServices    = "services"
	adviceDescription = "description"
	adviceExpires     = "expires"
)

// advise adds what a reviewer should look at in a scenario that may be used.
func advise(s restart.Scenario, found *findings) {
	say := func(path, code, message, hint string) { found.advise(found.at(path), code, message, hint) }
	if s.Description == "" {
		say("name", adviceDescription, "there is no description", "say in one line what it does, for the person who confirms the plan")
	}
	if s.Expired(time.Now()) {
		say("expires", adviceExpires, "it may be used no more since the end of "+s.LastDay(), "have a version with a later day and a higher serial reviewed")
	}
	adviseHealth(s, say)
	adviseDrain(s, say)
	adviseStrategy(s, say)
	adviseUser(s, say)
	adviseServices(s, say)
	adviseParams(s, found)
	adviseDump(s, say)
}

type advisor func(path, code, message, hint string)

func adviseHealth(s restart.Scenario, say advisor) {
	h := s.Health
	switch {
	case s.Kind == restart.KindThreadDump:
	case h.Empty():
		say("steps", adviceHealth, "nothing checks that a host is healthy: the next one is touched as soon as the script ends", "add a health section with new_process, http, tcp or command")
		return
	case h.NewProcess == nil && s.Kind == restart.KindRestart:
		say("health", adviceHealth, "a process that was not restarted passes this health check", `add new_process: {unit: "#unit#"}`)
	}
	if h.Empty() {
		return
	}
	if h.HealthyFor == 0 {
		say("health", adviceHealth, "one good sample is taken for health", "add healthy_for: 10s, so that a process that dies at once is seen")
	} else if orDefault(h.Interval, defaultInterval) > h.HealthyFor {
		say("health.interval", adviceHealth, "the interval is longer than healthy_for, so fewer samples are taken than it seems", "lower interval")
	}
	if h.HTTP != nil && !ownHost(h.HTTP.URL) {
		say("health.http.url", adviceHealth, "the url names another host, so it says little about this one", "ask 127.0.0.1 or #host#")
	}
	if h.TCP != nil && !ownHost("tcp://"+h.TCP.Address) {
		say("health.tcp.address", adviceHealth, "the address is another host's, so it says little about this one", "connect to 127.0.0.1 or #host#")
	}
}

// ownHost tells whether a URL, placeholders included, is the host's own.
func ownHost(text string) bool {
	filled, err := fill(text, func(p placeholder) (string, error) { return p.value(sample), nil })
	if err != nil {
		return false
	}
	u, err := url.Parse(filled)
	if err != nil {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || host == sample.Host || ip != nil && ip.IsLoopback()
}

func adviseDrain(s restart.Scenario, say advisor) {
	switch {
	case s.Steps.Undrain != nil && s.Steps.Drain == nil:
		say("steps.undrain", adviceDrain, "undrain stands without drain: it undoes what was not done", "add a drain step, or remove undrain")
	case s.Steps.Drain != nil && s.Steps.Undrain == nil:
		say("steps.drain", adviceDrain, "drain stands without undrain: every host stays drained", "add an undrain step, unless the service undrains itself")
	}
}

func adviseStrategy(s restart.Scenario, say advisor) {
	if s.Kind == restart.KindThreadDump {
		if s.Strategy.MinAvailable != "" {
			say("strategy.min_available", adviceStrategy, "min_available has no effect on a thread-dump scenario, which takes no host down", "leave it out")
		}
		return // touches nothing: all hosts at once, and on after a failure, are fine
	}
	if s.Strategy.OnFailure == "continue" {
		say("strategy.on_failure", adviceStrategy, "on_failure: continue takes a failing restart to every host", "pause lets a person look first")
	}
	keep, err := restart.ParseAmount(s.Strategy.MinAvailable)
	for _, a := range s.Strategy.Batches {
		switch {
		case a.Percent == 100:
			say("strategy.batches", adviceStrategy, "a batch of 100% touches all hosts at once", "start with one host: [1, \"25%\"]")
		case err == nil && a.Percent > 0 && a.Percent+keep.Percent > 100:
			say("strategy.batches", adviceStrategy, fmt.Sprintf("a batch of %s under min_available %s can start only where there are few hosts", a, keep), "lower the one or the other")
		default:
			continue
		}
		return
	}
}

var (
	needsRoot = regexp.MustCompile(`\b(systemctl|service|invoke-rc\.d|rc-service|journalctl|kill|sv)\b|/(etc|proc|run|sys|var)/`)
	asksInit  = regexp.MustCompile(`\b(systemctl|invoke-rc\.d)\s+(restart|start|stop|reload|try-restart|kill)\b`)
)

func adviseUser(s restart.Scenario, say advisor) {
	mention := func(re *regexp.Regexp) bool {
		return slices.ContainsFunc(scripts(s), func(script scripted) bool { return re.MatchString(script.text) })
	}
	switch {
	case s.Dump != nil:
	case s.RunAs == "root" && !mention(needsRoot):
		say("run_as", adviceUser, "the scripts run as root, and nothing in them seems to need it", "remove run_as: the service's own user is the default")
	case s.RunAs == "" && s.User != "root" && mention(asksInit):
		say("steps", adviceUser, "a script asks the init system, and runs as the service's own user", "add run_as: root, unless that user has the right (polkit)")
	}
}

func adviseServices(s restart.Scenario, say advisor) {
	if !slices.Contains(s.Services, "*") {
		return
	}
	if s.Unit != "" || s.Package != "" {
		say("services", adviceServices, "the scenario fits every service, and its unit or package is fixed: whoever owns any service may use it on that one", "list the services, or leave unit and package to the host")
		return
	}
	if s.Steps.Run != nil && !slices.ContainsFunc(marks(s.Steps.Run.Script), func(m mark) bool { return m.word == "unit" || m.word == "service" || m.word == "package" }) &&
		!strings.Contains(s.Steps.Run.Script, "RESTARTILKA_SERVICE") {
		say("services", adviceServices, "the scenario fits every service, and its script does the same for all of them", "use #unit#, #service# or #package# in steps.run, or list the services")
	}
}

func adviseParams(s restart.Scenario, found *findings) {
	used := map[string]bool{}
	for _, script := range scripts(s) {
		said := map[string]bool{}
		for _, use := range paramUses(script.text) {
			used[use.name] = true
			if use.bare && !said[use.name] {
				said[use.name] = true
				found.advise(found.inside(script.path, script.text, use.offset), adviceParam, fmt.Sprintf("$%s stands outside of double quotes", short(use.name)), fmt.Sprintf(`write "$%s"`, short(use.name)))
			}
		}
	}
	for _, p := range s.Params {
		if !used[variable(p.Name)] {
			found.advise(found.at("params."+p.Name), adviceParam, fmt.Sprintf("parameter %s is declared, and no script reads $%s", p.Name, variable(p.Name)), "remove it, or use it")
		}
	}
}
