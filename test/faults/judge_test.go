package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// runOf makes a run that is over, with its hosts' tasks.
func runOf(state restart.RunState, tasks ...task) run {
	return run{Run: restart.Run{ID: "run", State: state}, Tasks: tasks}
}

func taskOf(id, host string, state restart.TaskState) task {
	return task{Task: restart.Task{ID: id, Host: host, State: state}}
}

func decided(t task, verdict string) task {
	t.Decision = &struct {
		Verdict string `json:"verdict"`
	}{verdict}
	return t
}

func kindsOf(found []finding) string {
	var out []string
	for _, x := range found {
		out = append(out, x.Kind)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// Each way in which a promise can be broken is found, and what is allowed is not.
func TestJudge(t *testing.T) {
	const whole = "a h1 begin 1.0\na h1 end 1.1\n"
	good := runOf(restart.RunCompleted, taskOf("a", "h1", restart.TaskSucceeded))
	for name, x := range map[string]struct {
		said string
		run  run
		want string
	}{
		"all is well":                    {whole, good, ""},
		"a doubled line":                 {whole + "a h1 begin 2.0\na h1 end 2.1\n", good, foundDouble},
		"three times":                    {whole + "a h1 begin 2.0\na h1 begin 3.0\n", good, foundDouble + ", " + foundDouble},
		"a task that succeeded, unseen":  {"", good, foundLost},
		"half of one":                    {"a h1 begin 1.0\n", good, foundUntrue},
		"not started, and yet it ran":    {whole, runOf(restart.RunFailed, taskOf("a", "h1", restart.TaskNotStarted)), foundUntrue},
		"unreachable, and yet it ran":    {whole, runOf(restart.RunFailed, taskOf("a", "h1", restart.TaskUnreachable)), foundUntrue},
		"unknown may have run":           {whole, runOf(restart.RunFailed, taskOf("a", "h1", restart.TaskUnknown)), ""},
		"unknown may not have run":       {"", runOf(restart.RunFailed, taskOf("a", "h1", restart.TaskUnknown)), ""},
		"left running in a run over":     {whole, runOf(restart.RunCompleted, taskOf("a", "h1", restart.TaskRunning)), foundLost},
		"a second attempt after the run": {whole + "b h1 begin 2.0\nb h1 end 2.1\n", runOf(restart.RunCompleted, taskOf("a", "h1", restart.TaskUnknown), taskOf("b", "h1", restart.TaskSucceeded)), foundDouble},
		"a second attempt, decided": {whole + "b h1 begin 2.0\nb h1 end 2.1\n",
			runOf(restart.RunCompleted, decided(taskOf("a", "h1", restart.TaskUnknown), "again"), taskOf("b", "h1", restart.TaskSucceeded)), ""},
		"a second attempt of what never ran": {"b h1 begin 2.0\nb h1 end 2.1\n", runOf(restart.RunCompleted, taskOf("a", "h1", restart.TaskNotStarted), taskOf("b", "h1", restart.TaskSucceeded)), ""},
	} {
		if got := kindsOf(judge(testimony(x.said), []run{x.run})); got != x.want {
			t.Errorf("%s: found %q, want %q", name, got, x.want)
		}
	}
}

func TestATaskThatNoRunHasIsLost(t *testing.T) {
	runs := []run{runOf(restart.RunCompleted, taskOf("a", "h1", restart.TaskSucceeded))}
	said := testimony("a h1 begin 1\na h1 end 1\nx h2 begin 1\nx h2 end 1\n")
	if got := kindsOf(strangers(said, runs)); got != foundLost {
		t.Errorf("found %q", got)
	}
}

// The counts that the exit code goes by are those of the findings.
func TestFindingsAreCounted(t *testing.T) {
	f := &figures{missed: map[string]int{}}
	if r := f.result(); !r.good() {
		t.Errorf("nothing was found, and it is not good: %s", r.line())
	}
	for _, kind := range []string{foundDouble, foundLost, foundUntrue, foundAfter, foundStuck, foundAudit} {
		one := &figures{missed: map[string]int{}, findings: []finding{{Kind: kind}}}
		if r := one.result(); r.good() || r.Double+r.Lost+r.Untrue+r.After+r.Stuck+r.Gaps != 1 {
			t.Errorf("%s: %s", kind, r.line())
		}
	}
	line := (&figures{seed: 7, missed: map[string]int{}, findings: []finding{{Kind: foundDouble}}}).result().line()
	for _, field := range []string{`"injections":0`, `"double_executions":1`, `"lost_tasks":0`, `"unknown":0`, `"audit_gaps":0`, `"audit_duplicates":0`, `"recovery_ms":{"p50":0,"p99":0}`, `"seed":7`} {
		if !strings.Contains(line, field) || strings.Contains(line, "\n") {
			t.Errorf("%s is not in %s", field, line)
		}
	}
}

func TestRecordsAreCountedOnce(t *testing.T) {
	begun := time.Now()
	task := taskOf("a", "h1", restart.TaskSucceeded)
	task.StartedAt = &begun
	r := runOf(restart.RunCompleted, task)
	trail := map[string]record{}
	for i, action := range []string{"run.requested", "task.intent", "task.outcome", "run.ended"} {
		rec := record{Source: "s", Seq: int64(i + 1), Action: action, Run: "run"}
		if strings.HasPrefix(action, "task.") {
			rec.Task = "a"
		}
		trail[action] = rec
	}
	if found := incomplete(trail, []run{r}); len(found) > 0 {
		t.Errorf("found %v in a whole trail", found)
	}
	for action, rec := range trail {
		less := map[string]record{}
		for k, v := range trail {
			if k != action {
				less[k] = v
			}
		}
		if found := incomplete(less, []run{r}); kindsOf(found) != foundAudit {
			t.Errorf("without %s: found %v", action, found)
		}
		less["once"], less["twice"] = rec, rec
		if found := incomplete(less, []run{r}); kindsOf(found) != foundAudit {
			t.Errorf("with %s twice: found %v", action, found)
		}
	}
}

func TestPercentile(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[float64]int64{50: 50, 99: 99, 100: 100, 1: 1, 0: 1} {
		if got := percentile(all, p); got.Milliseconds() != want {
			t.Errorf("p%v of 1…100 is %s", p, got)
		}
	}
	if got := percentile(all[:1], 99); got != time.Millisecond {
		t.Errorf("p99 of one value is %s", got)
	}
	if got := percentile(all[:2], 50); got != time.Millisecond {
		t.Errorf("p50 of two values is %s", got)
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("p50 of nothing is %s", got)
	}
}

// Recovery is told from hosts that were in hand, not from those that came later.
func TestRecovered(t *testing.T) {
	at := time.Now()
	before, after := at.Add(-time.Second), at.Add(time.Second)
	began := func(x task, when time.Time) task { x.StartedAt = &when; return x }
	for name, x := range map[string]struct {
		run  run
		want bool
	}{
		"in hand":                {runOf(restart.RunRunning, began(taskOf("a", "h1", restart.TaskRunning), before)), false},
		"paused, host in hand":   {runOf(restart.RunPaused, began(taskOf("a", "h1", restart.TaskRunning), before)), false},
		"paused":                 {runOf(restart.RunPaused, began(taskOf("a", "h1", restart.TaskUnknown), before)), true},
		"over":                   {runOf(restart.RunCompleted, began(taskOf("a", "h1", restart.TaskSucceeded), before)), true},
		"between two hosts":      {runOf(restart.RunRunning, began(taskOf("a", "h1", restart.TaskSucceeded), before), taskOf("b", "h2", restart.TaskPlanned)), false},
		"goes on":                {runOf(restart.RunRunning, began(taskOf("a", "h1", restart.TaskSucceeded), before), began(taskOf("b", "h2", restart.TaskRunning), after)), true},
		"goes on, one left open": {runOf(restart.RunRunning, began(taskOf("a", "h1", restart.TaskRunning), before), began(taskOf("b", "h2", restart.TaskRunning), after)), false},
	} {
		if got := x.run.recovered(at); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The same seed gives the same plan, every kind of everyday comes before any
// comes twice, and each lane gets only what it can be broken by.
func TestPlan(t *testing.T) {
	var all []*kind
	for i := range kinds {
		all = append(all, &kinds[i])
	}
	first, again := plan(9, 200, all, allLanes), plan(9, 200, all, allLanes)
	seen, n := map[string]bool{}, 0
	for at := range first {
		if !slices.Equal(first[at], again[at]) {
			t.Errorf("lane %s: the seed does not give its plan again", allLanes[at].name)
		}
		for _, inj := range first[at] {
			if !inj.kind.fits(allLanes[at]) {
				t.Errorf("%s is on lane %s", inj.kind.name, allLanes[at].name)
			}
			seen[inj.kind.name] = true
			n++
		}
	}
	if n != 200 {
		t.Errorf("%d injections of 200", n)
	}
	for _, k := range all {
		if k.weight > 0 && !seen[k.name] {
			t.Errorf("%s never comes", k.name)
		}
	}
	other := plan(10, 200, all, allLanes)
	if slices.EqualFunc(first, other, func(a, b []injection) bool { return slices.Equal(a, b) }) {
		t.Error("another seed gives the same plan")
	}
	long := plan(9, 400, all, allLanes)
	for _, k := range all {
		if k.weight == 0 && !slices.ContainsFunc(slices.Concat(long...), func(i injection) bool { return i.kind == k }) {
			t.Errorf("%s does not come in a long run", k.name)
		}
	}
}

// The document gets the figures between its marks, and keeps the rest.
func TestIntoDocument(t *testing.T) {
	f := &figures{seed: 7, missed: map[string]int{"torn-spool": 2}, outcomes: []outcome{{kind: "kill-server", tasks: 3, recovery: []time.Duration{time.Second}}}}
	text := "before\n" + figuresBegin + "\nold\n" + figuresEnd + "\nafter\n"
	got, err := f.inText(text, options{n: 1, seed: 7})
	if err != nil || strings.Contains(got, "old") || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter\n") {
		t.Errorf("%v: %s", err, got)
	}
	for _, part := range []string{"make faults N=1 SEED=7", "| kill-server ", `"p50":1000`, "torn-spool: 2 times"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
	if again, err := f.inText(got, options{n: 1, seed: 7}); err != nil || again[:200] != got[:200] {
		t.Errorf("written twice (%v): %s", err, again)
	}
	if _, err := f.inText("nothing", options{}); err == nil {
		t.Error("a document without marks was written")
	}
}

// A host that was asked while its run was stopped is found; one before, or
// after it goes on, is not.
func TestTouchedAfterAStop(t *testing.T) {
	at := time.Now()
	began := taskOf("a", "h1", restart.TaskSucceeded)
	began.StartedAt = &at
	r := runOf(restart.RunAborted, began, taskOf("b", "h2", restart.TaskNotStarted))
	for want, s := range map[string]stop{
		"":         {"run", at.Add(time.Second), at.Add(time.Hour)},
		foundAfter: {"run", at.Add(-time.Second), at.Add(time.Hour)},
	} {
		if got := kindsOf(touched([]stop{s, {"other", at.Add(-time.Hour), at.Add(time.Hour)}}, []run{r})); got != want {
			t.Errorf("found %q, want %q", got, want)
		}
	}
	if got := touched([]stop{{"run", at.Add(-time.Minute), at.Add(-time.Second)}}, []run{r}); got != nil {
		t.Errorf("found %v after it went on", got)
	}
}
