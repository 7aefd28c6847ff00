package agent

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
)

// The names of metrics begin with this. Names without it, such as process_…,
// are left to others: the text can be put beside another exporter's.
const namespace = "restartilka_agent_"

// metrics writes everything that /metrics shows. docs/reference/metrics.md has
// the same list, and a test compares the two.
func (a *Agent) metrics(g Gauges) string {
	e := &exposition{}
	a.writeIdentity(e)
	a.writeChecks(e, g)
	a.writeTasks(e)
	a.writeRequests(e)
	a.writeScenarios(e)
	writeSpool(e, g)
	writeCertificate(e, g)
	return e.String()
}

func (a *Agent) writeIdentity(e *exposition) {
	build := version.Current()
	e.family(namespace+"build_info", "gauge", "The running build; always 1.")
	e.sample(namespace+"build_info", 1, "version", build.Version, "commit", build.Commit, "goversion", build.Go)
	containment, _, _ := strings.Cut(a.cfg.Containment, " ") // why it is so follows
	e.family(namespace+"info", "gauge", "How this host works: how scripts are kept together, and what makes them trusted; always 1.")
	e.sample(namespace+"info", 1, "containment", containment, "review", ReviewFiles)
	e.single(namespace+"start_timestamp_seconds", "When this agent started, as a Unix time.", float64(a.born.UnixMilli())/1000)
	if resident, err := residentBytes(); err == nil {
		e.single(namespace+"resident_memory_bytes", "Memory of the agent's own process, without supervisors and scripts.", resident)
	}
}

// residentBytes asks the kernel: proc(5), statm, the second number, in pages.
func residentBytes() (float64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, err
	}
	return float64(resident) * float64(os.Getpagesize()), nil
}

func (a *Agent) writeChecks(e *exposition, g Gauges) {
	e.family(namespace+"ready", "gauge", "1 while the check of /readyz holds, else 0.")
	for _, c := range a.checks(g) {
		value := 1.0
		if c.err != nil {
			value = 0
		}
		e.sample(namespace+"ready", value, "check", c.name)
	}
}

func (a *Agent) writeTasks(e *exposition) {
	a.mu.Lock()
	counts, took := maps.Clone(a.counts), a.took
	active, kept, graves := 0, len(a.tasks), len(a.graves)
	for _, t := range a.tasks {
		if !t.done() {
			active++
		}
	}
	a.mu.Unlock()
	e.family(namespace+"tasks_total", "counter", "Tasks that ended since this agent started, by outcome.")
	for _, outcome := range []protocol.Outcome{
		protocol.OutcomeSucceeded, protocol.OutcomeFailed, protocol.OutcomeTimedOut, protocol.OutcomeCancelled, protocol.OutcomeNotStarted, protocol.OutcomeUnknown,
	} {
		e.sample(namespace+"tasks_total", float64(counts[outcome]), "outcome", string(outcome))
	}
	e.histogram(namespace+"task_duration_seconds", "Time from a task's start to its end, health checks included.", took)
	e.single(namespace+"tasks_active", "Tasks that are received or running.", float64(active))
	e.single(namespace+"tasks_kept", "Tasks in the spool, those that wait to be fetched included.", float64(kept))
	e.single(namespace+"tombstones", "Task ids that never run again.", float64(graves))
}

func (a *Agent) writeRequests(e *exposition) {
	requests, refusals := a.tally.read()
	for _, v := range a.verbs() {
		ok := request{v.name(), 200}
		requests[ok] += 0 // shown before the first one
	}
	e.family(namespace+"requests_total", "counter", "Requests of servers since this agent started, by verb and HTTP status.")
	for _, r := range slices.SortedFunc(maps.Keys(requests), func(x, y request) int {
		return cmp.Or(cmp.Compare(x.verb, y.verb), cmp.Compare(x.status, y.status))
	}) {
		e.sample(namespace+"requests_total", float64(requests[r]), r.labels()...)
	}
	e.family(namespace+"refusals_total", "counter", "Tasks that this agent did not take, by code.")
	for _, code := range slices.Sorted(maps.Keys(refusals)) {
		e.sample(namespace+"refusals_total", float64(refusals[code]), "code", string(code))
	}
}

func (a *Agent) writeScenarios(e *exposition) {
	accepted, left := []restart.Scenario(nil), []error(nil)
	if a.cfg.Host.Scenarios != "" {
		accepted, left = a.cfg.Host.List(a.now())
	}
	e.family(namespace+"scenarios", "gauge", "Files of the folder of reviewed scenarios: accepted, or left out because something is wrong with them.")
	e.sample(namespace+"scenarios", float64(len(accepted)), "state", "accepted")
	e.sample(namespace+"scenarios", float64(len(left)), "state", "left_out")
}

func writeSpool(e *exposition, g Gauges) {
	if g.SpoolSize != nil {
		if size, err := g.SpoolSize(); err == nil {
			e.single(namespace+"spool_bytes", "Bytes that the tasks take on the disk.", float64(size))
		}
	}
	if g.SpoolSpace == nil {
		return
	}
	if free, size, err := g.SpoolSpace(); err == nil {
		e.single(namespace+"spool_filesystem_free_bytes", "Bytes that can still be written to the file system of the spool.", float64(free))
		e.single(namespace+"spool_filesystem_size_bytes", "Bytes of the file system of the spool in all.", float64(size))
	}
}

func writeCertificate(e *exposition, g Gauges) {
	if g.Certificate != nil {
		if cert := g.Certificate(); cert != nil {
			e.single(namespace+"certificate_not_after_timestamp_seconds", "When the agent's certificate in use ends, as a Unix time.", float64(cert.NotAfter.Unix()))
		}
	}
	if g.Credentials != nil {
		stale := 0.0
		if g.Credentials() != nil {
			stale = 1
		}
		e.single(namespace+"credentials_stale", "1 while the files of certificate, key and authorities can't be used, and older ones still are.", stale)
	}
}
