// Command restartilka-agent runs on every host as root, takes tasks from the
// company's servers on port 3131, and runs nothing but scenarios that were
// reviewed and laid on the host.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/systemd"
	"github.com/restartilka/restartilka/internal/version"
)

const usage = `restartilka-agent runs on every host and does there what reviewed scenarios say.

Usage: restartilka-agent VERB [--config FILE]

  serve                  take tasks from the servers (the service of this name does)
  join URL               enrol this host with a join token: key, certificate, agent.yaml
  check [--service S]    say what this host says about itself, and what is wrong
  run SCENARIO SERVICE   run a reviewed scenario here, without a server; --reason says why
  dump SERVICE           take thread dumps here, without a server, and say what is wrong
  dump --pid N           the same of any process, without a scenario
  task [ID]              list what was begun here without a server, or follow one task
  review forget NAME     let older versions of a signed scenario in again; --reason says why
  discover [--all]       print drafts for services.d from the units that run or start here
  config check           read agent.yaml and say what is wrong with it
  config show            print the settings in use, defaults included
  version                print the version

FILE is /etc/restartilka/agent.yaml unless said otherwise. Every verb but serve
takes --json. Exit status: 0 fine, 1 something is wrong, 2 wrong usage; of run,
dump and task also 3 refused, 4 the agent does not answer, 5 a person is needed,
130 detached: the task goes on.
`

// The exit statuses.
const (
	exitFine  = 0
	exitWrong = 1
	exitUsage = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its ends in hand.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case supervisor.Verb:
		return supervisor.Main()
	case supervisor.TryVerb:
		return supervisor.TryMain()
	case capture.Verb:
		return capture.Main()
	case supervisor.GatherVerb:
		return supervisor.GatherMain()
	case "serve":
		return serve(args[1:], stderr)
	case "join":
		return join(args[1:], os.Stdin, stdout, stderr)
	case "check":
		return check(args[1:], stdout, stderr)
	case "run":
		return runHere(args[1:], os.Stdin, stdout, stderr)
	case "dump":
		return dumpHere(args[1:], os.Stdin, stdout, stderr)
	case "task":
		return taskHere(args[1:], stdout, stderr)
	case "review":
		return reviewHere(args[1:], stdout, stderr)
	case "discover":
		return discover(args[1:], stdout, stderr)
	case "config":
		return config(args[1:], stdout, stderr)
	case "version", "--version":
		return printVersion(args[1:], stdout, stderr)
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return exitFine
	}
	fmt.Fprintf(stderr, "restartilka-agent: there is no verb %s\n\n%s", restart.Quote(args[0]), usage)
	return exitUsage
}

// flags are what a verb takes; they end the usual way.
type flags struct {
	*flag.FlagSet
	config string
	json   bool
}

func newFlags(verb string, stderr io.Writer) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("restartilka-agent "+verb, flag.ContinueOnError)}
	f.SetOutput(stderr)
	f.StringVar(&f.config, "config", agent.DefaultSettings, "`file` with the settings")
	f.BoolVar(&f.json, "json", false, "answer with JSON")
	return f
}

// parse reads the arguments, of which none may be left over.
func (f *flags) parse(args []string) bool {
	if f.Parse(args) != nil {
		return false
	}
	if f.NArg() > 0 {
		fmt.Fprintf(f.Output(), "%s: %s is not understood\n", f.Name(), restart.Quote(f.Arg(0)))
		return false
	}
	return true
}

// given tells whether a flag stands on the command line.
func (f *flags) given(name string) (yes bool) {
	f.Visit(func(one *flag.Flag) { yes = yes || one.Name == name })
	return yes
}

func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "restartilka-agent: %s\n", err)
	return exitWrong
}

func serve(args []string, stderr io.Writer) int {
	f := newFlags("serve", stderr)
	if !f.parse(args) {
		return exitUsage
	}
	settings, err := agent.LoadSettings(f.config)
	if err != nil {
		return fail(stderr, err)
	}
	// A small program on every host: give memory back rather than keep it for speed.
	debug.SetGCPercent(40)
	debug.SetMemoryLimit(64 << 20)
	supervisor.KeepDescriptors()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	log := slog.New(slog.NewTextHandler(stderr, nil))
	ready := func(_, _ net.Addr) {
		if err := systemd.Ready(); err != nil {
			log.Warn("the service manager does not learn that the agent is ready", "error", err)
		}
	}
	if err := agent.Serve(ctx, settings, log, ready); err != nil {
		return fail(stderr, err)
	}
	return exitFine
}

func check(args []string, stdout, stderr io.Writer) int {
	f := newFlags("check", stderr)
	var ask protocol.CheckRequest
	f.StringVar(&ask.Service, "service", "", "also ask about this `service`")
	f.StringVar(&ask.Group, "group", "", "is the host in this `group`?")
	f.StringVar(&ask.Environment, "env", "", "is the host in this `environment`?")
	f.StringVar(&ask.Digest, "digest", "", "would the scenario with this `digest` be accepted?")
	if !f.parse(args) {
		return exitUsage
	}
	settings, err := agent.LoadSettings(f.config)
	if err != nil {
		return fail(stderr, err)
	}
	report, err := agent.CheckHere(context.Background(), settings, ask)
	if err != nil {
		return fail(stderr, err)
	}
	if f.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = printReport(stdout, report)
	}
	if err != nil {
		return fail(stderr, err)
	}
	if len(report.Problems) > 0 {
		return exitWrong
	}
	return exitFine
}

func config(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || (args[0] != "check" && args[0] != "show") {
		fmt.Fprint(stderr, "restartilka-agent config: check or show\n")
		return exitUsage
	}
	f := newFlags("config "+args[0], stderr)
	if !f.parse(args[1:]) {
		return exitUsage
	}
	settings, err := agent.LoadSettings(f.config)
	if err != nil {
		return fail(stderr, err)
	}
	if args[0] == "check" {
		fmt.Fprintf(stderr, "%s is fine\n", f.config)
		return exitFine
	}
	if f.json {
		err = json.NewEncoder(stdout).Encode(settings)
	} else {
		var text []byte
		if text, err = settings.Text(); err == nil {
			_, err = stdout.Write(text)
		}
	}
	if err != nil {
		return fail(stderr, err)
	}
	return exitFine
}

func printVersion(args []string, stdout, stderr io.Writer) int {
	f := newFlags("version", stderr)
	if !f.parse(args) {
		return exitUsage
	}
	var err error
	if f.json {
		err = json.NewEncoder(stdout).Encode(version.Current())
	} else {
		_, err = fmt.Fprintln(stdout, "restartilka-agent", version.Current())
	}
	if err != nil {
		return fail(stderr, errors.Join(errors.New("print the version"), err))
	}
	return exitFine
}
