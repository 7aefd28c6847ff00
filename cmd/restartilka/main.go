//go:build !man

// Command restartilka is the server, its command line and the demo in one
// binary. The command line itself is package cli; what needs the server's own
// code is added to it here.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/restartilka/restartilka/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	return cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, extra()...)
}
