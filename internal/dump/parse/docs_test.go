package parse

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFormatsAreTold: the reference names every form, and says of each that has
// a sample written by hand that it has.
func TestFormatsAreTold(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "reference", "dumps.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, formats, ok := strings.Cut(string(b), "\n## Formats that are read\n")
	if !ok {
		t.Fatal("docs/reference/dumps.md has no formats that are read")
	}
	formats, _, _ = strings.Cut(formats, "\n## ")
	for _, k := range kinds {
		_, row, ok := strings.Cut(formats, "\n| `"+string(k.format)+"` |")
		if !ok {
			t.Errorf("docs/reference/dumps.md has no row for %s", k.format)
			continue
		}
		if next := strings.Index(row, "\n| `"); next >= 0 {
			row = row[:next]
		}
		for name := range samplesOf(t, k.format) {
			if strings.Contains(name, "from-documentation") && !strings.Contains(row, "from documentation") {
				t.Errorf("%s was written by hand, which docs/reference/dumps.md does not say", name)
			}
		}
	}
}
