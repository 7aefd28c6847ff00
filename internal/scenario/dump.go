package scenario

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/restart"
)

var dumpKeys = []string{"runtime", "process", "count", "interval", "timeout", "histogram", "virtual", "method", "url", "signal", "log", "redact"}

// auto leaves a choice to the host.
const auto = "auto"

// dumpSignals are those by which a program may be asked for a dump of itself: the
// host sends no other, and looks first whether the process catches it.
var dumpSignals = []string{"USR1", "USR2", "QUIT"}

func readDump(top section) *restart.DumpStep {
	sec, ok := top.sub("dump", dumpKeys...)
	if !ok {
		return nil
	}
	choice := func(key string, values []string) string {
		v := sec.oneOf(key, append([]string{auto}, values...)...)
		if v == auto {
			return ""
		}
		return v
	}
	d := restart.DumpStep{
		Runtime:      choice("runtime", restart.DumpRuntimes()),
		Count:        sec.count("count", 1, dump.MaxSeries),
		Interval:     sec.duration("interval", 100*time.Millisecond, 5*time.Minute),
		Timeout:      sec.duration("timeout", time.Second, 2*time.Minute),
		Histogram:    sec.yes("histogram"),
		PlatformOnly: sec.has("virtual") && !sec.yes("virtual"),
		Method:       choice("method", restart.DumpMethods()),
		URL:          sec.text("url"),
		Signal:       sec.oneOf("signal", dumpSignals...),
		Log:          sec.text("log"),
		Redact:       sec.names("redact", redact.MaxRules, checkRule),
	}.Defaults()
	if p, ok := sec.sub("process", "unit", "pid_file", "port", "command"); ok {
		d.Process = restart.ProcessRef{Unit: p.text("unit"), PIDFile: p.text("pid_file"), Port: p.plainText("port"), Command: p.text("command")}
		if len(p.values) != 1 {
			p.found.refuse(p.found.at(p.path), codeValue, p.path+" must have exactly one of unit, pid_file, port and command", "they are four ways to find the one process")
		}
	}
	return &d
}

// checkPattern accepts a regular expression that does not match everything.
func checkPattern(s string) error {
	re, err := regexp.Compile(s)
	switch {
	case err != nil:
		return restart.Errorf(restart.CodeInvalid, "%s is not a regular expression", restart.Quote(s)).WithHint("as Go's package regexp (RE2) has it: no look-ahead and no back-references")
	case re.MatchString(""):
		return restart.Errorf(restart.CodeInvalid, "%s matches every text, the empty one too", restart.Quote(s)).WithHint("name a part that must be there")
	}
	return nil
}

// checkRule accepts what the host's own redaction takes.
func checkRule(s string) error {
	if len(s) > redact.MaxLength {
		return restart.Errorf(restart.CodeInvalid, "it has %d bytes; at most %d are allowed", len(s), redact.MaxLength)
	}
	return checkPattern(s)
}

// dumpPlaces lists the texts of a dump step in which placeholders are filled in.
func dumpPlaces(d *restart.DumpStep) []place {
	return []place{
		{path: "dump.process.unit", text: &d.Process.Unit, check: restart.CheckUnit},
		{path: "dump.process.pid_file", text: &d.Process.PIDFile, check: checkFile},
		{path: "dump.process.port", text: &d.Process.Port, check: checkPort},
		{path: "dump.process.command", text: &d.Process.Command, check: checkPattern, quote: regexp.QuoteMeta},
		{path: "dump.url", text: &d.URL, check: checkEndpointURL},
		{path: "dump.log", text: &d.Log, check: checkFile},
	}
}

// contradictDump refuses what does not go together around dump:.
func contradictDump(s restart.Scenario, found *findings, refuse func(path, hint, format string, args ...any)) {
	d := s.Dump
	switch {
	case d == nil:
		return
	case s.Kind != restart.KindThreadDump:
		refuse("dump", "remove dump, or say kind: thread-dump; evidence: [thread-dump] takes one before a restart", "kind is %s, and dump is what a thread-dump scenario does", s.Kind)
		return
	case found.at("steps") > 0:
		refuse("steps", "remove steps, or dump", "steps stand beside dump: a dump is taken without a script, and nothing is to be drained for it")
		return
	case found.at("health") > 0: // its command would run as the agent's own user, where nobody looks for a script
		refuse("health", "remove health, or dump", "health stands beside dump: a dump changes nothing, and a service that hangs is not healthy")
		return
	}
	if longest, limit := d.Longest(), s.Strategy.Defaults().TaskTimeout; longest > limit {
		refuse("dump.count", "raise strategy.task_timeout, or lower count, interval or timeout", "the series may take %s and task_timeout is %s", longest, limit)
	}
	for _, key := range []struct {
		name     string
		set      bool
		runtimes []string
	}{
		{"url", d.URL != "", []string{"go"}}, {"signal", d.Signal != "", []string{"python"}}, {"log", d.Log != "", []string{"jvm", "python"}},
		{"histogram", d.Histogram, []string{"jvm"}}, {"virtual", d.PlatformOnly, []string{"jvm"}}, {"method", d.Method != "", methodRuntimes[d.Method]},
	} {
		if key.set && d.Runtime != "" && !slices.Contains(key.runtimes, d.Runtime) {
			refuse("dump."+key.name, "remove the one or the other", "%s has no effect on runtime %s: it is of %s", key.name, d.Runtime, strings.Join(key.runtimes, " and "))
		}
	}
	if d.Method == "pprof" && d.URL == "" {
		refuse("dump.method", "add url, such as http://127.0.0.1:6060/debug/pprof/goroutine", "method is pprof, and no url says where the program answers")
	}
}

// methodRuntimes tells what each method is for.
var methodRuntimes = map[string][]string{
	"attach": {"jvm"}, "signal": {"jvm", "python"}, "pprof": {"go"}, "py-spy": {"python"}, "proc": restart.DumpRuntimes(),
}

const adviceDump = "dump"

func adviseDump(s restart.Scenario, say advisor) {
	d := s.Dump
	if d == nil {
		return
	}
	if d.Runtime == "go" && d.URL == "" && d.Method == "" {
		say("dump.runtime", adviceDump, "without url the goroutines can't be asked for: the threads are shown as the kernel sees them", "add url, such as http://127.0.0.1:6060/debug/pprof/goroutine")
	}
	if d.URL != "" && !ownHost(d.URL) {
		say("dump.url", adviceDump, "the url names another host, whose goroutines these are not", "ask 127.0.0.1 or #host#")
	}
	if d.Histogram {
		say("dump.histogram", adviceDump, "for a histogram a JVM stands still while it counts its whole heap: seconds, where that is large", "leave it out where the service must go on answering")
	}
	fixed := d.Process.PIDFile + d.Process.Port + d.Process.Command + d.Process.Unit
	if slices.Contains(s.Services, "*") && fixed != "" && len(marks(fixed)) == 0 {
		say("dump.process", adviceServices, "the scenario fits every service, and its process is the same for all of them", "use #unit# or #service# in dump.process, or list the services")
	}
}
