package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// The exit statuses of work on the host: those of restartilka's own command line.
const (
	exitRefused     = 3
	exitUnreachable = 4
	exitPerson      = 5
	exitInterrupted = 130
)

// localCodes is the table from error codes to exit statuses; the others are
// exitRefused.
var localCodes = map[restart.Code]int{
	restart.CodeInvalid: exitUsage, restart.CodeParam: exitUsage, restart.CodeNotFound: exitUsage, restart.CodeTooLarge: exitUsage, restart.CodeUnknownService: exitUsage,
	restart.CodeUnavailable: exitUnreachable, restart.CodeStopping: exitUnreachable, restart.CodeDiskFull: exitUnreachable, restart.CodeInternal: exitUnreachable,
}

// failLocal says what is wrong, and gives the exit status.
func failLocal(stderr io.Writer, err error) int {
	code := exitWrong
	if e, ok := errors.AsType[*restart.Error](err); ok {
		if code, ok = localCodes[e.Code]; !ok {
			code = exitRefused
		}
		fmt.Fprintf(stderr, "restartilka-agent: %s\n", restart.Escape(e.Message))
		if e.Hint != "" {
			fmt.Fprintf(stderr, "hint: %s\n", restart.Escape(e.Hint))
		}
		return code
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "restartilka-agent: interrupted; nothing was done")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "restartilka-agent: %s\n", restart.Escape(err.Error()))
	return code
}

// endCode gives the exit status of a task by how it ended.
func endCode(o protocol.Outcome) int {
	switch o {
	case protocol.OutcomeSucceeded:
		return exitFine
	case protocol.OutcomeUnknown:
		return exitPerson
	}
	return exitWrong
}

// localFlags are what run and dump take of a scenario.
type localFlags struct {
	*flags
	ask agent.Ask
	yes bool
}

func newLocalFlags(verb string, stderr io.Writer) *localFlags {
	f := &localFlags{flags: newFlags(verb, stderr)}
	f.StringVar(&f.ask.Reason, "reason", "", "why this is done, in 10 to 500 characters; needed")
	f.StringVar(&f.ask.Environment, "env", "", "the `environment`, where agent.yaml names none or several")
	f.StringVar(&f.ask.Group, "group", "", "the `group`, where agent.yaml names none or several")
	f.StringVar(&f.ask.Project, "project", "", "the `project`, where the scenario asks for it")
	f.StringVar(&f.ask.Digest, "digest", "", "the scenario with this `digest`, where two files have its name and serial")
	f.Func("param", "`NAME=VALUE` of a parameter; may be given again", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return errors.New("it is written NAME=VALUE")
		}
		if f.ask.Params == nil {
			f.ask.Params = map[string]string{}
		}
		f.ask.Params[name] = value
		return nil
	})
	f.BoolVar(&f.yes, "yes", false, "do it without asking; needed where nobody can be asked")
	return f
}

// names reads the arguments, names and flags in any order, and gives the names.
func (f *flags) names(args []string) ([]string, bool) {
	var names []string
	for {
		if f.Parse(args) != nil {
			return nil, false
		}
		if f.NArg() == 0 {
			return names, true
		}
		names, args = append(names, f.Arg(0)), f.Args()[1:]
	}
}

// runHere runs a reviewed scenario on this host, without a server.
func runHere(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	f := newLocalFlags("run", stderr)
	f.BoolVar(&f.ask.Rehearse, "rehearse", false, "make every check for real, and run no script of the scenario")
	names, ok := f.names(args)
	if !ok {
		return exitUsage
	}
	if len(names) != 2 {
		fmt.Fprintln(stderr, `restartilka-agent run: a scenario and a service are wanted, such as: run systemd-restart nginx --reason "502s since 14:00, workers hang"`)
		return exitUsage
	}
	f.ask.Scenario, f.ask.Service = names[0], names[1]
	return onHost(f.flags, stdout, stderr, func(ctx context.Context, w *watcher) int { return workHere(ctx, w, f, stdin) })
}

// workHere shows what will be done, asks, begins it and follows it.
func workHere(ctx context.Context, w *watcher, f *localFlags, stdin *os.File) int {
	if _, err := restart.CheckReason(f.ask.Reason); err != nil {
		return failLocal(w.stderr, err)
	}
	f.ask.Actor = agent.Invoker(w.settings.Host)
	plan, err := w.here.Plan(ctx, f.ask)
	if err != nil {
		return failLocal(w.stderr, err)
	}
	printPlan(w.stderr, plan)
	if !f.yes {
		if err := confirm(ctx, stdin, w.stderr); err != nil {
			return failLocal(w.stderr, err)
		}
	}
	w.talk = plan.Dump != nil                  // what the task prints tells of the dumps; they are no part of it
	status, err := w.here.Begin(ctx, plan.Ask) // with the digest that was shown
	if err != nil {
		return failLocal(w.stderr, err)
	}
	begun := "has begun"
	if f.ask.Rehearse {
		begun = "has begun, a rehearsal"
	}
	fmt.Fprintf(w.stderr, "task %s %s\n", status.Task, begun)
	return w.follow(ctx, status)
}

// onHost opens what works on this host, the agent that runs or one in this
// process, for a command, and gives its exit status. A signal ends ctx.
func onHost(f *flags, stdout, stderr io.Writer, do func(ctx context.Context, w *watcher) int) int {
	supervisor.KeepDescriptors()
	settings, err := agent.LoadSettings(f.config)
	if err != nil {
		return failLocal(stderr, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer stop()
	w := &watcher{settings: settings, stdout: stdout, stderr: stderr, json: f.json}
	if err := w.open(ctx); err != nil {
		return failLocal(stderr, err)
	}
	defer w.close()
	return do(ctx, w)
}

// printPlan shows what would be done.
func printPlan(w io.Writer, p agent.LocalPlan) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("here", "%s, without a server: freezes, locks and rights of servers do not count here", p.Host)
	if p.Rehearse {
		line("work", "a rehearsal: every check is for real, and nothing below is run")
	}
	line("service", "%s", p.Service)
	line("scenario", "%s, serial %d, digest %s", p.Scenario, p.Serial, p.Digest)
	if p.Description != "" {
		line("", "%s", restart.Escape(p.Description))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Values)) {
		line("parameter", "%s=%s", restart.Escape(name), restart.Escape(p.Values[name]))
	}
	if p.Package != "" {
		line("package", "%s %s", p.Package, restart.Escape(p.Installed))
	}
	line("runs as", "%s, at most %s", p.User, p.Timeout)
	line("reason", "%s", restart.Escape(p.Reason))
	line("by", "%s", restart.Escape(p.Actor))
	for _, s := range p.Steps {
		when := ""
		if s.When != "" {
			when = " (when " + s.When + ")"
		}
		fmt.Fprintf(w, "%s%s:\n", s.Phase, when)
		for text := range strings.Lines(strings.TrimRight(s.Script, "\n")) {
			fmt.Fprintf(w, "    %s\n", restart.Escape(strings.TrimRight(text, "\n")))
		}
	}
	if p.Dump != nil {
		fmt.Fprintln(w, "dump:")
		for text := range strings.Lines(p.Dump.String()) {
			fmt.Fprintf(w, "    %s\n", restart.Escape(strings.TrimRight(text, "\n")))
		}
	}
	switch {
	case p.Health && p.Rehearse:
		fmt.Fprintln(w, "it looks once whether the service is healthy now")
	case p.Health:
		fmt.Fprintln(w, "then it waits until the service is healthy")
	}
}

// confirm asks a person at a terminal.
func confirm(ctx context.Context, stdin *os.File, stderr io.Writer) error {
	if _, err := unix.IoctlGetTermios(int(stdin.Fd()), unix.TCGETS); err != nil {
		return restart.Errorf(restart.CodeInvalid, "nobody can be asked: standard input is no terminal").WithHint("--yes does it without asking")
	}
	fmt.Fprint(stderr, "Do it? [y/N] ")
	answer := make(chan string, 1)
	go func() { // ends with the program
		line, _ := bufio.NewReader(io.LimitReader(stdin, 64)).ReadString('\n') // an end without an answer is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return context.Canceled
	case <-ctx.Done():
		fmt.Fprintln(stderr)
		return context.Canceled
	}
}

// quiet logs what a person at a terminal must know, and nothing else.
func quiet(stderr io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}
