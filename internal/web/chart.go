package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	maxCharted = 200 // hosts that the chart shows
	ticks      = 6   // parts of its time axis, at most
	// narrowest is the least width of a bar, in parts of the whole: one that
	// took no time is seen too.
	narrowest = 0.003
)

// chartView is what each host did when, one row a host.
type chartView struct {
	Run    string // whose pages the hosts lead to; "" = none
	Rows   []chartRow
	Ticks  []tick // of the time axis, from its start on
	Whole  int64  // ms of it
	Phases []legend
	More   int // hosts that are not shown
}

// tick is a mark of the time axis, at a part of its width.
type tick struct{ At, Anchor, Text string }

type legend struct{ Class, Name string }

// chartRow is one host of the chart. Text says the same in words.
type chartRow struct {
	Host, Label string
	Tone        tone
	State       string
	Bars        []chartBar
	Text        string
}

// chartBar is a phase, from one per cent of the width to another.
type chartBar struct {
	Class    string // the phase, or "whole" where the host has told none; and fail
	From, To string
	Title    string
	Began    int64 // ms after the start of the run
	Ended    int64
	from, to time.Time
}

func (s *site) showChart(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	details, err := s.cfg.Control.Details(v.Context(), v.actor, run.ID, maxCharted)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	b := newBoard(v.lang, run)
	page := chartPage{layout: s.layout(v, say(v.lang, "chart.title")+" · "+b.title(run)), Run: b.view(run, now), Chart: b.chart(run, details, now)}
	if run.State == restart.RunRunning {
		page.Reload = liveReload
	}
	return s.show(w, v, http.StatusOK, pageChart, page)
}

// chart lays out what the hosts of a run did, up to now.
func (b *board) chart(run restart.Run, details map[string]protocol.TaskStatus, now time.Time) chartView {
	c := chartView{Run: run.ID}
	for _, p := range protocol.Phases() {
		c.Phases = append(c.Phases, legend{string(p), phaseName(b.lang, string(p))})
	}
	latest := hostsOf(run)
	c.More = max(len(latest)-maxCharted, 0)
	latest = latest[:min(len(latest), maxCharted)]
	tasks := map[string][]restart.Task{} // all attempts, by host
	for _, t := range run.Tasks {
		tasks[t.Host] = append(tasks[t.Host], t)
	}
	for _, t := range latest {
		r := chartRow{Host: t.Host, Label: strings.TrimSuffix(t.Host, b.domain), Tone: toneOf(t), State: say(b.lang, "taskstate."+string(t.State))}
		var words []string
		for _, attempt := range tasks[t.Host] {
			for _, bar := range b.bars(attempt, details[attempt.ID], now) {
				r.Bars, words = append(r.Bars, bar), append(words, bar.Title)
			}
		}
		r.Text = strings.Join(words, "; ")
		c.Rows = append(c.Rows, r)
	}
	c.scale(b.lang, run, now)
	return c
}

// bars gives what one task did: its phases, or where its host has told none,
// the whole.
func (b *board) bars(t restart.Task, status protocol.TaskStatus, now time.Time) (out []chartBar) {
	add := func(class, name string, failed bool, from time.Time, to *time.Time) {
		end := now
		if to != nil {
			end = *to
		} else if t.FinishedAt != nil {
			end = *t.FinishedAt
		}
		if failed {
			class, name = class+" fail", name+" ("+say(b.lang, "chart.failed")+")"
		}
		out = append(out, chartBar{Class: class, Title: name + " " + took(b.lang, end.Sub(from)), from: from, to: end})
	}
	for _, p := range status.Phases {
		class := "other"
		if slices.Contains(protocol.Phases(), p.Phase) {
			class = string(p.Phase)
		}
		add(class, phaseName(b.lang, string(p.Phase)), p.Error != "" || p.ExitCode != nil && *p.ExitCode != 0, p.StartedAt, p.FinishedAt)
	}
	if len(out) == 0 && t.StartedAt != nil {
		add("other", say(b.lang, "taskstate."+string(t.State)), t.State.Failure(), *t.StartedAt, t.FinishedAt)
	}
	return out
}

// scale gives each bar its place on the axis: from the start of the run to its
// end, or until now. What a host's clock puts outside is shown at the edge.
func (c *chartView) scale(l language, run restart.Run, now time.Time) {
	start, end := run.CreatedAt, now
	if run.StartedAt != nil {
		start = *run.StartedAt
	}
	if run.FinishedAt != nil {
		end = *run.FinishedAt
	}
	whole := max(end.Sub(start), time.Millisecond)
	place := func(t time.Time) float64 { return min(max(float64(t.Sub(start))/float64(whole), 0), 1) }
	for i := range c.Rows {
		for j := range c.Rows[i].Bars {
			bar := &c.Rows[i].Bars[j]
			from, to := place(bar.from), place(bar.to)
			bar.Began, bar.Ended = int64(from*float64(whole.Milliseconds())), int64(to*float64(whole.Milliseconds()))
			if to-from < narrowest {
				to = min(from+narrowest, 1)
				from = to - narrowest
			}
			bar.From, bar.To = shareOf(from), shareOf(to)
		}
	}
	c.Whole = whole.Milliseconds()
	step := roundStep(whole)
	for at := time.Duration(0); at <= whole; at += step {
		t := tick{At: shareOf(float64(at) / float64(whole)), Anchor: "middle", Text: took(l, at)}
		switch {
		case at == 0:
			t.Anchor, t.Text = "start", "0"
		case at+step/3 > whole: // it would stick out
			t.Anchor = "end"
		}
		c.Ticks = append(c.Ticks, t)
	}
}

// roundStep gives the least step that people count time in by which an axis has
// no more than ticks parts.
func roundStep(whole time.Duration) time.Duration {
	const second, hour, day = 1000, 3600 * 1000, 24 * 3600 * 1000 // ms
	ms := whole.Milliseconds()
	for _, step := range []int64{
		1, 2, 5, 10, 20, 50, 100, 200, 500, second, 2 * second, 5 * second, 10 * second, 15 * second, 30 * second, 60 * second, 120 * second,
		300 * second, 600 * second, 900 * second, 1800 * second, hour, 2 * hour, 4 * hour, 6 * hour, 12 * hour,
	} {
		if ms <= ticks*step {
			return time.Duration(step) * time.Millisecond
		}
	}
	return time.Duration((ms/ticks+day-1)/day*day) * time.Millisecond
}

func shareOf(part float64) string { return fmt.Sprintf("%.2f%%", 100*part) }
