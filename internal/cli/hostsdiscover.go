package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/discovery"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func hostsDiscoverCommand() *cobra.Command {
	var req wire.HostDiscoverRequest
	var out string
	cmd := &cobra.Command{
		Use:   "discover EXPR",
		Short: "Draft services from the units that hosts see",
		Long: `Ask the hosts' agents which services they see, and draft from that a part of an
inventory, on standard output, and with --out files for the hosts' services.d:

  DIR/NAME/services.d/NAME.yaml        where all hosts that have it agree
  DIR/NAME/HOST/services.d/NAME.yaml   where they differ
  DIR/NAME/hosts                       the hosts, one a line

Nothing is changed on the hosts, and nothing overwritten here. It is for admins.

` + expressionHelp,
		Example: "  restartilka hosts discover %front --unit 'nginx*' --out drafts\n  restartilka hosts discover %all > inventory-draft.yaml",
		Args:    exactly("EXPR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			seen, err := inPieces(cmd, c, args[0], func(ctx context.Context, some string) ([]wire.HostDiscovery, error) {
				piece := req
				piece.Hosts = some
				return c.DiscoverHosts(ctx, piece)
			})
			if err != nil {
				return err
			}
			groups, err := c.Groups(cmd.Context())
			if err != nil {
				return err
			}
			known, err := c.Services(cmd.Context())
			if err != nil {
				return err
			}
			var reports []discovery.Report
			var answered []restart.Host
			for _, d := range seen {
				if d.Report != nil {
					answered = append(answered, d.Host)
					reports = append(reports, discovery.Report{Host: d.Host.Name, Services: d.Report.Services})
				}
			}
			services := discovery.Merge(reports, known.Items)
			if out != "" {
				if err := writeDrafts(cmd, out, services); err != nil {
					return err
				}
			}
			err = data(cmd, wire.ListOf(seen, ""), func(w io.Writer) {
				w.Write(discovery.Fragment(services, answered, groups.Items, known.Items)) //nolint:errcheck // data flushes, and tells
			})
			if err != nil {
				return err
			}
			return tellDiscoveries(cmd, seen)
		},
	}
	cmd.Flags().StringVar(&req.Unit, "unit", "", "glob that a unit's name must match, such as 'nginx*'")
	cmd.Flags().BoolVar(&req.All, "all", false, "the services of the system itself, too")
	cmd.Flags().StringVar(&out, "out", "", "folder for files that can be laid into the hosts' services.d")
	return cmd
}

// tellDiscoveries says what is not in the draft, and why. A host that has not
// answered is a failure.
func tellDiscoveries(cmd *cobra.Command, seen []wire.HostDiscovery) error {
	var away, left findings
	system := 0
	for _, d := range seen {
		name := d.Host.Name
		if d.Error != nil {
			away.add("not asked", generic(name, d.Error.Hint), name, strings.TrimPrefix(d.Error.Message, name+": "))
			continue
		}
		system = max(system, d.Report.System)
		for _, l := range d.Report.LeftOut {
			left.add("left out "+l.Unit, "", name, l.Why)
		}
		for _, note := range d.Report.Notes {
			left.add("note", "", name, note)
		}
	}
	w := cmd.ErrOrStderr()
	if !asJSON(cmd) {
		left.write(w, 5)
		if system > 0 {
			say(cmd, "\nservices of the system itself are not shown, up to %d a host: --all shows them", system)
		}
	}
	if len(away) == 0 {
		return nil
	}
	if !asJSON(cmd) {
		away.write(w, len(seen))
	}
	return &ExitError{Code: ExitFailed}
}

// writeDrafts makes a folder a service; each appears complete or not at all.
func writeDrafts(cmd *cobra.Command, out string, services []discovery.Service) error {
	for _, s := range services {
		if _, err := os.Lstat(filepath.Join(out, s.Name)); !errors.Is(err, fs.ErrNotExist) {
			return restart.Errorf(restart.CodeInvalid, "%s is there already; nothing is overwritten", filepath.Join(out, s.Name)).
				WithHint("name another folder with --out, or move it away")
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", out, err)
	}
	for _, s := range services {
		if err := writeDraft(out, s); err != nil {
			return err
		}
		say(cmd, "%s", filepath.Join(out, s.Name))
	}
	return nil
}

func writeDraft(out string, s discovery.Service) error {
	tmp, err := os.MkdirTemp(out, ".draft-*")
	if err != nil {
		return fmt.Errorf("make a folder in %s: %w", out, err)
	}
	defer os.RemoveAll(tmp) // it has another name by then
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("make a folder in %s: %w", out, err)
	}
	files := map[string][]byte{"hosts": []byte(strings.Join(s.Hosts, "\n") + "\n")}
	if s.Agree() {
		files[filepath.Join("services.d", s.Name+".yaml")] = s.Files[s.Hosts[0]]
	} else {
		for _, h := range s.Hosts {
			files[filepath.Join(h, "services.d", s.Name+".yaml")] = s.Files[h]
		}
	}
	for name, text := range files {
		path := filepath.Join(tmp, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make %s: %w", filepath.Dir(path), err)
		}
		if err := writeFile(path, text, 0o644); err != nil {
			return err
		}
	}
	dir := filepath.Join(out, s.Name)
	if err := os.Rename(tmp, dir); err != nil { // fails where dir holds anything
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}
