package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const expressionHelp = `An expression is a comma list of hosts, %group, %group@datacentre, #tag,
node[01-20], and -anything to leave out. Quote it from the shell.`

func hostsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hosts [EXPR]",
		Short: "List the hosts of an expression, or all",
		Long:  "List the hosts of an expression, or all.\n\n" + expressionHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactly("EXPR")(&cobra.Command{Use: "hosts [EXPR]"}, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect()
			if err != nil {
				return err
			}
			expr := strings.Join(args, "")
			hosts, err := c.Hosts(cmd.Context(), expr)
			if expr == "" && restart.CodeOf(err) == restart.CodeInvalid { // nothing was asked that could be: there is no host
				hosts, err = nil, nil
			}
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(hosts), inventoryHint)
			return data(cmd, wire.ListOf(hosts, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(hosts))
				for _, h := range hosts {
					rows = append(rows, []string{h.Name, h.Address, h.DataCentre, strings.Join(h.Tags, " ")})
				}
				table(w, []string{"HOST", "ADDRESS", "DC", "TAGS"}, rows)
			})
		},
	}
	cmd.AddCommand(hostsCheckCommand())
	return cmd
}

func hostsCheckCommand() *cobra.Command {
	var req wire.HostCheckRequest
	cmd := &cobra.Command{
		Use:   "check EXPR",
		Short: "Ask the hosts' agents whether they are ready; exit code 1 where one is not",
		Long:  "Ask the hosts' agents whether they are ready, and with --service what they say of that service.\n\n" + expressionHelp,
		Args:  exactly("EXPR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect()
			if err != nil {
				return err
			}
			req.Hosts = args[0]
			checks, err := c.CheckHosts(cmd.Context(), req)
			if err != nil {
				return err
			}
			if err := data(cmd, wire.ListOf(checks, ""), func(w io.Writer) { writeChecks(w, checks) }); err != nil {
				return err
			}
			for _, hc := range checks {
				if hc.State != wire.HostReady {
					return &ExitError{Code: ExitFailed}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&req.Service, "service", "", "ask about this service too")
	cmd.Flags().StringVar(&req.Environment, "env", "", "as a host of this environment")
	return cmd
}

func writeChecks(w io.Writer, checks []wire.HostCheck) {
	rows := make([][]string, 0, len(checks))
	for _, hc := range checks {
		row := []string{hc.Host.Name, hc.State, "", "", "", ""}
		var notes []string
		if r := hc.Report; r != nil {
			row[2], row[3] = r.Program, r.Containment
			if r.Service != nil {
				row[4], row[5] = r.Service.Installed, r.Service.UnitState
			}
			for _, p := range r.Problems {
				notes = append(notes, p.Message)
			}
			notes = append(notes, weaker(r)...)
		}
		if hc.Error != nil && (hc.Report == nil || len(hc.Report.Problems) == 0) {
			notes = append(notes, strings.TrimPrefix(hc.Error.Error(), hc.Host.Name+": "))
		}
		if hc.Skew != 0 && hc.Error == nil {
			notes = append(notes, "clock off by "+hc.Skew.String())
		}
		if len(notes) > 0 {
			row = append(row, restart.Escape(strings.Join(notes, "; ")))
		}
		rows = append(rows, row)
	}
	table(w, []string{"HOST", "STATE", "AGENT", "CONTAINMENT", "VERSION", "UNIT", "NOTE"}, rows)
}

// weaker gives in short what a host can't do as well as another: the first
// clause of each sentence, without what the containment's column says.
func weaker(r *protocol.CheckReport) []string {
	_, why, _ := strings.Cut(strings.TrimSuffix(r.Containment, ")"), " (")
	var out []string
	for _, text := range r.Weaker {
		if why != "" && strings.HasSuffix(text, ": "+why) {
			continue
		}
		text, _, _ = strings.Cut(text, ": ")
		out = append(out, text)
	}
	return out
}
