package agent

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/restart"
)

// An agent that was killed may have left its lock to a program that it was
// about to start, for a moment.
func TestAnAgentWaitsForItsSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		before, err := spool.Open(spool.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(spoolTime / 2)
			before.Close()
		}()
		begun := time.Now()
		mine, err := takeSpool(t.Context(), dir)
		if took := time.Since(begun); err != nil || took < spoolTime/2 || took > spoolTime/2+spoolStep {
			t.Fatalf("after %s: %v", took, err)
		}
		defer mine.Close()
		begun = time.Now()
		if _, err := takeSpool(t.Context(), dir); restart.CodeOf(err) != restart.CodeLocked || time.Since(begun) != spoolTime {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}
