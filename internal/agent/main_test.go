package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/dump/capture"
)

// TestMain lets the test binary be the agent and its supervisors as well: they
// are started from /proc/self/exe, as in the real program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case supervisor.Verb:
			os.Exit(supervisor.Main())
		case supervisor.TryVerb:
			os.Exit(supervisor.TryMain())
		case supervisor.GatherVerb:
			os.Exit(supervisor.GatherMain())
		case capture.Verb:
			os.Exit(capture.Main())
		case "serve":
			os.Exit(serveMain(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

// serveMain is an agent process: it prints its addresses once it listens.
func serveMain(config string) int {
	s, err := agent.LoadSettings(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	err = agent.Serve(ctx, s, slog.New(slog.NewTextHandler(os.Stderr, nil)), func(listen, status net.Addr) {
		json.NewEncoder(os.Stdout).Encode([]string{listen.String(), status.String()}) // the test sees nothing, and fails
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
