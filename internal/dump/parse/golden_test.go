package parse

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/dump"
)

var update = flag.Bool("update", false, "write what is read as what is to be read; look at the difference")

func asJSON(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// golden gives dumps as JSON, one thread a line.
func golden(t testing.TB, dumps []*dump.Dump) string {
	var b bytes.Buffer
	for _, d := range dumps {
		head := *d
		head.Threads = nil
		b.WriteString(asJSON(t, head))
		for _, th := range d.Threads {
			b.WriteString("\t" + asJSON(t, th))
		}
	}
	return b.String()
}

// TestGolden compares what is read of each sample with what was looked at once.
func TestGolden(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob(filepath.Join("testdata", "samples", "*"))
	if err != nil || len(samples) == 0 {
		t.Fatal("no samples", err)
	}
	for _, name := range samples {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got := golden(t, mustRead(t, text))
		file := filepath.Join("testdata", "golden", filepath.Base(name)+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}
