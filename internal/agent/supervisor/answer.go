package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// answer is the whole life of a process that does one thing for an agent: In
// comes as JSON on stdin, Out goes to stdout, and what is in the way to stderr.
// SIGTERM ends the context of do. It gives the exit status.
func answer[In, Out any](do func(context.Context, In) Out) int {
	KeepDescriptors()
	unix.Umask(0o077)
	var in In
	b, err := io.ReadAll(io.LimitReader(os.Stdin, 4*maxJob))
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	if err == nil {
		err = becomeReaper()
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		defer stop()
		err = json.NewEncoder(os.Stdout).Encode(do(ctx, in))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
