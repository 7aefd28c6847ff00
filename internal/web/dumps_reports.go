package web

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

// Bounds of the reports that are kept in memory: those of a dump that somebody
// looks at are asked for again with each of its pages.
const (
	reportsKept = 12
	// reportText bounds the text that they are of, in bytes: the names in a report
	// may hold the whole of it. One that is of more is made anew each time.
	reportText = 64 << 20
)

// reports remembers what dumps say: a dump never changes.
type reports struct {
	mu      sync.Mutex
	kept    []keptReport // the one that was made last at the end
	deleted int64        // how many dumps had been deleted when the first of them was made
}

type keptReport struct {
	key    string
	size   int64
	report *analyse.Report
}

// of gives the report of one dump of a series: that of the whole series where
// its picture is of this dump (ofAll), or else that of this dump alone, with what
// only a series tells. deleted counts the deletions of dumps: after one, nothing is
// remembered.
func (r *reports) of(looks []control.DumpLook, number int, deleted int64) (report *analyse.Report, ofAll bool) {
	r.mu.Lock()
	if r.deleted != deleted {
		r.kept, r.deleted = nil, deleted
	}
	r.mu.Unlock()
	all := r.get(looks)
	if all.Picture == number {
		return all, true
	}
	alone := *r.get(looks[number : number+1])
	alone.Hot, alone.Stuck, alone.Span = all.Hot, all.Stuck, all.Span
	return &alone, false
}

func (r *reports) get(looks []control.DumpLook) *analyse.Report {
	var name strings.Builder
	var made keptReport
	dumps := make([]*dump.Dump, 0, len(looks))
	for i, l := range looks {
		name.WriteString(l.ID + "." + strconv.Itoa(l.InFile) + " ")
		dumps = append(dumps, l.Parsed)
		if i == 0 || l.ID != looks[i-1].ID {
			made.size += l.Size
		}
	}
	made.key = name.String()
	r.mu.Lock()
	for _, k := range r.kept {
		if k.key == made.key {
			r.mu.Unlock()
			return k.report
		}
	}
	deleted := r.deleted
	r.mu.Unlock()
	made.report = analyse.Series(dumps, analyse.Options{})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted == deleted && made.size <= reportText {
		r.keep(made)
	}
	return made.report
}

// keep remembers a report instead of the oldest.
func (r *reports) keep(made keptReport) {
	if slices.ContainsFunc(r.kept, func(k keptReport) bool { return k.key == made.key }) {
		return // two made it at once
	}
	var size int64
	first := len(r.kept)
	for first > 0 && len(r.kept)-first < reportsKept-1 && size+r.kept[first-1].size+made.size <= reportText {
		first--
		size += r.kept[first].size
	}
	r.kept = append(slices.Clone(r.kept[first:]), made)
}
