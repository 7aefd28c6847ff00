package inventory_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the inventory command of the tests: with
// "inventory-command VERB ARG…" it behaves as the verb says.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "inventory-command" {
		os.Exit(inventoryCommand(os.Args[2], os.Args[3:]))
	}
	goleak.VerifyTestMain(m)
}

func inventoryCommand(verb string, args []string) int {
	switch verb {
	case "fail":
		fmt.Fprint(os.Stderr, "[ERROR]: no such \x1b[31minventory\n")
		return 4
	case "flood":
		line := strings.Repeat("x", 1<<20)
		for {
			if _, err := io.WriteString(os.Stdout, line); err != nil {
				return 1
			}
		}
	case "hang": // with a child that holds stdout and the pipe open too
		pipe, err := os.OpenFile(args[0], os.O_WRONLY, 0)
		if err != nil {
			return 1
		}
		child := exec.Command(os.Args[0], "inventory-command", "wait")
		child.Stdout, child.ExtraFiles = os.Stdout, []*os.File{pipe}
		if err := child.Start(); err != nil {
			return 1
		}
		fmt.Fprintln(pipe, "started")
		wait()
	case "wait":
		wait()
	case "environment": // its variables, as hosts
		var names []string
		for _, kv := range os.Environ() {
			name, _, _ := strings.Cut(kv, "=")
			names = append(names, strconv.Quote(strings.ReplaceAll(name, "_", "-")))
		}
		fmt.Printf(`{"all":{"hosts":[%s]}}`, strings.Join(names, ","))
	}
	return 0
}

// wait never returns.
func wait() {
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	defer w.Close()
	_, _ = r.Read(make([]byte, 1))
}
