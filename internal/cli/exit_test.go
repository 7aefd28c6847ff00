package cli

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// TestEveryCodeHasAnExitCode reads the codes from where they are declared: a
// new one must be given its exit code.
func TestEveryCodeHasAnExitCode(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../restart/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || fmt.Sprint(spec.Type) != "Code" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if _, ok := exitCodes[restart.Code(text)]; !ok {
			t.Errorf("%s has no exit code", text)
		}
		return true
	})
	if n < 20 {
		t.Errorf("only %d codes were found", n)
	}
}

func TestExitCode(t *testing.T) {
	problem := func(code restart.Code) error {
		return (&wire.Problem{Code: code, Detail: "no"}).Err()
	}
	for want, errs := range map[int][]error{
		ExitDone:        {nil, Exit(0)},
		ExitFailed:      {errors.New("disk"), problem("a code of a later version"), problem(restart.CodeUnreachable), Exit(1)},
		ExitUsage:       {problem(restart.CodeInvalid), problem(restart.CodeNotFound), fmt.Errorf("wrapped: %w", problem(restart.CodeParam)), usage(errors.New("flag"))},
		ExitRefused:     {problem(restart.CodeForbidden), problem(restart.CodeReason), problem(restart.CodeLocked), problem(restart.CodePlanChanged), problem(restart.CodeUnauthorised)},
		ExitUnreachable: {&client.UnreachableError{}, fmt.Errorf("ask: %w", &client.UnreachableError{}), problem(restart.CodeUnavailable), problem(restart.CodeInternal)},
		ExitPerson:      {Exit(5)},
		ExitInterrupted: {context.Canceled},
	} {
		for _, err := range errs {
			if got := ExitCode(err); got != want {
				t.Errorf("%v: exit code %d, want %d", err, got, want)
			}
		}
	}
}

func TestRunCode(t *testing.T) {
	task := func(host string, attempt int, s restart.TaskState) restart.Task {
		return restart.Task{ID: host + strconv.Itoa(attempt), Host: host, Attempt: attempt, State: s}
	}
	silent := restart.PlannedHost{Host: restart.Host{Name: "web9"}, Agent: "no agent answers", LeftOut: true, Why: "no agent answers"}
	unticked := restart.PlannedHost{Host: restart.Host{Name: "web9"}, Agent: "no agent answers", LeftOut: true, Why: "unticked by anna"}
	ready := restart.PlannedHost{Host: restart.Host{Name: "web9"}, Agent: "ready", LeftOut: true, Why: "left out by the request"}
	for name, c := range map[string]struct {
		state restart.RunState
		tasks []restart.Task
		plan  []restart.PlannedHost
		want  int
	}{
		"done":                       {restart.RunCompleted, []restart.Task{task("a", 1, restart.TaskSucceeded)}, nil, ExitDone},
		"done at the second attempt": {restart.RunCompleted, []restart.Task{task("a", 1, restart.TaskFailed), task("a", 2, restart.TaskSucceeded)}, nil, ExitDone},
		"failed":                     {restart.RunFailed, []restart.Task{task("a", 1, restart.TaskFailed)}, nil, ExitFailed},
		"aborted":                    {restart.RunAborted, []restart.Task{task("a", 1, restart.TaskNotStarted)}, nil, ExitFailed},
		"done but for one":           {restart.RunCompleted, []restart.Task{task("a", 1, restart.TaskUnreachable), task("b", 1, restart.TaskSucceeded)}, nil, ExitFailed},
		"paused":                     {restart.RunPaused, []restart.Task{task("a", 1, restart.TaskFailed)}, nil, ExitPerson},
		"waits for approval":         {restart.RunAwaitingApproval, nil, nil, ExitPerson},
		"rejected":                   {restart.RunRejected, nil, nil, ExitRefused},
		"one unknown":                {restart.RunCompleted, []restart.Task{task("a", 1, restart.TaskUnknown)}, nil, ExitPerson},
		"aborted by force":           {restart.RunAborted, []restart.Task{task("a", 1, restart.TaskUnknown)}, nil, ExitPerson},
		"a silent host":              {restart.RunCompleted, []restart.Task{task("a", 1, restart.TaskSucceeded)}, []restart.PlannedHost{silent}, ExitFailed},
		"a silent host, unticked":    {restart.RunCompleted, []restart.Task{task("a", 1, restart.TaskSucceeded)}, []restart.PlannedHost{unticked}, ExitDone},
		"a host left out":            {restart.RunCompleted, []restart.Task{task("a", 1, restart.TaskSucceeded)}, []restart.PlannedHost{ready}, ExitDone},
	} {
		if got := runCode(restart.Run{State: c.state, Tasks: c.tasks, Plan: &restart.Plan{Hosts: c.plan}}); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
