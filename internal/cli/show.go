package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func showCommand() *cobra.Command {
	var host string
	cmd := &cobra.Command{
		Use:   "show RUN [--host HOST]",
		Short: "Show one run; with --host what happened on one host, and its output",
		Args:  exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			run, err := c.Run(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if host != "" {
				return showHost(cmd, c, run, host)
			}
			return data(cmd, show(run), func(w io.Writer) { writeRun(w, run, time.Now()) })
		},
	}
	cmd.Flags().StringVar(&host, "host", "", "show this host in detail")
	return cmd
}

// shownRun is a run with the fields that scripts are promised always there.
type shownRun struct {
	restart.Run
	Cause restart.Cause `json:"cause"`
	Tasks []shownTask   `json:"tasks"`
}

type shownTask struct {
	restart.Task
	Cause string `json:"cause"`
	Error string `json:"error"`
}

func show(run restart.Run) shownRun {
	out := shownRun{Run: run, Cause: run.Cause, Tasks: []shownTask{}}
	for _, t := range run.Tasks {
		out.Tasks = append(out.Tasks, shownTask{Task: t, Cause: t.Cause, Error: t.Error})
	}
	return out
}

func writeRun(w io.Writer, run restart.Run, now time.Time) {
	fmt.Fprintf(w, "run:      %s\n", run.ID)
	fmt.Fprintf(w, "what:     %s %s%s, scenario %s (%s)\n", workWord(run.Kind, run.Work), restart.Escape(run.Service), in(run.Environment), restart.Escape(run.Scenario), short(run.Digest))
	switch run.Work {
	case restart.WorkWhole:
	case restart.WorkRehearse:
		fmt.Fprintln(w, "work:     a rehearsal: every check was for real, and no script was run")
	default:
		fmt.Fprintf(w, "work:     the %s step alone\n", restart.Escape(string(run.Work)))
	}
	if run.Parent != "" {
		fmt.Fprintf(w, "after:    run %s\n", run.Parent)
	}
	fmt.Fprintf(w, "who:      %s\n", restart.Escape(run.Actor))
	if run.OnHost() {
		fmt.Fprintln(w, "where:    made on the host itself, without a server; this is what the host tells")
	}
	fmt.Fprintf(w, "reason:   %s\n", restart.Escape(run.Reason))
	if run.Ticket != "" {
		var said *restart.Ticket
		if run.Plan != nil {
			said = run.Plan.Ticket
		}
		fmt.Fprintf(w, "ticket:   %s\n", ticketWord(run.Ticket, said))
	}
	for _, name := range slices.Sorted(maps.Keys(run.Params)) {
		fmt.Fprintf(w, "param:    %s=%s\n", restart.Escape(name), restart.Escape(run.Params[name]))
	}
	if run.BreakGlass {
		fmt.Fprintln(w, "glass:    broken: it was started past its safeguards")
		if r := run.GlassReview; r != nil {
			fmt.Fprintf(w, "review:   %s, %s: %s\n", restart.Escape(r.By), moment(&r.At), restart.Escape(r.Note))
		} else {
			fmt.Fprintln(w, "review:   nobody has reviewed it yet")
		}
	}
	fmt.Fprintf(w, "state:    %s\n", runWord(run))
	writeApproval(w, run)
	fmt.Fprintf(w, "asked:    %s\n", moment(&run.CreatedAt))
	fmt.Fprintf(w, "started:  %s\n", moment(run.StartedAt))
	finished := moment(run.FinishedAt)
	switch d := took(run.StartedAt, run.FinishedAt, now); {
	case d == "":
	case run.FinishedAt != nil:
		finished += " (" + d + ")"
	case run.State == restart.RunRunning:
		finished = "running for " + d
	}
	fmt.Fprintf(w, "finished: %s\n", finished)
	for _, child := range run.Children {
		word := "retried by:"
		if child.Work == restart.WorkUndrain {
			word = "undrained by:"
		}
		fmt.Fprintf(w, "%s run %s (%s), %s\n", word, child.ID, child.State, restart.Escape(child.Actor))
	}
	if len(run.Tasks) == 0 {
		fmt.Fprintln(w)
		ShowPlan(w, run)
		return
	}
	fmt.Fprintln(w)
	rows := make([][]string, 0, len(run.Tasks))
	for _, t := range run.Tasks {
		exit := ""
		if t.ExitCode != nil {
			exit = strconv.Itoa(*t.ExitCode)
		}
		state := string(t.State)
		if t.State == restart.TaskRunning && t.Phase != "" {
			state += " " + restart.Escape(t.Phase)
		}
		if t.Drained {
			state += ", drained"
		}
		if t.Decision != nil {
			state += ", decided: " + string(t.Decision.Verdict)
		}
		row := []string{t.Host, strconv.Itoa(t.Attempt), state, took(t.StartedAt, t.FinishedAt, now), exit, t.Cause}
		if t.Error != "" {
			row = append(row, strings.TrimPrefix(t.Error, t.Host+": "))
		}
		rows = append(rows, row)
	}
	table(w, []string{"HOST", "ATTEMPT", "STATE", "TOOK", "EXIT", "CAUSE", "ERROR"}, rows)
	for _, t := range run.Tasks {
		if d := t.Decision; d != nil {
			fmt.Fprintf(w, "decided: %s attempt %d %s, by %s at %s: %s\n", restart.Escape(t.Host), t.Attempt, d.Verdict, restart.Escape(d.By), moment(&d.At), restart.Escape(d.Reason))
		}
	}
	writeSilenced(w, run)
	for _, h := range run.Missed() {
		fmt.Fprintf(w, "left out: %s: %s\n", restart.Escape(h.Name), about(h.Name, h.Why))
	}
}

// showHost shows the newest attempt on one host, and its output.
func showHost(cmd *cobra.Command, c *client.Client, run restart.Run, host string) error {
	for _, t := range restart.Latest(run.Tasks) {
		if t.Host != host {
			continue
		}
		detail, err := c.TaskDetail(cmd.Context(), run.ID, t.ID)
		if err != nil {
			return err
		}
		if err := data(cmd, detail, func(w io.Writer) { writeDetail(w, detail, time.Now()) }); err != nil || asJSON(cmd) {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), "output:")
		return writeOutput(cmd.Context(), cmd.OutOrStdout(), c, run.ID, t.ID)
	}
	return restart.Errorf(restart.CodeNotFound, "run %s touches no host %s", run.ID, restart.Quote(host)).WithHint("see: restartilka show %s", run.ID)
}

func writeDetail(w io.Writer, d wire.TaskDetail, now time.Time) {
	t, s := d.Task, d.Status
	fmt.Fprintf(w, "host:     %s\n", restart.Escape(t.Host))
	fmt.Fprintf(w, "state:    %s\n", taskWord(t))
	if t.Error != "" {
		fmt.Fprintf(w, "error:    %s\n", about(t.Host, t.Error))
	}
	if s.Containment != "" {
		fmt.Fprintf(w, "kept in:  %s\n", restart.Escape(s.Containment))
	}
	for _, p := range s.Phases {
		line := fmt.Sprintf("phase:    %s %s", restart.Escape(string(p.Phase)), took(&p.StartedAt, p.FinishedAt, now))
		if p.ExitCode != nil {
			line += fmt.Sprintf(", exit %d", *p.ExitCode)
		}
		if p.Error != "" {
			line += ": " + restart.Escape(p.Error)
		}
		fmt.Fprintln(w, line)
	}
	for _, h := range s.Health {
		word := "unhealthy"
		if h.Healthy {
			word = "healthy"
		}
		fmt.Fprintf(w, "health:   %s %s: %s\n", moment(&h.At), word, restart.Escape(h.Detail))
	}
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "warning:  %s\n", restart.Escape(text))
	}
	if d.Withheld {
		fmt.Fprintln(w, "evidence: what is in it is shown to those who may view the service's dumps")
	}
	for _, e := range s.Evidence {
		fmt.Fprintf(w, "evidence: %s\n", restart.Escape(e.Kind))
		if e.Error != "" {
			fmt.Fprintf(w, "  %s\n", restart.Escape(e.Error))
		}
		out := &escaper{w: w, indent: "  "}
		io.WriteString(out, e.Text) //nolint:errcheck // the writer below keeps its error
		out.close()
		if e.Truncated > 0 {
			fmt.Fprintf(w, "  [truncated %d bytes]\n", e.Truncated)
		}
	}
}

// writeOutput copies a task's output for a terminal: each line escaped.
func writeOutput(ctx context.Context, w io.Writer, c *client.Client, run, task string) error {
	out := &escaper{w: w, indent: "  "}
	defer out.close()
	for offset := int64(0); ; {
		pieces, next, more, err := c.Output(ctx, run, task, offset, 1<<20)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			if p.Truncated > 0 {
				out.close()
				fmt.Fprintf(w, "  [truncated %d bytes]\n", p.Truncated)
			}
			if _, err := out.Write(p.Data); err != nil {
				return fmt.Errorf("print output: %w", err)
			}
		}
		if !more {
			return nil
		}
		offset = next
	}
}

// escaper writes foreign bytes line by line, each made harmless; tabs stay. A
// line over 8 KiB is broken.
type escaper struct {
	w      io.Writer
	indent string
	line   []byte
}

const longestLine = 8 << 10

// harmless gives what foreign bytes are written to: a file or a pipe gets them as
// they are, a terminal each line escaped. done writes what is left.
func harmless(stream io.Writer) (to io.Writer, done func()) {
	if !terminal(stream) {
		return stream, func() {}
	}
	e := &escaper{w: stream}
	return e, e.close
}

// Write never fails for what it is given, only where the writer below does.
func (e *escaper) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		switch {
		case end >= 0 && len(e.line)+end <= longestLine:
			e.line = append(e.line, b[:end]...)
			b = b[end+1:]
			if err := e.flush(len(e.line)); err != nil {
				return n - len(b), err
			}
		case len(e.line)+len(b) <= longestLine:
			e.line = append(e.line, b...)
			return n, nil
		default:
			fill := longestLine - len(e.line)
			e.line = append(e.line, b[:fill]...)
			b = b[fill:]
			if err := e.flush(wholeRunes(e.line)); err != nil {
				return n - len(b), err
			}
		}
	}
	return n, nil
}

// wholeRunes gives the length of b without a rune that is cut at its end.
func wholeRunes(b []byte) int {
	for back := 1; back < utf8.UTFMax && back < len(b); back++ {
		if start := len(b) - back; utf8.RuneStart(b[start]) {
			if !utf8.FullRune(b[start:]) {
				return start
			}
			break
		}
	}
	return len(b)
}

func (e *escaper) flush(n int) error {
	cells := strings.Split(strings.TrimSuffix(string(e.line[:n]), "\r"), "\t")
	for i := range cells {
		cells[i] = restart.Escape(cells[i])
	}
	_, err := fmt.Fprintln(e.w, e.indent+strings.Join(cells, "\t"))
	e.line = append(e.line[:0], e.line[n:]...)
	return err
}

// close writes a last line that had no end.
func (e *escaper) close() {
	if len(e.line) > 0 {
		e.flush(len(e.line)) // the last word; the next write tells
	}
}
