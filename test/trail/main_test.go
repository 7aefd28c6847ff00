package trail_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/receive"
)

var every = flag.Bool("every", false, "kill at every call, with SQLite and with PostgreSQL; otherwise at some of them, with SQLite")

// TestMain makes one of the other processes of this program where it is asked.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "receive":
		err = receiver(os.Args[3])
	case "collect":
		err = collect(os.Args[2], os.Args[3])
	case "write":
		err = write(os.Args[2])
	case "trace":
		err = trace(os.Args[2], os.Args[3])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func receiver(config string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	c, err := receive.ReadConfig(config)
	if err != nil {
		return err
	}
	return receive.Serve(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, nil)), nil)
}
