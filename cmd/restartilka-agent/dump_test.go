package main

import (
	"bytes"
	"flag"
	"io"
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

// TestDumpIsTold: each option of dump stands in the manual and in the reference.
func TestDumpIsTold(t *testing.T) {
	t.Parallel()
	for file, dash := range map[string]string{"../../packaging/agent/restartilka-agent.8": `\-`, "../../docs/reference/agent.md": "-"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		newDumpFlags(io.Discard).VisitAll(func(f *flag.Flag) {
			if !strings.Contains(string(text), dash+dash+f.Name) {
				t.Errorf("%s says nothing of dump --%s", file, f.Name)
			}
		})
	}
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
