package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/dump/capture"
)

// The test binary is also the child that takes dumps.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == capture.Verb {
		os.Exit(capture.Main())
	}
	os.Exit(m.Run())
}

// TestADumpIsRecorded: settings that were named and are not there are no reason
// to look at a process without a record.
func TestADumpIsRecorded(t *testing.T) {
	t.Parallel()
	var out, talk bytes.Buffer
	file := filepath.Join(t.TempDir(), "agent.yaml")
	code := dumpHere([]string{"--pid", strconv.Itoa(os.Getppid()), "--config", file, "--count", "1", "--reason", "requests hang, looking for the lock"}, os.Stdin, &out, &talk)
	if code == exitFine || out.Len() > 0 || !strings.Contains(talk.String(), file) || strings.Contains(talk.String(), "not recorded") {
		t.Errorf("exit %d\n%s\n%s", code, out.String(), talk.String())
	}
}
