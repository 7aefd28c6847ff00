package orchestrator

import (
	"encoding/json"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/protocol"
)

// Said gives what an agent says of a task as it is kept for pages: its text
// cleaned, its lists bounded. nil where it can't be kept.
func Said(s protocol.TaskStatus) json.RawMessage { return detail(s) }

// Clean bounds and escapes text from a host.
func Clean(s string) string { return clean(s) }

// CleanDump bounds and escapes what a host says of a thread dump.
func CleanDump(r protocol.DumpReport) protocol.DumpReport {
	r.When, r.Runtime = protocol.DumpWhen(clean(string(r.When))), dump.Runtime(clean(string(r.Runtime)))
	r.Method, r.Error = clean(r.Method), clean(r.Error)
	notes := make([]string, 0, min(len(r.Notes), mostKept))
	for _, n := range r.Notes[:cap(notes)] {
		notes = append(notes, clean(n))
	}
	r.Notes = notes
	return r
}
