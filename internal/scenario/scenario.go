package scenario

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// MaxSize bounds a scenario file, in bytes.
const MaxSize = 1 << 20

// maxFindings bounds what is told about one file; more help nobody.
const maxFindings = 200

// Levels of a finding.
const (
	LevelError   = "error"   // Parse refuses the file
	LevelWarning = "warning" // Parse accepts it; a reviewer should look
)

// Finding is one thing to say about a scenario file.
type Finding struct {
	Line    int    `json:"line"` // from 1; 0 = the file as a whole
	Level   string `json:"level"`
	Code    string `json:"code"` // stable, for programs: unknown-key, comment, …
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to change
}

func (f Finding) String() string {
	s := f.Message
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Digest gives the identity of a version: the SHA-256 of its bytes, in
// lower-case hex.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Parse reads a scenario file strictly. The result carries its Digest, its
// parameters in the file's order, and every default of the strategy. A file
// that lint has an error for is refused with CodeInvalid and the line of the
// first error; one over MaxSize with CodeTooLarge. The bytes are not kept.
func Parse(b []byte) (restart.Scenario, error) {
	s, found := read(b)
	if err := found.err(); err != nil {
		return restart.Scenario{}, err
	}
	return s, nil
}

// Lint lists what Parse refuses, as errors, as many as can be told at once (200). For
// a file that Parse accepts it lists advice, as warnings. The findings are in
// the order of their lines; none means that there is nothing to say.
func Lint(b []byte) []Finding {
	s, found := read(b)
	if found.err() == nil {
		advise(s, found)
	}
	return found.sorted()
}

// findings collects what is said about one file.
type findings struct {
	list  []Finding
	last  int             // number of lines of the file
	lines map[string]line // where each key stands, by its path: "health.http.url"
}

func newFindings(b []byte) *findings {
	return &findings{last: 1 + bytes.Count(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")), lines: map[string]line{}}
}

// line tells where the value of a key stands.
type line struct {
	key     int  // line of the key
	value   int  // line on which the value begins
	literal bool // a block (|), whose text starts on the line after value
}

func (f *findings) refuse(line int, code, message, hint string) {
	f.add(Finding{Line: line, Level: LevelError, Code: code, Message: message, Hint: hint})
}

func (f *findings) advise(line int, code, message, hint string) {
	f.add(Finding{Line: line, Level: LevelWarning, Code: code, Message: message, Hint: hint})
}

func (f *findings) add(finding Finding) {
	finding.Line = min(finding.Line, f.last) // the YAML reader names the end of the file by the line behind it
	if !f.full() {
		f.list = append(f.list, finding)
	}
}

// full tells whether further findings would be dropped.
func (f *findings) full() bool { return len(f.list) >= maxFindings }

// at gives the line of a key by its path, of the nearest key around it where
// it does not stand in the file, and 0 where there is none.
func (f *findings) at(path string) int {
	for path != "" {
		if l, ok := f.lines[path]; ok {
			return l.key
		}
		path = parent(path)
	}
	return 0
}

// inside gives the line of an offset, in bytes, in the text at a path: exact
// for a block (|), else the line on which the text begins.
func (f *findings) inside(path, text string, offset int) int {
	l, ok := f.lines[path]
	switch {
	case !ok:
		return f.at(path)
	case !l.literal:
		return l.value
	}
	return l.value + 1 + strings.Count(text[:offset], "\n")
}

// sorted gives the findings in the order of their lines.
func (f *findings) sorted() []Finding {
	slices.SortStableFunc(f.list, func(a, b Finding) int { return a.Line - b.Line })
	return f.list
}

// err makes one error for people of the first refusal, and counts the others.
func (f *findings) err() error {
	var first *Finding
	more := 0
	for i, finding := range f.sorted() {
		switch {
		case finding.Level != LevelError:
		case first == nil:
			first = &f.list[i]
		default:
			more++
		}
	}
	if first == nil {
		return nil
	}
	code := restart.CodeInvalid
	if first.Code == codeSize {
		code = restart.CodeTooLarge
	}
	bare := *first
	bare.Hint = ""
	e := restart.Errorf(code, "%s", bare)
	if more > 0 {
		e = restart.Errorf(code, "%s; and %d more", bare, more)
	}
	if first.Hint != "" {
		e = e.WithHint("%s", first.Hint)
	}
	return e
}
