package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func hostCommand() *cobra.Command {
	return Parent("host", "Enrol hosts: join tokens, keys and certificates",
		hostJoinTokenCommand(), hostIssueCommand(), hostCertificatesCommand(), hostRevokeCommand())
}

func hostIssueCommand() *cobra.Command {
	var from, out string
	var skip bool
	cmd := &cobra.Command{
		Use:   "issue [HOST…] [--from LIST] --out DIR",
		Short: "Make keys and certificates for hosts",
		Long: `Make a folder for each host with all that its agent needs for /etc/restartilka:
agent.key, made here and never sent anywhere; agent.crt, signed by the server's
own authority; ca.crt and server.pub, by which the agent knows its server; and
agent.yaml. Nothing is overwritten: a folder that is there is an error, or, with
--skip-existing, left as it is, so that a list can be gone on with.`,
		Example: "  restartilka host issue web01.example.com web02.example.com --out hosts\n  restartilka host issue --from hosts.txt --out hosts --skip-existing",
		RunE: func(cmd *cobra.Command, args []string) error {
			hosts, err := hostNames(cmd.InOrStdin(), from, args)
			if err != nil {
				return err
			}
			todo, err := withoutFolder(hosts, out, skip)
			if err != nil {
				return err
			}
			if n := len(hosts) - len(todo); n > 0 {
				say(cmd, "%s skipped: what is there is left as it is", plural(n, "host"))
			}
			made := wire.ListOf([]string{}, "")
			if len(todo) > 0 {
				c, err := connect(cmd)
				if err != nil {
					return err
				}
				if made.Items, err = issueAll(cmd.Context(), c, out, todo); err != nil {
					say(cmd, "%d of %s made; go on with --skip-existing", len(made.Items), plural(len(todo), "host"))
					return err
				}
			}
			return data(cmd, made, func(w io.Writer) {
				for _, dir := range made.Items {
					fmt.Fprintln(w, dir)
				}
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "file with a host name a line (# begins a comment; - is standard input)")
	cmd.Flags().StringVar(&out, "out", "", "folder in which the hosts' folders are made")
	cmd.Flags().BoolVar(&skip, "skip-existing", false, "leave out hosts whose folder is there")
	cmd.MarkFlagRequired("out") //nolint:errcheck // the flag is there: a few lines above
	return cmd
}

// withoutFolder gives the hosts that have no folder yet; one that has is an
// error, or left out.
func withoutFolder(hosts []string, out string, skip bool) ([]string, error) {
	var todo []string
	for _, h := range hosts {
		_, err := os.Lstat(filepath.Join(out, h))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			todo = append(todo, h)
		case !skip:
			return nil, restart.Errorf(restart.CodeInvalid, "%s is there already; nothing is overwritten", filepath.Join(out, h)).
				WithHint("--skip-existing leaves out the hosts that are there")
		}
	}
	return todo, nil
}

// issueAtOnce is how many requests are on their way at a time: the server
// stores them together, in one commit.
const issueAtOnce = 16

// issueAll makes the hosts' folders, and gives those that were made, in the
// order of the list. After the first error no other host is begun.
func issueAll(ctx context.Context, c *client.Client, out string, hosts []string) ([]string, error) {
	dirs := make([]string, len(hosts))
	var next atomic.Int64
	var first atomic.Pointer[error]
	var workers sync.WaitGroup
	for range min(issueAtOnce, len(hosts)) {
		workers.Go(func() {
			for first.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(hosts) {
					return
				}
				dir, err := issueHost(ctx, c, out, hosts[i])
				if err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
				dirs[i] = dir
			}
		})
	}
	workers.Wait()
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return dir == "" })
	if err := first.Load(); err != nil {
		return dirs, *err
	}
	return dirs, nil
}

// hostNames reads and checks the names of args and of the list.
func hostNames(stdin io.Reader, from string, args []string) ([]string, error) {
	names := slices.Clone(args)
	if from != "" {
		r := stdin
		if from != "-" {
			f, err := os.Open(from)
			if err != nil {
				return nil, restart.Errorf(restart.CodeInvalid, "the list can't be read: %w", err)
			}
			defer f.Close() // read only
			r = f
		}
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			name, _, _ := strings.Cut(lines.Text(), "#")
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "the list can't be read: %w", err)
		}
	}
	if len(names) == 0 {
		return nil, usage(errors.New("no host is named: give names, or a list with --from"))
	}
	seen := map[string]bool{}
	for _, name := range names {
		if err := restart.CheckHost(name); err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, restart.Errorf(restart.CodeInvalid, "host %s is named twice", name)
		}
		seen[name] = true
	}
	return names, nil
}

// agentSettings are the part of agent.yaml that follows from the enrolment.
type agentSettings struct {
	Host         string   `yaml:"host"`
	Certificate  string   `yaml:"certificate"`
	Key          string   `yaml:"key"`
	CA           string   `yaml:"ca"`
	Servers      []string `yaml:"servers"`
	EnvelopeKeys []string `yaml:"envelope_keys"`
}

// issueHost makes one host's folder: it appears complete or not at all.
func issueHost(ctx context.Context, c *client.Client, out, host string) (dir string, err error) {
	key, csr, err := pki.NewAgentCSR(host)
	if err != nil {
		return "", err
	}
	got, err := c.IssueHost(ctx, host, csr)
	if err != nil {
		return "", err
	}
	const etc = "/etc/restartilka/"
	settings, err := yaml.Dump(agentSettings{
		Host: host, Certificate: etc + "agent.crt", Key: etc + "agent.key", CA: etc + "ca.crt",
		Servers: []string{got.Server}, EnvelopeKeys: []string{etc + "server.pub"},
	})
	if err != nil {
		return "", fmt.Errorf("encode agent.yaml: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", out, err)
	}
	tmp, err := os.MkdirTemp(out, ".issue-*") // 0700
	if err != nil {
		return "", fmt.Errorf("make a folder in %s: %w", out, err)
	}
	defer os.RemoveAll(tmp) // it has another name by then
	for _, f := range []struct {
		name string
		text []byte
		mode fs.FileMode
	}{
		{"agent.key", key, 0o600},
		{"agent.crt", []byte(got.Certificate), 0o644},
		{"ca.crt", []byte(got.CA), 0o644},
		{"server.pub", []byte(got.EnvelopeKey), 0o644},
		{"agent.yaml", append([]byte("# The agent of "+host+". Everything else has a default: see docs/reference/agent.md.\n"), settings...), 0o644},
	} {
		if err := writeFile(filepath.Join(tmp, f.name), f.text, f.mode); err != nil {
			return "", err
		}
	}
	dir = filepath.Join(out, host)
	if err := os.Rename(tmp, dir); err != nil { // fails where dir holds anything
		return "", fmt.Errorf("make %s: %w", dir, err)
	}
	return dir, nil
}
