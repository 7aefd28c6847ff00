package capture_test

import (
	"os"
	"testing"

	"github.com/restartilka/restartilka/internal/dump/capture"
)

// goroutinesVerb makes the test binary a Go program to take dumps of.
const goroutinesVerb = "serve-goroutines"

// The test binary is also the child that takes dumps.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == capture.Verb {
		os.Exit(capture.Main())
	}
	if len(os.Args) == 2 && os.Args[1] == goroutinesVerb {
		os.Exit(serveGoroutines())
	}
	if len(os.Args) == 3 && os.Args[1] == withholdVerb {
		os.Exit(withhold(os.Args[2]))
	}
	code := m.Run()
	stopJVMs()
	os.Exit(code)
}
