package supervisor

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// TestAFaultOfTheParser: what a script prints never ends the supervisor.
func TestAFaultOfTheParser(t *testing.T) {
	t.Parallel()
	for want, read := range map[string]func([]byte) ([]*dump.Dump, error){
		"":                  func([]byte) ([]*dump.Dump, error) { return nil, errors.New("it is none") },
		"out of range [12]": func([]byte) ([]*dump.Dump, error) { panic("index out of range [12]") },
	} {
		x := &tour{log: slog.New(slog.DiscardHandler)}
		p := &printed{to: io.Discard, most: 100, read: read}
		if _, err := p.Write([]byte("Full thread dump")); err != nil {
			t.Fatal(err)
		}
		x.recognise(p, time.Now())
		if said := strings.Join(x.status.Warnings, "; "); len(x.status.Dumps) > 0 || want == "" && said != "" || !strings.Contains(said, want) {
			t.Errorf("%q: %+v", want, x.status)
		}
	}
}
