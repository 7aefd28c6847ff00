// Command faults breaks the real programs, over and over, and counts whether
// any promise was broken with them: the server, the agent and its supervisors
// as processes, on SQLite and on PostgreSQL with several servers, with a witness
// outside the product that counts executions.
//
//	go run ./test/faults --n 200                 make faults N=200
//	go run ./test/faults --n 200 --seed 42       the same kinds at the same moments; real time differs
//	go run ./test/faults --n 20 --kinds kill-server,torn-spool
//	go run ./test/faults --n 2000 --write docs/reliability.md
//	go run ./test/faults --list                  what there is to break
//
// It ends with one line of JSON on standard output. Exit: 0 every promise kept,
// 1 one was broken, or something hung, 2 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/test/company"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	company.RemovePrograms()
	os.Exit(code) //nolint:forbidigo // this is main
}

// options of one call.
type options struct {
	n     int
	seed  uint64
	kinds string
	lanes string
	keep  bool
	write string
}

// The lanes, by what a machine of two cores does side by side.
var allLanes = []laneKind{{"sqlite-1", 1}, {"sqlite-2", 1}, {"sqlite-3", 1}, {"postgres-2", 2}, {"postgres-3", 3}}

// hangTime is how long nothing may come to an end before all of it is given up.
const hangTime = 5 * time.Minute

func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.n, "n", 200, "so many injections")
	flags.Uint64Var(&o.seed, "seed", 0, "of kinds and moments; 0 = a new one")
	flags.StringVar(&o.kinds, "kinds", "", "only these, by comma (--list names them); the long ones only come this way, and in runs of 300 and more")
	flags.StringVar(&o.lanes, "lanes", "", "only these, by comma: sqlite-1 … sqlite-3, postgres-2, postgres-3")
	flags.BoolVar(&o.keep, "keep", false, "keep the logs also where nothing was found")
	flags.StringVar(&o.write, "write", "", "put the figures into this document, between its two marks (docs/reliability.md)")
	list := flags.Bool("list", false, "print the kinds")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *list {
		for _, k := range kinds {
			fmt.Fprintf(stdout, "%-26s %s\n", k.name, k.what)
		}
		return 0
	}
	if o.n < 1 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "faults: --n is a number of injections from 1, and there are no arguments")
		return 2
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of a store that is made ready
	f, err := breakThings(ctx, o, stderr)
	if f == nil {
		fmt.Fprintln(stderr, "faults:", err)
		return 2
	}
	f.table(stderr)
	r := f.result()
	fmt.Fprintln(stdout, r.line())
	if o.write != "" && err == nil { // of a whole run only
		err = f.intoDocument(o)
	}
	if err != nil {
		fmt.Fprintln(stderr, "faults:", err)
	}
	if err != nil || !r.good() || os.Getenv("CI") == "true" && len(f.absent) > 0 {
		fmt.Fprintf(stderr, "again: make faults N=%d SEED=%d%s\n", o.n, o.seed, o.again())
		return 1
	}
	return 0
}

func (o options) again() string {
	args := ""
	if o.kinds != "" {
		args += " --kinds " + o.kinds
	}
	if o.lanes != "" {
		args += " --lanes " + o.lanes
	}
	if args == "" {
		return ""
	}
	return fmt.Sprintf(" ARGS=%q", args[1:])
}

// breakThings makes all the injections. Its error says why it could not.
func breakThings(ctx context.Context, o options, stderr io.Writer) (*figures, error) {
	f := &figures{seed: o.seed, began: time.Now(), missed: map[string]int{}, absent: map[string]string{}}
	m := look()
	chosen, lanes, err := o.choose(m, f)
	if err != nil {
		return nil, err
	}
	var talking sync.Mutex
	say := func(format string, args ...any) {
		talking.Lock()
		defer talking.Unlock()
		fmt.Fprintf(stderr, "%7.1f s  %s\n", time.Since(f.began).Seconds(), fmt.Sprintf(format, args...))
	}
	say("seed %d: kinds, order and moments come from it; how fast this machine is does not", o.seed)
	for kind, why := range f.absent {
		say("NOT INJECTED: %s: %s", kind, why)
	}
	dir, err := os.MkdirTemp("", "restartilka-faults-")
	if err != nil {
		return nil, err
	}
	asked := ctx // over at Ctrl-C
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var moved atomic.Int64 // when something last came to an end
	moved.Store(time.Now().UnixNano())
	go watchdog(ctx, cancel, &moved, stderr)
	var working sync.WaitGroup
	errs := make([]error, len(lanes))
	done := atomic.Int64{}
	for i, todo := range plan(o.seed, o.n, chosen, lanes) {
		if len(todo) == 0 {
			continue
		}
		working.Go(func() {
			home := filepath.Join(dir, lanes[i].name)
			if errs[i] = os.Mkdir(home, 0o755); errs[i] != nil {
				return
			}
			errs[i] = onBed(ctx, home, func(format string, args ...any) { say(lanes[i].name+": "+format, args...) }, func(b *bed) {
				led := &ledger{}
				l := newLane(b, lanes[i], m, led)
				for _, inj := range todo {
					b.say("%s (%d of %d)", inj.kind.name, done.Add(1), o.n)
					if err := l.play(ctx, inj, f); err != nil {
						b.Fatalf("injection %d, %s: %v", inj.n, inj.kind.name, err)
					}
					moved.Store(time.Now().UnixNano())
				}
				l.conclude(ctx, f)
				moved.Store(time.Now().UnixNano())
			})
		})
	}
	working.Wait()
	err = errors.Join(errs...)
	if cause := context.Cause(ctx); cause != nil {
		err = errors.Join(cause, err)
	}
	if len(f.findings) == 0 && !o.keep && (err == nil || asked.Err() != nil) { // nobody looks into what was interrupted
		return f, errors.Join(err, os.RemoveAll(dir))
	}
	say("the logs are kept in %s", dir)
	return f, err
}

// choose gives the kinds and lanes of a call, and notes what can't be made
// here.
func (o options) choose(m means, f *figures) ([]*kind, []laneKind, error) {
	lanes := slices.Clone(allLanes)
	if o.lanes != "" {
		names := strings.Split(o.lanes, ",")
		lanes = slices.DeleteFunc(lanes, func(l laneKind) bool { return !slices.Contains(names, l.name) })
		if len(lanes) != len(names) {
			return nil, nil, fmt.Errorf("--lanes %s: there are sqlite-1, sqlite-2, sqlite-3, postgres-2, postgres-3", o.lanes)
		}
	}
	if !m.postgres {
		lanes = slices.DeleteFunc(lanes, laneKind.postgres)
	}
	var chosen []*kind
	names := strings.Split(o.kinds, ",")
	for i := range kinds {
		k := &kinds[i]
		if o.kinds != "" && !slices.Contains(names, k.name) {
			continue
		}
		if err := m.lacks(k); err != nil {
			f.absent[k.name] = err.Error()
			continue
		}
		if o.kinds != "" && k.weight == 0 { // a long one that is wished for
			wished := *k
			wished.weight = 1
			k = &wished
		}
		if slices.ContainsFunc(lanes, k.fits) {
			chosen = append(chosen, k)
		}
	}
	if len(chosen)+len(f.absent) < len(names) && o.kinds != "" {
		return nil, nil, fmt.Errorf("--kinds %s: not all of these are known, or fit the lanes; see --list", o.kinds)
	}
	if len(chosen) == 0 {
		return nil, nil, errors.New("nothing can be broken here: see above")
	}
	return chosen, lanes, nil
}

// watchdog gives everything up when nothing has come to an end for too long,
// and leaves the hard way where even that hangs.
func watchdog(ctx context.Context, cancel context.CancelCauseFunc, moved *atomic.Int64, stderr io.Writer) {
	for pause(ctx, time.Second) {
		if still := time.Since(time.Unix(0, moved.Load())); still > hangTime {
			fmt.Fprintf(stderr, "HANGS: no injection has come to its end for %s; all is given up\n", still.Round(time.Second))
			pprof.Lookup("goroutine").WriteTo(stderr, 1) //nolint:errcheck // to a terminal
			cancel(errors.New("nothing has come to an end for " + hangTime.String()))
			time.AfterFunc(time.Minute, func() {
				fmt.Fprintln(stderr, "HANGS: not even that; what was started dies with this process, its folders stay in", os.TempDir())
				os.Exit(1) //nolint:forbidigo // nothing else is left
			})
			return
		}
	}
}
