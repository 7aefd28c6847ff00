package web

import (
	"strconv"
	"time"
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
	X    int
	Text string
}

type barRow struct {
	Name   string
	Values []int64
}

// Sizes of a chart, in its own units.
const (
	chartWidth  = 720
	chartHeight = 200
	chartLeft   = 44
	chartBottom = 176
	chartTop    = 12
	chartMarks  = 6 // below the bars, at most
	markWidth   = 100
)

// fills are how parts are filled, from below: each has a pattern of its own.
var fills = []string{"solid", "stripes", "dots"}

// newChart draws rows of values, one for each part.
func newChart(id, title, desc string, parts []string, rows []barRow) *barChart {
	c := &barChart{ID: id, Title: title, Desc: desc, Width: chartWidth, Height: chartHeight, Rows: rows, Bottom: chartBottom, Left: chartLeft}
	for i, name := range parts {
		c.Parts = append(c.Parts, chartPart{Name: name, Fill: fills[i%len(fills)]})
	}
	most := int64(1)
	for _, r := range rows {
		most = max(most, sumOf(r.Values))
	}
	top := niceTop(most)
	scale := func(n int64) float64 { return float64(n) / float64(top) * (chartBottom - chartTop) }
	for i := range int64(3) { // nothing, half and all
		y := chartBottom - scale(top*i/2)
		c.Rules = append(c.Rules, chartRule{Y: int(y), TextY: int(y) + 4, Text: strconv.FormatInt(top*i/2, 10)})
	}
	step := float64(chartWidth-chartLeft) / float64(max(len(rows), 1))
	wide := max(step*0.75, 1)
	every := max((len(rows)+chartMarks-1)/chartMarks, 1)
	for i, r := range rows {
		x, y := float64(chartLeft)+step*float64(i)+(step-wide)/2, float64(chartBottom)
		for p, n := range r.Values {
			if n == 0 {
				continue
			}
			high := scale(n)
			y -= high
			c.Bars = append(c.Bars, barPart{
				Fill: c.Parts[p].Fill, Title: r.Name + ": " + c.Parts[p].Name + " " + strconv.FormatInt(n, 10),
				Path: "M" + coordinate(x) + " " + coordinate(y) + "h" + coordinate(wide) + "v" + coordinate(high) + "h-" + coordinate(wide) + "z",
			})
		}
		if i%every == 0 && x+markWidth <= chartWidth {
			c.Marks = append(c.Marks, chartMark{X: int(x), Text: r.Name})
		}
	}
	return c
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
