package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/wire"
)

const demoReason = "demo: shows one sequential restart, host after host"

// demoCommand is `restartilka demo`: a whole small company on this machine.
func demoCommand() *cobra.Command {
	var d demoRun
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it here: a server, three agents, a real little service, one restart",
		Long: `Start a server with its own authority and database, three agents on
127.0.0.11 to 127.0.0.13 (port 3131) and a small web service that each of them
looks after; restart the service across the three, one after another; then keep
serving until Ctrl-C. It needs no root, and takes everything away again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			d.out, d.talk = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if d.asJSON, err = cmd.Flags().GetBool("json"); err != nil {
				return err
			}
			// Of its own, so that even a second Ctrl-C leaves nothing running.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			err = d.run(ctx)
			if quiet(err) {
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&d.once, "once", false, "exit after the restart, with its exit code")
	f.StringVar(&d.dir, "dir", "", "keep everything in this folder (default: a temporary one, removed at the end)")
	f.StringVar(&d.listen, "listen", "127.0.0.1:8443", "address and port of the server")
	cmd.AddCommand(demoServiceCommand())
	return cmd
}

// demoServiceCommand holds the verbs of the demo's little service; the demo's
// reviewed scenario calls them.
func demoServiceCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{Use: "service", Short: "The demo's little service", Hidden: true}
	cmd.PersistentFlags().StringVar(&dir, "dir", "", "folder of the service")
	verb := func(name string, do func(ctx context.Context) error) *cobra.Command {
		return &cobra.Command{Use: name, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return do(cmd.Context()) }}
	}
	cmd.AddCommand(
		verb("run", func(ctx context.Context) error { return demo.RunService(ctx, dir) }),
		verb("stop", func(ctx context.Context) error { return demo.StopService(ctx, dir) }),
		verb("check", func(ctx context.Context) error { return demo.CheckService(ctx, dir) }),
		verb("start", func(ctx context.Context) error {
			program, err := self()
			if err != nil {
				return err
			}
			return demo.StartService(ctx, program, dir)
		}),
	)
	return cmd
}

// demoRun is one demo from its start to its end.
type demoRun struct {
	once, asJSON bool
	dir, listen  string
	out, talk    io.Writer
}

// demoInfo is demo.json.
type demoInfo struct {
	URL            string      `json:"url"`
	CA             string      `json:"ca"`
	User           string      `json:"user"`
	Password       string      `json:"password"`
	DeveloperToken string      `json:"developer_token"`
	AdminToken     string      `json:"admin_token"`
	Hosts          []string    `json:"hosts"`
	Agents         []agentInfo `json:"agents"`
}

type agentInfo struct {
	Host    string `json:"host"`
	Address string `json:"address"`
	PID     int    `json:"pid"`
	Spool   string `json:"spool"`
}

func (d *demoRun) run(ctx context.Context) (err error) {
	program, err := self()
	if err != nil {
		return err
	}
	agentProgram, err := demo.FindAgent(program)
	if err != nil {
		return err
	}
	remove, err := d.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	layout, err := demo.NewLayout(d.dir, program, d.listen)
	if err != nil {
		return err
	}
	first, err := d.prepare(ctx, layout)
	if err != nil {
		return err
	}
	fleet, err := demo.StartFleet(ctx, layout, agentProgram)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Stop()) }()
	cfg, err := server.ReadConfig(first.Config)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(layout.Dir, "server.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()
	s, err := server.Open(ctx, cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		return err
	}
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- s.Run(serving) }()
	defer func() {
		stopServing()
		err = errors.Join(err, <-served)
	}()
	return d.show(ctx, layout, first, fleet, s)
}

// folder makes the demo's folder, and gives what takes it away again.
func (d *demoRun) folder() (remove func() error, err error) {
	if d.dir != "" {
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the demo's folder: %w", err)
		}
		if _, err := os.Lstat(filepath.Join(d.dir, "server", "server.yaml")); err == nil {
			return nil, restart.Errorf(restart.CodeConflict, "%s holds a demo already", d.dir).WithHint("choose another folder, or remove that one")
		}
		return func() error { return nil }, nil
	}
	if d.dir, err = os.MkdirTemp("", "restartilka-demo-"); err != nil {
		return nil, fmt.Errorf("make the demo's folder: %w", err)
	}
	return func() error { return os.RemoveAll(d.dir) }, nil
}

func (d *demoRun) prepare(ctx context.Context, l demo.Layout) (server.InitResult, error) {
	r, err := server.Init(ctx, server.InitOptions{Dir: l.ServerDir(), Data: l.DataDir(), Name: "demo", Listen: l.Listen, Admin: "admin"})
	if err != nil {
		return r, err
	}
	if err := l.WriteServer(); err != nil {
		return r, err
	}
	return r, l.WriteHosts(time.Now())
}

// show does what the demo is for: a token for a developer, one restart, and
// then the words that say where to go on.
func (d *demoRun) show(ctx context.Context, l demo.Layout, first server.InitResult, fleet *demo.Fleet, s *server.Server) error {
	url := "https://" + s.Address()
	admin, err := client.New(client.Config{URL: url, CAFile: first.CA, Token: first.Token})
	if err != nil {
		return err
	}
	defer d.settle(context.WithoutCancel(ctx), admin)
	user, err := admin.CreateUser(ctx, wire.UserRequest{Name: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper}})
	if err != nil {
		return err
	}
	created, err := admin.CreateToken(ctx, wire.TokenRequest{Name: "demo", Owner: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper}})
	if err != nil {
		return err
	}
	developer, err := client.New(client.Config{URL: url, CAFile: first.CA, Token: created.Secret})
	if err != nil {
		return err
	}
	info := demoInfo{URL: url, CA: first.CA, User: demo.Developer, Password: user.Password, DeveloperToken: created.Secret, AdminToken: first.Token}
	for _, a := range fleet.Agents() {
		info.Hosts = append(info.Hosts, a.Host.Name)
		info.Agents = append(info.Agents, agentInfo{Host: a.Host.Name, Address: a.Host.Address + ":3131", PID: a.PID, Spool: filepath.Join(a.Host.Dir, "spool")})
	}
	if err := writeInfo(filepath.Join(l.Dir, "demo.json"), info); err != nil {
		return err
	}
	code, err := d.restart(ctx, developer)
	if err != nil {
		return err
	}
	if d.once {
		flush, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := s.Flush(flush); err != nil {
			return err
		}
		return cli.Exit(code)
	}
	d.goOn(l, info)
	<-ctx.Done()
	fmt.Fprintln(d.talk, "\nstopping: agents, service and server")
	return nil
}

// settle ends what is still in hand, so that no supervisor outlives the demo.
func (d *demoRun) settle(ctx context.Context, admin *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	open := wire.RunQuery{States: []restart.RunState{restart.RunQueued, restart.RunRunning, restart.RunPaused}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		runs, err := admin.Runs(ctx, open)
		if err == nil && len(runs.Items) == 0 {
			return
		}
		for _, run := range runs.Items {
			if run.Control != restart.ControlForceAbort && err == nil {
				_, err = admin.ForceAbort(ctx, run.ID)
			}
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(d.talk, "a run could not be ended: %v\n", err)
			return
		case <-tick.C:
		}
	}
}

// restart asks for the one restart and watches it; the code is the run's.
func (d *demoRun) restart(ctx context.Context, c *client.Client) (int, error) {
	run, err := c.Draft(ctx, restart.Request{Service: demo.ServiceName, Reason: demoReason}, "")
	if err != nil {
		return 0, err
	}
	if !d.asJSON {
		cli.ShowPlan(d.out, run)
	}
	if run, err = c.Start(ctx, run.ID, wire.StartRequest{}); err != nil {
		return 0, err
	}
	return cli.Watch(ctx, c, run.ID, cli.WatchOptions{Out: d.out, Talk: d.talk, JSON: d.asJSON})
}

func (d *demoRun) goOn(l demo.Layout, info demoInfo) {
	fmt.Fprintf(d.talk, `
The demo goes on until Ctrl-C. The page; its certificate is from the demo's own
authority, %[1]s:

  %[2]s    user %[3]s, password %[4]s

Another terminal:

  export RESTARTILKA_URL=%[2]s RESTARTILKA_CA=%[5]s
  export RESTARTILKA_TOKEN=%[6]s
  %[7]s restart %[8]s --reason "trying it out by hand"
  curl http://%[11]s/hang
  %[7]s dump %[8]s --reason "orders hang on one host"
  %[7]s runs
  %[7]s audit verify %[9]s

Everything lies in %[10]s; demo.json there is for scripts.
`, info.CA, info.URL, info.User, info.Password, info.CA, info.DeveloperToken, l.Self, demo.ServiceName, l.AuditFile(), l.Dir, l.Hosts[1].ServiceAddress())
}

// writeInfo writes demo.json at once, so that whoever waits for it never sees
// half of it.
func writeInfo(path string, info demoInfo) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write demo.json: %w", err)
	}
	if err := errors.Join(printJSON(f, info), f.Close()); err != nil {
		return fmt.Errorf("write demo.json: %w", err)
	}
	return os.Rename(path+".new", path)
}
