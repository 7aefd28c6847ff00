package scenario

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
)

// Format is the version of the file format that this package reads.
const Format = 1

// The keys of the file, by section, in the order of the documentation.
var (
	topKeys = []string{"format", "name", "serial", "author", "expires", "kind", "services", "description", "package", "unit", "user", "run_as", "shell",
		"params", "strategy", "holds", "evidence", "steps", "dump", "health", "silence"}
	strategyKeys = []string{"order", "batches", "when_down", "pause_between", "hold_after_first", "min_available", "max_failures", "on_failure", "task_timeout"}
	stepKeys     = []string{"drain", "run", "undrain"}
	healthKeys   = []string{"new_process", "http", "tcp", "command", "healthy_for", "deadline", "interval"}
)

// read makes a scenario of a file's bytes, together with everything that was
// found on the way. The scenario is complete only where nothing was refused.
func read(b []byte) (restart.Scenario, *findings) {
	found := newFindings(b)
	s := restart.Scenario{Digest: Digest(b)}
	if !checkBytes(b, found) {
		return s, found
	}
	root, ok := load(b, found)
	if !ok {
		return s, found
	}
	top, _ := open(found, "", root, topKeys...)
	if root.Kind != yaml.MappingNode {
		return s, found
	}
	refuseComments(root, positions(string(b)), found)
	top.need("format", "name", "serial", "author", "kind", "services")
	if !top.has("steps") && !top.has("dump") {
		hint := ""
		if k := top.values["kind"]; k != nil && k.Value == string(restart.KindThreadDump) {
			hint = "dump: {runtime: auto} takes dumps without a script"
		}
		found.refuse(0, codeMissing, "steps is missing", hint)
	}
	readHead(top, &s)
	s.Params = readParams(top)
	s.Strategy = readStrategy(top).Defaults()
	s.Holds = readHolds(top)
	s.Evidence = readEvidence(top)
	s.Steps = readSteps(top)
	s.Dump = readDump(top)
	s.Health = readHealth(top)
	s.Silence = top.names("silence", 100, anyText)
	checkPlaces(s, found)
	if found.err() == nil {
		contradictions(s, found)
	}
	return s, found
}

func readHead(top section, s *restart.Scenario) {
	if s.Format = top.count("format", 0, 1<<30); s.Format != Format && s.Format != 0 {
		top.refuse("format", codeValue, "a newer restartilka may read it", "is %d; this program reads format %d", s.Format, Format)
	} else if s.Format == 0 && top.has("format") {
		top.refuse("format", codeValue, "", "must be %d", Format)
	}
	s.Name = top.named("name", restart.CheckScenarioName)
	s.Serial = top.count("serial", 1, 1_000_000_000)
	s.Author = top.text("author")
	s.Expires = readDay(top, "expires")
	s.Kind = restart.Kind(top.oneOf("kind", string(restart.KindRestart), string(restart.KindThreadDump), string(restart.KindCustom)))
	s.Services = top.names("services", 1000, checkServicePattern)
	s.Description = strings.TrimSpace(top.words("description", 4000, true))
	s.Package = top.named("package", restart.CheckPackage)
	s.Unit = top.named("unit", restart.CheckUnit)
	s.User = top.named("user", restart.CheckUser)
	s.RunAs = top.named("run_as", restart.CheckUser)
	s.Shell = top.named("shell", checkProgram)
}

// readDay gives the end of a day that is named as 2027-03-31, in UTC.
func readDay(top section, key string) time.Time {
	n, ok := top.scalar(key)
	if !ok {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, n.Value)
	if err != nil || day.Year() < 2000 || day.Year() > 2999 {
		top.refuse(key, codeValue, "such as 2027-03-31: the last day on which it may be used, in UTC", "is %s, which is no day", restart.Quote(n.Value))
		return time.Time{}
	}
	return day.AddDate(0, 0, 1)
}

func readStrategy(top section) restart.Strategy {
	sec, ok := top.sub("strategy", strategyKeys...)
	if !ok {
		return restart.Strategy{}
	}
	s := restart.Strategy{
		Order:          sec.oneOf("order", "inventory", "reverse", "shuffle", "by:datacenter"),
		Batches:        readAmounts(sec, "batches"),
		PauseBetween:   sec.duration("pause_between", 0, 24*time.Hour),
		HoldAfterFirst: sec.yes("hold_after_first"),
		MaxFailures:    sec.count("max_failures", 0, 1_000_000),
		OnFailure:      sec.oneOf("on_failure", "pause", "abort", "continue"),
		TaskTimeout:    sec.duration("task_timeout", time.Second, 24*time.Hour),
	}
	if down, ok := sec.sub("when_down", "batches"); ok {
		down.need("batches")
		s.WhenDown = readAmounts(down, "batches")
	}
	if n, ok := sec.scalar("min_available"); ok {
		if _, err := restart.MinAvailable(n.Value, 1); err != nil {
			sec.refuseErr("min_available", err)
		} else {
			s.MinAvailable = n.Value
		}
	}
	return s
}

// readHolds reads how much of its service a run keeps other runs away from.
func readHolds(top section) restart.Holds {
	if top.oneOf("holds", "environment", "group") == "group" {
		return restart.HoldsGroup
	}
	return restart.HoldsEnvironment
}

func readAmounts(sec section, key string) []restart.Amount {
	var out []restart.Amount
	for _, it := range sec.list(key, 100) {
		n, ok := it.scalar(it.key)
		if !ok {
			continue
		}
		amount, err := restart.ParseAmount(n.Value)
		if err != nil {
			it.refuseErr(it.key, err)
			continue
		}
		out = append(out, amount)
	}
	return out
}

// evidenceKinds are what can be kept from a host before a process is told to stop.
var evidenceKinds = []string{"journal", "process", "thread-dump"}

const defaultJournal = 200 // lines

func readEvidence(top section) []restart.Evidence {
	var out []restart.Evidence
	for _, it := range top.list("evidence", len(evidenceKinds)) {
		e, ok := readOneEvidence(it)
		if !ok {
			continue
		}
		if slices.ContainsFunc(out, func(o restart.Evidence) bool { return o.Kind == e.Kind }) {
			it.refuse(it.key, codeValue, "keep one of them", "asks for %s a second time", e.Kind)
			continue
		}
		out = append(out, e)
	}
	return out
}

// readOneEvidence reads process, or {journal: 200, required: true}.
func readOneEvidence(it item) (restart.Evidence, bool) {
	var e restart.Evidence
	if it.node.Kind != yaml.MappingNode {
		e.Kind = it.oneOf(it.key, evidenceKinds...)
	} else {
		sec, keys := open(it.found, it.at(it.key), it.node, append([]string{"required"}, evidenceKinds...)...)
		e.Required = sec.yes("required")
		keys = slices.DeleteFunc(keys, func(k string) bool { return k == "required" })
		switch {
		case len(keys) != 1:
			it.refuse(it.key, codeValue, "such as {journal: 200}, {process: true} or {process: true, required: true}", "must name one kind of evidence")
		case keys[0] == "journal":
			e.Kind, e.Lines = "journal", sec.count("journal", 1, 10_000)
		case sec.yes(keys[0]):
			e.Kind = keys[0]
		default:
			sec.refuse(keys[0], codeValue, "leave it out if it is not wanted", "must be true")
		}
	}
	if e.Kind == "journal" && e.Lines == 0 {
		e.Lines = defaultJournal
	}
	return e, e.Kind != ""
}

func readSteps(top section) restart.Steps {
	sec, ok := top.sub("steps", stepKeys...)
	if !ok {
		return restart.Steps{}
	}
	sec.need("run")
	return restart.Steps{Drain: readStep(sec, "drain"), Run: readStep(sec, "run"), Undrain: readStep(sec, "undrain")}
}

func readStep(sec section, name string) *restart.Step {
	keys := []string{"script"}
	if name == "undrain" {
		keys = append(keys, "when")
	}
	step, ok := sec.sub(name, keys...)
	if !ok {
		return nil
	}
	step.need("script")
	s := restart.Step{Script: step.script("script")}
	if name == "undrain" {
		s.When = "healthy"
		if when := step.oneOf("when", "healthy", "always"); when != "" {
			s.When = when
		}
	}
	return &s
}

func readHealth(top section) restart.Health {
	sec, ok := top.sub("health", healthKeys...)
	if !ok {
		return restart.Health{}
	}
	h := restart.Health{
		HealthyFor: sec.duration("healthy_for", 0, 24*time.Hour),
		Deadline:   sec.duration("deadline", time.Second, 24*time.Hour),
		Interval:   sec.duration("interval", 100*time.Millisecond, 10*time.Minute),
	}
	timeout := func(s section) restart.Duration { return s.duration("timeout", 10*time.Millisecond, 10*time.Minute) }
	if p, ok := sec.sub("new_process", "unit", "pid_file", "port"); ok {
		h.NewProcess = &restart.ProcessRef{Unit: p.text("unit"), PIDFile: p.text("pid_file"), Port: p.plainText("port")}
		if len(p.values) != 1 {
			p.found.refuse(p.found.at(p.path), codeValue, p.path+" must have exactly one of unit, pid_file and port", "they are three ways to find the one main process")
		}
	}
	if p, ok := sec.sub("http", "url", "status", "body", "timeout"); ok {
		p.need("url")
		h.HTTP = &restart.HTTPProbe{URL: p.text("url"), Status: p.count("status", 100, 599), Body: p.text("body"), Timeout: timeout(p)}
	}
	if p, ok := sec.sub("tcp", "address", "timeout"); ok {
		p.need("address")
		h.TCP = &restart.TCPProbe{Address: p.text("address"), Timeout: timeout(p)}
	}
	if p, ok := sec.sub("command", "script", "timeout"); ok {
		p.need("script")
		h.Command = &restart.CommandProbe{Script: p.script("script"), Timeout: timeout(p)}
	}
	return h
}

// plainText gives one line of text or a number, as it stands in the file.
func (s section) plainText(key string) string {
	if n := s.values[key]; n != nil && n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
		return n.Value
	}
	return s.text(key)
}

var servicePattern = regexp.MustCompile(`^[a-z0-9*?\[][]a-z0-9@._*?[^-]{0,63}$`)

// checkServicePattern accepts the name of a service, or a glob over such names.
func checkServicePattern(s string) error {
	if !strings.ContainsAny(s, "*?[]^") {
		return restart.CheckServiceName(s)
	}
	if _, err := path.Match(s, "service"); err != nil || !servicePattern.MatchString(s) || strings.Contains(s, "..") {
		return restart.Errorf(restart.CodeInvalid, "%s is not a pattern of service names", restart.Quote(s)).WithHint("a name such as nginx, or a glob such as shop-*, of a-z 0-9 @ . _ - * ? [ ]")
	}
	return nil
}

var programPath = regexp.MustCompile(`^(/[A-Za-z0-9_+][A-Za-z0-9._+-]*)+$`)

// checkProgram accepts the absolute path of an interpreter.
func checkProgram(s string) error {
	if !programPath.MatchString(s) || strings.Contains(s, "..") || len(s) > 255 {
		return restart.Errorf(restart.CodeInvalid, "%s is not the path of a program", restart.Quote(s)).WithHint("an absolute path without options, such as /bin/bash")
	}
	return nil
}

// anyText accepts every text: the name of an alert may hold placeholders, and
// is checked once they are filled in.
func anyText(string) error { return nil }
