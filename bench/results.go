package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Results is bench/results.json. A null has not been measured; not_measured
// says why.
type Results struct {
	PerHost       *Percentiles `json:"per_host_overhead_ms"`
	AgentFsyncs   *float64     `json:"agent_fsyncs"`
	ServerCommits *float64     `json:"server_commits"`
	Serial20      *float64     `json:"serial_20_hosts_s"`
	Hosts10000    *float64     `json:"hosts_10000_s"`
	ServerRSS     *float64     `json:"server_rss_mb"`
	AgentRSS      *float64     `json:"agent_rss_mb"`
	ServerStart   *float64     `json:"server_start_ms"`
	PageP99       *float64     `json:"page_p99_ms"`
	Event         *float64     `json:"event_to_browser_ms"`
	JVMDump       *float64     `json:"jvm_dump_ms"`
	VerifyTime    *float64     `json:"audit_verify_10m_s"`
	VerifyRSS     *float64     `json:"audit_verify_rss_mb"`
	AuditShip     *float64     `json:"audit_ship_per_s"`
	AuditRecord   *float64     `json:"audit_record_ms"`
	Baselines     Baselines    `json:"baselines"`

	Comparison *Comparison       `json:"comparison"`
	Details    map[string]any    `json:"details,omitempty"`
	Absent     map[string]string `json:"not_measured,omitempty"`
	Machine    Machine           `json:"machine"`
	Took       float64           `json:"took_s"`
}

// Percentiles of a sample, in its unit.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Baselines are what the machine and other tools need, in the same run: medians.
type Baselines struct {
	ForkExec *float64 `json:"fork_exec_ms"`
	Fsync    *float64 `json:"fsync_ms"`
	SSH      *float64 `json:"ssh_ms"`
	Ansible  *float64 `json:"ansible_ms"`
	Jcmd     *float64 `json:"jcmd_ms"`
}

// Comparison is the same walk over the same number of hosts by three means, in
// seconds.
type Comparison struct {
	Hosts       int      `json:"hosts"`
	Restartilka *float64 `json:"restartilka_s"`
	SSHLoop     *float64 `json:"ssh_loop_s"`
	Ansible     *float64 `json:"ansible_serial_1_s"`
}

// write replaces the file of results at once, or leaves the old one.
func (r *Results) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return replace(path, append(b, '\n'))
}

// replace gives a file new content, whole or not at all.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".results-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all goes well
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// line is one figure of the table; a ratio up to 1 is within the goal.
type line struct{ name, goal, reached, ratio string }

func (r *Results) lines() []line {
	perHost := func(pick func(*Percentiles) float64) *float64 {
		if r.PerHost == nil {
			return nil
		}
		return new(pick(r.PerHost))
	}
	var out []line
	for _, f := range []struct {
		name    string
		goal    float64 // 0 = none
		reached *float64
	}{
		{"per_host_overhead_ms p50", 15, perHost(func(p *Percentiles) float64 { return p.P50 })},
		{"per_host_overhead_ms p99", 0, perHost(func(p *Percentiles) float64 { return p.P99 })},
		{"agent_fsyncs", 10, r.AgentFsyncs},
		{"server_commits", 6, r.ServerCommits},
		{"serial_20_hosts_s", 0.5, r.Serial20},
		{"hosts_10000_s", 30, r.Hosts10000},
		{"server_rss_mb", 300, r.ServerRSS},
		{"agent_rss_mb", 15, r.AgentRSS},
		{"server_start_ms", 150, r.ServerStart},
		{"page_p99_ms", 50, r.PageP99},
		{"event_to_browser_ms", 200, r.Event},
		{"jvm_dump_ms", 10, r.JVMDump},
		{"audit_verify_10m_s", 120, r.VerifyTime},
		{"audit_verify_rss_mb", 200, r.VerifyRSS},
		{"audit_ship_per_s", 20_000, r.AuditShip},
		{"audit_record_ms", 1, r.AuditRecord},
		{"baseline fork_exec_ms", 0, r.Baselines.ForkExec},
		{"baseline fsync_ms", 0, r.Baselines.Fsync},
		{"baseline ssh_ms", 0, r.Baselines.SSH},
		{"baseline ansible_ms", 0, r.Baselines.Ansible},
		{"baseline jcmd_ms", 0, r.Baselines.Jcmd},
	} {
		l := line{name: f.name, reached: "-"}
		if f.goal > 0 {
			l.goal = bound(f.name) + " " + number(f.goal)
		}
		if f.reached != nil {
			l.reached = number(*f.reached)
			if f.goal > 0 {
				ratio := *f.reached / f.goal
				if bound(f.name) == atLeast {
					ratio = f.goal / *f.reached
				}
				l.ratio = fmt.Sprintf("%.2f", ratio)
			}
		}
		out = append(out, l)
	}
	return out
}

const atLeast = "≥"

// bound tells which way a goal points: what is counted a second is to be more.
func bound(figure string) string {
	if strings.HasSuffix(figure, "_per_s") {
		return atLeast
	}
	return "≤"
}

// notes are the sentences below the table.
func (r *Results) notes() []string {
	var out []string
	if c := r.Comparison; c != nil {
		out = append(out, fmt.Sprintf("%d hosts one by one, a no-op each: restartilka %s, ssh in a loop %s, ansible serial=1 %s.",
			c.Hosts, seconds(c.Restartilka), seconds(c.SSHLoop), seconds(c.Ansible)))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Absent)) {
		out = append(out, fmt.Sprintf("Not measured: %s: %s.", name, r.Absent[name]))
	}
	m := r.Machine
	return append(out, fmt.Sprintf("Measured on %s: %s, %d cores, %d MB, Linux %s, %s, %s, as %s; commit %s; load before %.2f.",
		m.Date.Format("2006-01-02"), m.CPU, m.Cores, m.MemoryMB, m.Kernel, m.FileSystem, m.Go, m.User, m.Commit, m.LoadBefore))
}

// table prints goal, reached and ratio.
func (r *Results) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "figure\tgoal\treached\tratio\t")
	for _, l := range r.lines() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", l.name, l.goal, l.reached, l.ratio)
	}
	t.Flush()
	for _, note := range r.notes() {
		fmt.Fprintln(w, note)
	}
}

// Where the table stands in docs/performance.md.
const (
	tableBegins = "<!-- make bench writes from here -->\n"
	tableEnds   = "<!-- to here -->\n"
)

// inDocument gives a document with these results in place of those it had.
func (r *Results) inDocument(text string) (string, error) {
	before, rest, begins := strings.Cut(text, tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		return "", errors.New("it has no place for the table")
	}
	var b strings.Builder
	b.WriteString(before + tableBegins + "\n| figure | goal | reached | ratio |\n| --- | --- | --- | --- |\n")
	for _, l := range r.lines() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", l.name, l.goal, l.reached, l.ratio)
	}
	for _, note := range r.notes() {
		b.WriteString("\n" + note + "\n")
	}
	b.WriteString("\n" + tableEnds + after)
	return b.String(), nil
}

func number(v float64) string {
	if math.Abs(v) >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.4g", v), ".0")
}

func seconds(v *float64) string {
	if v == nil {
		return "-"
	}
	return number(*v) + " s"
}

func ms(d time.Duration) float64 { return round(float64(d)/float64(time.Millisecond), 3) }

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// percentile of a sample by nearest rank; the sample is sorted in place.
func percentile(sample []time.Duration, p float64) time.Duration {
	if len(sample) == 0 {
		return 0
	}
	slices.Sort(sample)
	rank := int(math.Ceil(p/100*float64(len(sample)))) - 1
	return sample[min(max(rank, 0), len(sample)-1)]
}

func percentiles(sample []time.Duration) Percentiles {
	return Percentiles{P50: ms(percentile(sample, 50)), P99: ms(percentile(sample, 99))}
}

// median in milliseconds.
func median(sample []time.Duration) *float64 { return new(ms(percentile(sample, 50))) }
