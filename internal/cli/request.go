package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// requestFlags are what restart, run and dump have in common: one path from
// the request over its plan to the run.
type requestFlags struct {
	req    restart.Request
	params []string
	key    string
	begin
}

// begin is how a plan becomes a run that is watched: what every command has
// that makes one.
type begin struct {
	planOnly bool
	detach   bool
	yes      bool
	glass    bool
	later    wire.LaterRequest
	end      func(c *client.Client, run string) error // after a run that was watched to its end; nil = nothing
}

func (b *begin) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&b.planOnly, "plan", false, "show the plan and do nothing")
	flags.BoolVar(&b.detach, "detach", false, "print the run's id and leave; it goes on")
	flags.BoolVarP(&b.yes, "yes", "y", false, "start without asking")
}

// addLater is for what can be planned for a time to come.
func (b *begin) addLater(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&b.later.At, "at", "", "do it later: at this time, such as '2026-12-24 03:00'")
	flags.StringVar(&b.later.Zone, "tz", "", "with --at: time zone, such as Europe/Berlin; the server's, otherwise")
	flags.StringVar(&b.later.Window, "in-window", "", "do it in the next maintenance window of that name: see restartilka planned windows")
}

// isLater tells whether it is to be done at another time than now.
func (b *begin) isLater() bool { return b.later.At != "" || b.later.Window != "" }

// addGlass is for what a freeze keeps from starting.
func (b *begin) addGlass(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&b.glass, "break-glass", false, "start past a freeze, an approval or a remote log that takes nothing; a right of its own, told to others and reviewed")
}

// check finds what can't go together.
func (b *begin) check() error {
	switch {
	case b.planOnly && b.detach:
		return usage(errors.New("--plan and --detach do not go together: a plan starts nothing"))
	case b.planOnly && b.glass:
		return usage(errors.New("--plan and --break-glass do not go together: a plan starts nothing, and shows freezes by itself"))
	case b.later.At != "" && b.later.Window != "":
		return usage(errors.New("--at and --in-window do not go together: give one of them"))
	case b.later.Zone != "" && b.later.At == "":
		return usage(errors.New("--tz says of which clock --at is, and there is no --at"))
	case b.isLater() && (b.planOnly || b.detach || b.glass):
		return usage(errors.New("--at and --in-window do not go with --plan, --detach and --break-glass: nothing starts now"))
	}
	return nil
}

// start shows a draft, asks, starts it and watches it.
func (b *begin) start(cmd *cobra.Command, c *client.Client, draft restart.Run) error {
	ctx := cmd.Context()
	if draft.Plan == nil {
		return errors.New("the server gave no plan")
	}
	writePlan(cmd.ErrOrStderr(), b.planned(*draft.Plan))
	if err := b.confirm(ctx, cmd, *draft.Plan); err != nil {
		return err
	}
	if b.isLater() {
		return b.planLater(cmd, c, draft)
	}
	started, err := c.Start(ctx, draft.ID, wire.StartRequest{BreakGlass: b.glass})
	if err != nil {
		return startError(err, draft.ID)
	}
	if b.detach {
		if err := data(cmd, show(started), func(w io.Writer) { fmt.Fprintln(w, started.ID) }); err != nil || started.State != restart.RunAwaitingApproval {
			return err
		}
		say(cmd, "%s; watch it with: restartilka watch %s", runWord(started), started.ID)
		return Exit(ExitPerson)
	}
	return b.watch(cmd, c, started.ID)
}

// watch is watch, and what comes after the end of the run. Where something
// comes, that is what JSON tells.
func (b *begin) watch(cmd *cobra.Command, c *client.Client, id string) error {
	if b.end == nil {
		return watch(cmd, c, id)
	}
	o := WatchOptions{Out: cmd.OutOrStdout(), Talk: cmd.ErrOrStderr(), JSON: asJSON(cmd)}
	if o.JSON {
		o.Out = io.Discard
	}
	code, err := Watch(cmd.Context(), c, id, o)
	if err != nil {
		return err
	}
	if code != ExitDone && code != ExitFailed { // it is not over
		return Exit(code)
	}
	if err := b.end(c, id); err != nil {
		return err
	}
	return Exit(code)
}

func (f *requestFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.req.Environment, "env", "", "environment, such as production")
	flags.StringVar(&f.req.Project, "project", "", "project, where environments have several")
	flags.StringVar(&f.req.Group, "group", "", "group of hosts; follows from service and environment otherwise")
	flags.StringVar(&f.req.Hosts, "hosts", "", "host expression instead of a group, such as web[01-03],-web02")
	flags.StringVar(&f.req.Except, "except", "", "host expression of hosts to leave out")
	flags.StringVar(&f.req.Reason, "reason", "", "why: what you see and what you expect (needed, 10 to 500 characters)")
	flags.StringVar(&f.req.Ticket, "ticket", "", "key of a ticket, such as WEB-123")
	flags.StringArrayVar(&f.params, "param", nil, "a parameter of the scenario, NAME=VALUE; may be repeated")
	flags.StringVar(&f.key, "key", "", "makes it one run however often it is asked for, such as the number of a build")
	f.addTo(cmd)
	f.addGlass(cmd)
	f.addLater(cmd)
}

// addScenario is for the commands that find their scenario by its kind.
func (f *requestFlags) addScenario(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.req.Scenario, "scenario", "", "name of the scenario, where several fit the service")
}

// finish checks what can be checked without the server.
func (f *requestFlags) finish(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.req.Group != "" && f.req.Hosts != "" {
		return usage(errors.New("--group and --hosts do not go together: give one of them"))
	}
	if err := checkReason(cmd, f.req.Reason); err != nil {
		return err
	}
	for _, p := range f.params {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return usage(fmt.Errorf("--param %s: it is not NAME=VALUE", restart.Quote(p)))
		}
		if f.req.Params == nil {
			f.req.Params = map[string]string{}
		}
		if _, twice := f.req.Params[name]; twice {
			return usage(fmt.Errorf("--param %s is given twice", restart.Quote(name)))
		}
		f.req.Params[name] = value
	}
	return nil
}

// checkReason wants one to be given. Whether it says anything, the server
// decides, so that the audit trail has what was refused.
func checkReason(cmd *cobra.Command, reason string) error {
	if !cmd.Flags().Changed("reason") {
		return usage(restart.Errorf(restart.CodeReason, "a reason is needed: why is this done?").
			WithHint(`--reason "502s since the 14:00 deploy, workers hang"`))
	}
	if !utf8.ValidString(reason) {
		return restart.Errorf(restart.CodeReason, "the reason is not valid UTF-8 text")
	}
	return nil
}

// run goes the whole way: plan, question, start, watch.
func (f *requestFlags) run(cmd *cobra.Command) error {
	if err := f.finish(cmd); err != nil {
		return err
	}
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if f.planOnly {
		p, err := c.Plan(ctx, f.req)
		if err != nil {
			return err
		}
		return data(cmd, p, func(w io.Writer) { writePlan(w, p) })
	}
	draft, err := c.Draft(ctx, f.req, cmp.Or(f.key, restart.NewID(time.Now())))
	if err != nil {
		return err
	}
	return f.start(cmd, c, draft)
}

// planned gives a plan as it is to be shown: past an approval that broken glass
// waives, it does not wait for one.
func (b *begin) planned(p restart.Plan) restart.Plan {
	if b.glass && p.Approval != "" {
		p.Warnings = slices.DeleteFunc(slices.Clone(p.Warnings), func(w string) bool { return w == p.Approval })
	}
	return p
}

// confirm has a person at the terminal say yes; elsewhere --yes says it.
func (b *begin) confirm(ctx context.Context, cmd *cobra.Command, p restart.Plan) error {
	if b.yes {
		return nil
	}
	if !terminal(cmd.InOrStdin()) || !terminal(cmd.ErrOrStderr()) {
		return usage(restart.Errorf(restart.CodeInvalid, "nobody is there to confirm the plan").WithHint("add --yes to start it, or --plan to see it only"))
	}
	if b.glass {
		return confirmGlass(ctx, cmd, p)
	}
	n := len(p.Chosen())
	when := ""
	if b.isLater() {
		when = strings.TrimRight(" at "+b.later.At+" "+b.later.Zone, " ")
		if b.later.Window != "" {
			when = " in the next window " + b.later.Window
		}
	}
	yes, err := ask(ctx, cmd, fmt.Sprintf("\n%s %s on %s%s?", workWord(p.Kind, p.Work), restart.Escape(p.Service.Name), plural(n, "host"), restart.Escape(when)))
	if err != nil {
		return err
	}
	if !yes {
		return usage(restart.Errorf(restart.CodeInvalid, "not confirmed; nothing was done"))
	}
	return nil
}

// startError says, where the answer to the start was lost, that it may have been heard.
func startError(err error, id string) error {
	if _, lost := errors.AsType[*client.UnreachableError](err); lost {
		return &ExitError{Code: ExitUnreachable, Err: restart.Errorf(restart.CodeUnavailable, "%v", err).
			WithHint("the run may have started all the same; look: restartilka show %s", id)}
	}
	return err
}
