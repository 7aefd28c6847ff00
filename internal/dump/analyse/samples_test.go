package analyse_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/dump/parse"
)

// samples is where dumps of real processes are kept.
const samples = "../parse/testdata/samples"

// TestSamples says what is found in dumps of real processes, of which it is
// known what they did.
func TestSamples(t *testing.T) {
	t.Parallel()
	const monitors = "Deadlock: `order-writer` and `stock-writer` wait for each other in a circle"
	const locks = "and `<b>right</b>` wait for each other in a circle, the first of them for the lock `ReentrantLock` in `Deadlock.locks`."
	for file, want := range map[string][]string{
		"hotspot-jdk17-deadlock.txt":         {monitors, "1 more thread waits behind them.", locks},
		"hotspot-jdk17-journal.txt":          {monitors, locks},
		"hotspot-jdk25-deadlock-sigquit.txt": {monitors, locks},
		"hotspot-json-jdk25-deadlock.json":   {monitors},
		"hotspot-plain-jdk25-deadlock.txt":   {monitors},
		"hotspot-jdk25-pool-histogram.txt":   {"Nothing stands out"},
		"hotspot-jdk17-jhsdb.txt":            {"Nothing stands out"},
		"hotspot-jdk25-virtual.txt":          {"Nothing stands out"},
		"hotspot-json-jdk25-virtual.json":    {"Nothing stands out"},
		"goroutines-go126-deadlock.txt":      {"The process died: fatal error: all goroutines are asleep - deadlock."},
		"goroutines-go126-panic.txt":         {"The process died: panic: runtime error: invalid memory address"},
		"goroutines-go126-profile.txt":       {"4 of 14 threads wait for the lock `Mutex` in `main.(*store).get`"},
		"goroutines-go126-sigquit.txt":       {"4 of 21 threads wait for the lock `Mutex`", "The dump was written on SIGQUIT"},
		"faulthandler-python313-fatal.txt":   {"The process died: Fatal Python error: Segmentation fault."},
		"faulthandler-python313-timeout.txt": {"Nothing stands out"},
	} {
		said := findingsOf(t, file)
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("%s: %q is not said:\n%s", file, w, said)
			}
		}
		if strings.Contains(said, "alarm: ") && want[0] == "Nothing stands out" {
			t.Errorf("%s: nothing was wrong:\n%s", file, said)
		}
	}
}

func findingsOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(samples, file))
	if err != nil {
		t.Fatal(err)
	}
	dumps, err := parse.Bytes(text)
	if err != nil {
		t.Fatal(err)
	}
	return said(analyse.Series(dumps, analyse.Options{}).Findings)
}

// TestSamplePool: of twelve workers nine are idle, and three serve.
func TestSamplePool(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"hotspot-jdk17-jhsdb.txt", "hotspot-jdk17-pool-sigquit.txt", "hotspot-jdk25-pool-histogram.txt"} {
		text, err := os.ReadFile(filepath.Join(samples, file))
		if err != nil {
			t.Fatal(err)
		}
		dumps, err := parse.Bytes(text)
		if err != nil {
			t.Fatal(err)
		}
		pools := analyse.Series(dumps, analyse.Options{}).Pools
		if len(pools) != 1 || pools[0].Threads != 12 || pools[0].Busy != 3 || pools[0].Idle != 9 || pools[0].Exhausted {
			t.Errorf("%s: the pools are %+v", file, pools)
		}
	}
}

// TestAllSamplesAreAnalysed: whatever can be read can be judged, and drawn.
func TestAllSamplesAreAnalysed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(samples, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no samples: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dumps, err := parse.Bytes(text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		r := analyse.Series(dumps, analyse.Options{})
		sum := 0
		for _, g := range r.Groups {
			sum += g.Threads
		}
		if sum != r.Threads || r.Verdict().Kind == analyse.NoThreads {
			t.Errorf("%s: %d threads in groups of %d; %s", file, r.Threads, sum, r.Verdict())
		}
		total := 0
		for _, l := range r.Dumps {
			total += l.Threads
		}
		if f := analyse.FlameOf(dumps, analyse.FlameOptions{}); f.Root.Total != int64(total) {
			t.Errorf("%s: the flame is of %d threads, want %d", file, f.Root.Total, total)
		}
	}
}
