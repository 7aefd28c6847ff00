// Command bench measures restartilka against the goals that its design names,
// and against what people would use instead, on this machine: with the real
// server and agent programs, on loopback addresses only. It writes
// bench/results.json, prints a table, and puts that into docs/performance.md,
// which says what each figure means.
//
//	go run ./bench                      everything; a few minutes
//	go run ./bench --only page_p99_ms   one figure, and those that come with it; writes nothing
//	go run ./bench --only hosts_10000_s --fleet 2000   the same with fewer hosts
//	go run ./bench --only page_p99_ms --history 50000  the same with a shorter history
//	go run ./bench --quick              tiny sizes, to see that it works; writes nothing
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/test/company"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == capture.Verb {
		os.Exit(capture.Main()) //nolint:forbidigo // this is main, as a child that takes a dump
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	company.RemovePrograms()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// sizes says how much is measured.
type sizes struct {
	hosts    int  // of a run that goes from one to the next
	rounds   int  // of such runs
	fleet    int  // simulated hosts
	batch    int  // of them at once
	history  int  // runs in the database
	requests int  // requests for each page
	tries    int  // of each baseline
	threads  int  // of the JVM
	viewers  int  // of one run's page at once
	shipped  int  // audit records that a receiver takes
	verified int  // of an audit trail
	peers    bool // ansible too
}

var (
	full  = sizes{hosts: 20, rounds: 8, fleet: 10_000, batch: 200, history: 1_000_000, requests: 100, tries: 40, threads: 200, viewers: 500, shipped: 200_000, verified: 10_000_000, peers: true}
	quick = sizes{hosts: 2, rounds: 1, fleet: 40, batch: 20, history: 600, requests: 3, tries: 3, threads: 5, viewers: 3, shipped: 2000, verified: 20_000}
)

// group is one arrangement of programs and the figures that come from it.
type group struct {
	figures []string
	measure func(*session, *bed) error
}

var groups = []group{
	{[]string{"baselines", "fork_exec_ms", "fsync_ms", "ssh_ms", "ansible_ms"}, (*session).baselines},
	{[]string{"jvm_dump_ms", "jcmd_ms"}, (*session).jvmDumps},
	{[]string{"per_host_overhead_ms", "serial_20_hosts_s", "agent_rss_mb", "server_start_ms"}, (*session).walk},
	{[]string{"comparison"}, (*session).compare},
	{[]string{"agent_fsyncs", "server_commits"}, (*session).count},
	{[]string{"event_to_browser_ms"}, (*session).events},
	{[]string{"hosts_10000_s", "server_rss_mb"}, (*session).scale},
	{[]string{"audit_ship_per_s"}, (*session).ship},
	{[]string{"audit_record_ms"}, (*session).record},
	{[]string{"page_p99_ms"}, (*session).pages},
	{[]string{"audit_verify_10m_s", "audit_verify_rss_mb"}, (*session).verifyTrail},
}

// What a whole run writes, from the top of the source tree.
const (
	official = "bench/results.json"
	document = "docs/performance.md"
)

// session is one call of the program.
type session struct {
	sizes
	results Results
	say     io.Writer
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "measure this figure, and those that come with it")
	out := flags.String("out", "", "write the results to this file (default bench/results.json; with --only and --quick: none)")
	hosts := flags.Int("fleet", full.fleet, "with --only: so many simulated hosts")
	history := flags.Int("history", full.history, "with --only: so many runs in the history")
	small := flags.Bool("quick", false, "tiny sizes, to see that it works")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	s := &session{sizes: full, say: stderr}
	if *small {
		s.sizes = quick
	}
	if *hosts != full.fleet {
		if *only == "" || *hosts < 1 {
			return errors.New("--fleet is a number of hosts, and goes with --only hosts_10000_s")
		}
		s.fleet = *hosts
	}
	if *history != full.history {
		if *only == "" || *history < 1 {
			return errors.New("--history is a number of runs, and goes with --only page_p99_ms")
		}
		s.history = *history
	}
	if *out == "" && *only == "" && !*small {
		*out = official
		if _, err := os.Stat(filepath.Dir(*out)); err != nil {
			return errors.New("run it from the top of the source tree, or say --out FILE")
		}
	}
	chosen := groups
	if *only != "" {
		chosen = slices.DeleteFunc(slices.Clone(groups), func(g group) bool { return !slices.Contains(g.figures, *only) })
		if len(chosen) == 0 {
			return fmt.Errorf("there is no figure %q; there are: %s", *only, strings.Join(figureNames(), ", "))
		}
	}
	s.results.Machine = describeMachine(ctx, *out)
	begun := time.Now()
	for _, g := range chosen {
		fmt.Fprintf(stderr, "%6.1f s  %s …\n", time.Since(begun).Seconds(), strings.Join(g.figures, ", "))
		if err := onBed(ctx, stderr, func(b *bed) error { return g.measure(s, b) }); err != nil {
			return fmt.Errorf("%s: %w", g.figures[0], err)
		}
	}
	s.results.Took = round(time.Since(begun).Seconds(), 1)
	s.results.table(stdout)
	if *out == "" {
		return nil
	}
	if err := s.results.write(*out); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "written to %s\n", *out)
	if *out != official {
		return nil
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	fresh, err := s.results.inDocument(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	return replace(document, []byte(fresh))
}

func figureNames() []string {
	var all []string
	for _, g := range groups {
		all = append(all, g.figures...)
	}
	return all
}

// absent says why a figure is null.
func (s *session) absent(figure, why string) {
	if s.results.Absent == nil {
		s.results.Absent = map[string]string{}
	}
	s.results.Absent[figure] = why
}

// detail keeps a figure that stands behind the ones with goals.
func (s *session) detail(name string, value any) {
	if s.results.Details == nil {
		s.results.Details = map[string]any{}
	}
	s.results.Details[name] = value
}
