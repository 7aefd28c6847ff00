package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Mark of the line that a capture puts before a dump.
const headerMark = "#restartilka-dump "

// headerVersion is the version of Header that this package writes. It rises
// when an old reader would misread a new one.
const headerVersion = 1

// MaxHeader bounds a header's line, in bytes: a process with 100,000 threads fits.
const MaxHeader = 4 << 20

// Header is the line that stands before a dump that was captured by an agent:
// where, when and how it was taken, and what the runtime itself does not tell.
type Header struct {
	Version int              `json:"version"`
	Host    string           `json:"host,omitempty"`
	Service string           `json:"service,omitempty"`
	PID     int              `json:"pid"`
	Command string           `json:"command,omitempty"` // redacted
	Runtime Runtime          `json:"runtime"`
	Method  string           `json:"method"` // attach | signal | pprof | py-spy | proc; script = a scenario's own printed it
	Taken   time.Time        `json:"taken"`
	Took    time.Duration    `json:"took"`             // in ns
	Number  int              `json:"number"`           // in its series, from 1
	Of      int              `json:"of"`               // how many the series was to have
	CPU     map[int64]int64  `json:"cpu,omitempty"`    // ns that each thread has used, by its number in the kernel
	States  map[int64]string `json:"states,omitempty"` // the kernel's letter for each thread that is not S: R, D, T, Z
	Notes   []string         `json:"notes,omitempty"`  // what was done instead of what, and what is missing
}

// Line gives the header as the line that is written, its end included.
func (h Header) Line() ([]byte, error) {
	h.Version = headerVersion
	h.Taken = h.Taken.UTC()
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode the header of a dump: %w", err)
	}
	return append(append([]byte(headerMark), b...), '\n'), nil
}

// ReadHeader reads a line, without its end. It gives false where the line is no
// header, and an error where it is one that can't be read.
func ReadHeader(line []byte) (Header, bool, error) {
	text, ok := bytes.CutPrefix(line, []byte(headerMark))
	if !ok {
		return Header{}, false, nil
	}
	var h Header
	if err := json.Unmarshal(text, &h); err != nil {
		return Header{}, true, fmt.Errorf("the line that says where the dump was taken can't be read: %w", err)
	}
	if h.Version != headerVersion {
		return Header{}, true, fmt.Errorf("the dump was written by a newer version: its header has version %d, this program reads %d", h.Version, headerVersion)
	}
	return h, true, nil
}
