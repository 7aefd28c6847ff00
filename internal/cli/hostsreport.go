package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// finding is what several hosts have in common: a state or a warning, and what
// to do about it.
type finding struct {
	title, hint string
	lines       []findingLine
}

type findingLine struct{ host, text string }

// findings groups lines by title and hint, in the order in which they come.
type findings []*finding

func (f *findings) add(title, hint, host, text string) {
	i := slices.IndexFunc(*f, func(x *finding) bool { return x.title == title && x.hint == hint })
	if i < 0 {
		i = len(*f)
		*f = append(*f, &finding{title: title, hint: hint})
	}
	(*f)[i].lines = append((*f)[i].lines, findingLine{host, text})
}

// write shows each group: its title, what is said once where all hosts say the
// same, what to do, and the hosts.
func (f findings) write(w io.Writer, most int) {
	for _, g := range f {
		fmt.Fprintf(w, "\n%s, %s", restart.Escape(g.title), plural(len(g.lines), "host"))
		same := !slices.ContainsFunc(g.lines, func(l findingLine) bool { return l.text != g.lines[0].text })
		if same && g.lines[0].text != "" {
			fmt.Fprintf(w, ": %s", restart.Escape(g.lines[0].text))
		}
		fmt.Fprintln(w)
		if g.hint != "" {
			fmt.Fprintf(w, "  do: %s\n", restart.Escape(g.hint))
		}
		width := 0
		for _, l := range g.lines {
			width = max(width, len(l.host))
		}
		for i, l := range g.lines {
			if i == most {
				fmt.Fprintf(w, "  … and %d more (--verbose lists them)\n", len(g.lines)-most)
				break
			}
			if same {
				fmt.Fprintf(w, "  %s\n", restart.Escape(l.host))
			} else {
				fmt.Fprintf(w, "  %-*s  %s\n", width, restart.Escape(l.host), restart.Escape(l.text))
			}
		}
	}
}

// writeChecks shows what is wrong by state, gravest first, then what should be
// known of hosts that are ready, then those hosts: all of a few, else none
// unless all are wanted.
func writeChecks(w io.Writer, checks []wire.HostCheck, verbose bool) {
	var wrong, warned findings
	var ready []wire.HostCheck
	for _, hc := range bySeverity(checks) {
		name := hc.Host.Name
		for _, x := range hc.Warnings {
			warned.add("warning "+string(x.Kind), generic(name, x.Hint), name, x.Message)
		}
		if hc.State == wire.HostReady {
			ready = append(ready, hc)
			continue
		}
		text, hint := "", ""
		if hc.Error != nil {
			text, hint = strings.TrimPrefix(hc.Error.Message, name+": "), generic(name, hc.Error.Hint)
		}
		for _, also := range hc.Also {
			if also.Error != nil {
				text += "; also " + string(also.State) + ": " + also.Error.Error()
			}
		}
		wrong.add(string(hc.State), hint, name, text)
	}
	wrong.write(w, len(checks))
	most := 5
	if verbose || len(checks) <= compact {
		most = len(checks)
	}
	warned.write(w, most)
	if len(ready) > 0 && (verbose || len(checks) <= compact) {
		fmt.Fprintln(w)
		writeReady(w, ready)
	}
}

// generic takes a host's name out of a hint, so that many hosts share it.
func generic(host, hint string) string { return strings.ReplaceAll(hint, host, "HOST") }

func bySeverity(checks []wire.HostCheck) []wire.HostCheck {
	rank := func(hc wire.HostCheck) int { return slices.Index(wire.HostStates(), hc.State) }
	out := slices.Clone(checks)
	slices.SortStableFunc(out, func(a, b wire.HostCheck) int { return rank(a) - rank(b) })
	return out
}

func writeReady(w io.Writer, ready []wire.HostCheck) {
	rows := make([][]string, 0, len(ready))
	header := []string{"HOST", "STATE", "AGENT", "CONTAINMENT", "REVIEW", "ENDS"}
	for _, hc := range ready {
		row := []string{hc.Host.Name, string(hc.State)}
		if r := hc.Report; r != nil {
			containment, _, _ := strings.Cut(r.Containment, " ")
			row = append(row, r.Program, containment, r.Review, ends(r.Certificate))
			if r.Service != nil {
				if len(header) == 6 {
					header = append(header, "VERSION", "UNIT")
				}
				row = append(row, r.Service.Installed, r.Service.UnitState)
			}
		}
		rows = append(rows, row)
	}
	table(w, header, rows)
}

// ends is the day on which an agent's certificate ends.
func ends(c *protocol.CertificateReport) string {
	if c == nil {
		return ""
	}
	return c.NotAfter.Local().Format("2006-01-02")
}
