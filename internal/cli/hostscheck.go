package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	askAtOnce = 25 // hosts of one question to the server, …
	questions = 2  // … of which so many are open: with it, 50 hosts are asked at once
	// compact is from how many hosts on those that are ready are only counted.
	compact = 20
	// longest is the longest expression that fits an address; a longer one goes
	// to the server as it is, in one question.
	longest = 4000 // bytes
)

func hostsCheckCommand() *cobra.Command {
	var req wire.HostCheckRequest
	var only []string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "check EXPR",
		Short: "Ask the hosts' agents whether they are ready; exit code 1 where one is not",
		Long: `Ask the hosts' agents whether they are ready, and with --service what they say of
that service. Each host has one state:

  ready        tasks can run there
  no-route     its name has no address, or the network does not lead there
  silent       no answer in time: a firewall, or the host is down
  closed       the host answers, and nothing listens on the agent's port
  no-agent     something else answers on the agent's port
  certificate  one end does not accept the other's certificate
  clock        off by more than tasks may be
  version      agent and server are too far apart
  problem      what the host reports itself would refuse tasks
  trust        it would accept other scenarios than the server's shelf has

` + expressionHelp,
		Example: "  restartilka hosts check %all\n  restartilka hosts check %front-production --service nginx --verbose\n  restartilka hosts check %all --only closed,silent --json",
		Args:    exactly("EXPR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			states, err := hostStates(only)
			if err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			checks, err := inPieces(cmd, c, args[0], func(ctx context.Context, some string) ([]wire.HostCheck, error) {
				piece := req
				piece.Hosts = some
				return c.CheckHosts(ctx, piece)
			})
			if err != nil {
				return err
			}
			shown := slices.DeleteFunc(slices.Clone(checks), func(hc wire.HostCheck) bool {
				return len(states) > 0 && !slices.Contains(states, hc.State)
			})
			err = data(cmd, wire.ListOf(shown, ""), func(w io.Writer) {
				fmt.Fprintln(w, tallied(checks))
				writeChecks(w, shown, verbose)
			})
			if err != nil {
				return err
			}
			if slices.ContainsFunc(checks, func(hc wire.HostCheck) bool { return hc.State != wire.HostReady }) {
				return &ExitError{Code: ExitFailed}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&req.Service, "service", "", "ask about this service too")
	cmd.Flags().StringVar(&req.Environment, "env", "", "as a host of this environment")
	cmd.Flags().StringSliceVar(&only, "only", nil, "show only hosts in these states; the exit code tells of all")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list every host, also of many")
	return cmd
}

func hostStates(names []string) ([]wire.HostState, error) {
	var out []wire.HostState
	for _, name := range names {
		if !slices.Contains(wire.HostStates(), wire.HostState(name)) {
			return nil, usage(fmt.Errorf("--only: there is no state %s; the states are: %s", restart.Quote(name), joined(wire.HostStates())))
		}
		out = append(out, wire.HostState(name))
	}
	return out, nil
}

func joined(states []wire.HostState) string {
	var out []string
	for _, s := range states {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}

// inPieces asks the server about the hosts of an expression piece by piece, and
// tells a person at a terminal how far it is. The answer has the order of the
// expression.
func inPieces[T any](cmd *cobra.Command, c *client.Client, expr string, ask func(ctx context.Context, hosts string) ([]T, error)) ([]T, error) {
	if len(expr) > longest {
		return ask(cmd.Context(), expr)
	}
	hosts, err := c.Hosts(cmd.Context(), expr)
	if err != nil {
		return nil, err
	}
	warnStale(cmd, hosts.Stale, hosts.FetchedAt)
	pieces := slices.Collect(slices.Chunk(hosts.Items, askAtOnce))
	answers := make([][]T, len(pieces))
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	show := newCount(cmd, len(hosts.Items))
	defer show.clear()
	slots := make(chan struct{}, questions)
	var all sync.WaitGroup
	for i, piece := range pieces {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			names := make([]string, len(piece))
			for j, h := range piece {
				names[j] = h.Name
			}
			got, err := ask(ctx, strings.Join(names, ","))
			if err != nil {
				cancel(err) // one that fails, fails for all: there is no half answer
				return
			}
			answers[i] = got
			show.add(len(piece))
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return slices.Concat(answers...), nil
}

// count is the line that tells how many hosts have been asked.
type count struct {
	w     io.Writer // nil: nobody looks
	total int

	mu   sync.Mutex
	done int
}

func newCount(cmd *cobra.Command, total int) *count {
	c := &count{total: total}
	if terminal(cmd.ErrOrStderr()) && total > askAtOnce {
		c.w = cmd.ErrOrStderr()
	}
	c.add(0)
	return c
}

func (c *count) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.w != nil {
		fmt.Fprintf(c.w, "\r%d of %d hosts asked", c.done, c.total)
	}
}

// clear takes the line away.
func (c *count) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w != nil {
		fmt.Fprint(c.w, "\r\x1b[K")
	}
}

// tallied counts the states: "797 ready, 2 closed, 1 clock".
func tallied(checks []wire.HostCheck) string {
	counts := map[wire.HostState]int{}
	for _, hc := range checks {
		counts[hc.State]++
	}
	parts := []string{fmt.Sprintf("%d ready", counts[wire.HostReady])}
	for _, s := range wire.HostStates() {
		if n := counts[s]; n > 0 && s != wire.HostReady {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
		delete(counts, s)
	}
	for s, n := range counts { // of a newer server
		parts = append(parts, fmt.Sprintf("%d %s", n, restart.Escape(string(s))))
	}
	return strings.Join(parts, ", ")
}
