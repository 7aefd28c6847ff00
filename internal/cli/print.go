package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/restartilka/restartilka/internal/restart"
)

// asJSON tells whether the person wants JSON.
func asJSON(cmd *cobra.Command) bool {
	yes, err := cmd.Flags().GetBool("json")
	return err == nil && yes
}

// data prints what was asked for: value as JSON, or text.
func data(cmd *cobra.Command, value any, text func(w io.Writer)) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	if asJSON(cmd) {
		if err := writeJSON(w, value); err != nil {
			return fmt.Errorf("print JSON: %w", err)
		}
	} else {
		text(w)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func writeJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// say tells the person something that is not data.
func say(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
}

// table prints rows in columns; every cell is escaped. Rows may come short.
func table(w io.Writer, header []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = restart.Escape(cell)
			if cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	tw.Flush() // the writer below keeps its error
}

// file gives the file behind a stream of the process, if it is one.
func file(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok
}

// Screen is a person's terminal that is no file of this process: it stands at
// the other end of an SSH connection.
type Screen interface {
	Size() (width, height int)
	Term() string // as TERM names it

	// Ask shows a question; what is typed from then on is its answer, which is
	// read from the screen.
	Ask(question string) error
}

// terminal tells whether a stream is a person's terminal.
func terminal(stream any) bool {
	if _, ok := stream.(Screen); ok {
		return true
	}
	f, ok := file(stream)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colourful tells whether colours may be used on a stream (https://no-color.org).
func colourful(stream any) bool {
	if s, ok := stream.(Screen); ok {
		return s.Term() != "dumb"
	}
	return terminal(stream) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// ask puts a question to the person at the terminal; only y or yes is yes.
func ask(ctx context.Context, cmd *cobra.Command, question string) (bool, error) {
	line, err := answer(ctx, cmd, question+" [y/N] ")
	if err != nil {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// answer puts a question to the person at the terminal, and gives the line that
// is typed from then on. What was typed before is no answer to what nobody had
// seen: the second line of a text that is pasted must confirm nothing.
func answer(ctx context.Context, cmd *cobra.Command, question string) (string, error) {
	in := cmd.InOrStdin()
	if s, ok := in.(Screen); ok {
		if err := s.Ask(question); err != nil {
			return "", err
		}
		return readLine(ctx, in)
	}
	if f, ok := file(in); ok && terminal(in) {
		if err := unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH); err != nil {
			return "", fmt.Errorf("drop what was typed before the question: %w", err)
		}
	}
	fmt.Fprint(cmd.ErrOrStderr(), question)
	return readLine(ctx, in)
}

// readLine reads one line, at most 4 KiB. Where ctx ends before, the reading
// goroutine is left behind: nothing but the person can end a read from a
// terminal, and the program is about to leave.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
		if err == io.EOF {
			err = nil
		}
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// moment shows a time as people read it; nil is "-".
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// took shows how long something lasted, until now where it lasts still.
func took(from, to *time.Time, now time.Time) string {
	if from == nil {
		return ""
	}
	end := now
	if to != nil {
		end = *to
	}
	d := max(end.Sub(*from), 0)
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// about makes what was said of a host harmless, without the host's name before
// it: the line has the name already.
func about(host, text string) string {
	return restart.Escape(strings.TrimPrefix(text, host+": "))
}

// hintEmpty says what to do where a list has nothing; for people, not for scripts.
func hintEmpty(cmd *cobra.Command, n int, hint string) {
	if n == 0 && !asJSON(cmd) {
		say(cmd, "%s", hint)
	}
}

// inventoryHint is for lists that come from the inventory.
const inventoryHint = "the server's inventory has none; whoever runs the server adds them to it (docs/reference/inventory.md)"

// short gives the part of a digest by which people tell it from others.
func short(digest string) string { return digest[:min(len(digest), 12)] }

// plural counts in words: "1 host", "3 hosts".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
