package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/parse"
)

// TestFormOf: what is read as a dump is recognised as one, with nothing but a
// look, and what a script says otherwise is none.
func TestFormOf(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob("../../dump/parse/testdata/samples/*")
	if err != nil || len(samples) == 0 {
		t.Fatal("no samples", err)
	}
	for _, name := range samples {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dumps, err := parse.Bytes(text)
		if err != nil {
			t.Fatal(err)
		}
		want := dumps[0].Runtime
		if got := formOf(append([]byte("asking the service\n"), text...)); got != want {
			t.Errorf("%s: %q, want %q", filepath.Base(name), got, want)
		}
	}
	for _, text := range []string{
		"", "nothing hangs here\n", "Full thread dump failed: no such process\n", "goroutine dump is not available\n", "thread pool is full\n",
		"Thread 4711 was not found\n", "{\"threads\": 12, \"name\": \"x\"}\n", "jcmd: \"shop\" is not there\n", "#12 closed\n",
	} {
		if got := formOf([]byte(text)); got != "" {
			t.Errorf("%q is taken for a dump of %s", text, got)
		}
	}
	journal := "Nov 23 10:11:12 web-1 java[4711]: \"main\" #1 [12] prio=5 os_prio=0 cpu=1ms\n"
	if got := formOf([]byte(journal)); got != dump.JVM {
		t.Errorf("behind a log's prefix: %q", got)
	}
}

// Lines that nearly are threads.
func BenchmarkFormOf(b *testing.B) {
	text := []byte(strings.Repeat("a \"b\" c #1 thread x Thread 12 goroutine 1 <\n", maxLook/40))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if found := formOf(text); found != "" {
			b.Fatalf("it is taken for a dump of %s", found)
		}
	}
}
