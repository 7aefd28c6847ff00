package agent

import (
	"math"
	"strconv"
	"strings"
)

// exposition writes metrics in the text format of Prometheus, version 0.0.4: a
// handful of numbers is not worth a library in a program that runs as root on
// every host.
type exposition struct{ strings.Builder }

// helpText and labelText escape as the format says: a label's value may be any
// text, but neither may end its line.
var (
	helpText  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// family begins the samples of one metric; kind is counter, gauge or histogram.
func (e *exposition) family(name, kind, help string) {
	e.WriteString("# HELP " + name + " " + helpText.Replace(help) + "\n# TYPE " + name + " " + kind + "\n")
}

// sample writes one value; labels are names and values by turns.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		if i == 0 {
			e.WriteByte('{')
		} else {
			e.WriteByte(',')
		}
		e.WriteString(labels[i] + `="` + labelText.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	if len(labels) > 1 {
		e.WriteByte('}')
	}
	e.WriteString(" " + number(value) + "\n")
}

// single is a gauge of one sample without labels.
func (e *exposition) single(name, help string, value float64) {
	e.family(name, "gauge", help)
	e.sample(name, value)
}

func number(v float64) string {
	const exact = 1 << 53
	if v == math.Trunc(v) && math.Abs(v) < exact {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// durations is a histogram of seconds. Its zero value is ready.
type durations struct {
	counts [len(durationBounds) + 1]int64 // by bucket, the last without an upper bound
	sum    float64
}

// durationBounds are the upper bounds of a task's duration, in seconds; the
// server's histograms have the same.
var durationBounds = [...]float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600}

func (d *durations) observe(seconds float64) {
	i := 0
	for i < len(durationBounds) && seconds > durationBounds[i] {
		i++
	}
	d.counts[i]++
	d.sum += seconds
}

// histogram writes a family of buckets, which count everything up to their
// bound, with sum and count.
func (e *exposition) histogram(name, help string, d durations) {
	e.family(name, "histogram", help)
	total := int64(0)
	for i, n := range d.counts {
		total += n
		bound := "+Inf"
		if i < len(durationBounds) {
			bound = number(durationBounds[i])
		}
		e.sample(name+"_bucket", float64(total), "le", bound)
	}
	e.sample(name+"_sum", d.sum)
	e.sample(name+"_count", float64(total))
}
