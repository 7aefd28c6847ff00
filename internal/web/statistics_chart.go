package web

import (
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/store"
)

// barChart is a picture of numbers over time, bars upon bars, drawn here: its
// parts differ by pattern and not by colour alone, and the same numbers stand
// in a table below it.
type barChart struct {
	ID, Title, Desc string
	Width, Height   int
	Parts           []chartPart
	Bars            []barPart
	Rules           []chartRule // horizontal lines with their numbers
	Marks           []chartMark // below the bars
	Rows            []barRow    // the table
	Bottom, Left    int
}

// chartPart is one kind of bar, in the order from below.
type chartPart struct {
	Name string
	Fill string // class, and name of the pattern
	Y    int    // of its swatch
}

type barPart struct{ Fill, Path, Title string }

type chartRule struct {
	Y, TextY int
	Text     string
}

type chartMark struct {
	X      int
	Anchor string // of SVG's text-anchor
	Text   string
}

type barRow struct {
	Name   string
	Values []int64
	Texts  []string // of the values; nil = the numbers themselves
}

// Sizes of a chart, in its own units.
const (
	chartWidth  = 720
	chartHeight = 200
	chartLeft   = 84
	chartBottom = 172
	chartTop    = 12
	chartMarks  = 6 // below the bars, at most
)

// fills are how parts are filled, from below: each has a pattern of its own. The
// colours are those of the chart's class.
var fills = []string{"solid", "stripes", "dots"}

// scale is what the numbers of a chart are.
type scale struct {
	top  func(most int64) int64 // of the axis
	text func(n int64) string
}

// numbers is the scale of what is counted.
var numbers = scale{niceTop, func(n int64) string { return strconv.FormatInt(n, 10) }}

// newChart draws rows of values, one for each part.
func newChart(id, title, desc string, parts []string, rows []barRow, of scale) *barChart {
	c := &barChart{ID: id, Title: title, Desc: desc, Width: chartWidth, Height: chartHeight, Rows: rows, Bottom: chartBottom, Left: chartLeft}
	for i, name := range parts {
		c.Parts = append(c.Parts, chartPart{Name: name, Fill: fills[i%len(fills)]})
	}
	most := int64(1)
	for _, r := range rows {
		most = max(most, sumOf(r.Values))
	}
	top := of.top(most)
	high := func(n int64) float64 { return float64(n) / float64(top) * (chartBottom - chartTop) }
	for i := range int64(3) { // nothing, half and all
		y := chartBottom - high(top*i/2)
		c.Rules = append(c.Rules, chartRule{Y: int(y), TextY: int(y) + 4, Text: of.text(top * i / 2)})
	}
	step := float64(chartWidth-chartLeft) / float64(max(len(rows), 1))
	wide := max(step*0.75, 1)
	every := max((len(rows)+chartMarks-1)/chartMarks, 1)
	for i, r := range rows {
		if r.Texts == nil {
			for _, n := range r.Values {
				rows[i].Texts = append(rows[i].Texts, of.text(n))
			}
		}
		x, y := float64(chartLeft)+step*float64(i)+(step-wide)/2, float64(chartBottom)
		for p, n := range r.Values {
			if n == 0 {
				continue
			}
			y -= high(n)
			c.Bars = append(c.Bars, barPart{
				Fill: c.Parts[p].Fill, Title: r.Name + ": " + c.Parts[p].Name + " " + rows[i].Texts[p],
				Path: "M" + coordinate(x) + " " + coordinate(y) + "h" + coordinate(wide) + "v" + coordinate(high(n)) + "h-" + coordinate(wide) + "z",
			})
		}
		if (len(rows)-1-i)%every == 0 { // the newest has one
			mark := chartMark{X: int(x + wide/2), Anchor: "middle", Text: shortDay(r.Name)}
			if i == len(rows)-1 && len(rows) > 1 {
				mark.X, mark.Anchor = chartWidth, "end"
			}
			c.Marks = append(c.Marks, mark)
		}
	}
	return c
}

// shortDay shortens the name of a day for the line below the bars: its year is in
// the table.
func shortDay(name string) string {
	if len(name) == len(time.DateOnly) {
		return name[len("2006-"):]
	}
	return name
}

// nameOf names the points of a window.
func nameOf(window store.Window) func(time.Time) string {
	if window == store.WindowYear {
		return monthOf
	}
	return dayOf
}

// chartsOf draws what was done, how it went and how long it took.
func chartsOf(l language, window store.Window, x store.Figures) []*barChart {
	name := nameOf(window)
	var kinds, ends, helped []barRow
	for _, p := range x.Points {
		kinds = append(kinds, barRow{Name: name(p.From), Values: []int64{p.Restarts, p.Dumps, p.Runs - p.Restarts - p.Dumps}})
		ends = append(ends, barRow{Name: name(p.From), Values: []int64{p.Completed, p.Failed, p.Aborted}})
		helped = append(helped, barRow{Name: name(p.From), Values: []int64{p.Restarted - p.Again, p.Again}})
	}
	total := x.Total
	out := []*barChart{
		newChart("kinds", say(l, "stats.kinds"), say(l, "stats.kinds.desc", total.Restarts, total.Dumps), []string{say(l, "kind.restart"), say(l, "kind.thread-dump"), say(l, "kind.custom")}, kinds, numbers),
		endsChart(l, total, ends),
		newChart("helped", say(l, "stats.helped"), say(l, "stats.helped.desc", total.Again, total.Restarted), []string{say(l, "stats.yes"), say(l, "stats.no")}, helped, numbers),
	}
	if len(x.Times) > 1 {
		out = append(out, timesChart(l, name, x.Times))
	}
	return out
}

func endsChart(l language, total store.Tally, rows []barRow) *barChart {
	return newChart("ends", say(l, "stats.ends"), say(l, "stats.ends.desc", total.Completed, total.Failed, total.Aborted),
		[]string{say(l, "runstate.completed"), say(l, "runstate.failed"), say(l, "runstate.aborted")}, rows, numbers)
}

// timesChart draws how long runs took that were completed: a bar's lower part ends
// where half of them are done, and the whole where 95 % are.
func timesChart(l language, name func(time.Time) string, times []store.Lasted) *barChart {
	var rows []barRow
	for _, x := range times {
		rows = append(rows, barRow{
			Name: name(x.From), Values: []int64{x.P50.Milliseconds(), (x.P95 - x.P50).Milliseconds()},
			Texts: []string{took(l, rounded(x.P50)), took(l, rounded(x.P95))},
		})
	}
	return newChart("times", say(l, "stats.took"), say(l, "stats.took.desc"), []string{say(l, "stats.half"), say(l, "stats.slow")}, rows,
		scale{niceTime, func(ms int64) string { return took(l, time.Duration(ms)*time.Millisecond) }})
}

// niceTime gives the least time, in milliseconds, that is not below n and of which
// the half is round, too.
func niceTime(n int64) int64 {
	for _, d := range []time.Duration{
		time.Second, 2 * time.Second, 4 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute,
		10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour,
	} {
		if d.Milliseconds() >= n {
			return d.Milliseconds()
		}
	}
	day := (24 * time.Hour).Milliseconds()
	return niceTop((n+day-1)/day) * day
}

func sumOf(values []int64) (sum int64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// niceTop gives the least even 2, 4, 10, 20, 40, 100, … that is not below n.
func niceTop(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, step := range []int64{2, 4, 10} {
			if step*unit >= n {
				return step * unit
			}
		}
	}
}

func coordinate(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// dayOf names a day, and monthOf a month, below a bar and in a table.
func dayOf(t time.Time) string   { return t.Format(time.DateOnly) }
func monthOf(t time.Time) string { return t.Format("2006-01") }
