package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
)

// The marks in the document between which the figures stand.
const (
	figuresBegin = "<!-- figures: written by test/faults --write -->"
	figuresEnd   = "<!-- end of figures -->"
)

// intoDocument puts the figures of a run into a document, with the command
// that made them.
func (f *figures) intoDocument(o options) error {
	text, err := os.ReadFile(o.write)
	if err != nil {
		return err
	}
	fresh, err := f.inText(string(text), o)
	if err != nil {
		return fmt.Errorf("%s: %w", o.write, err)
	}
	return os.WriteFile(o.write, []byte(fresh), 0o644)
}

func (f *figures) inText(text string, o options) (string, error) {
	head, rest, begun := strings.Cut(text, figuresBegin)
	_, foot, ended := strings.Cut(rest, figuresEnd)
	if !begun || !ended {
		return "", fmt.Errorf("the marks %s and %s are not there", figuresBegin, figuresEnd)
	}
	var table bytes.Buffer
	f.table(&table)
	lines, notes, _ := strings.Cut(table.String(), "\n\n")
	if notes != "" {
		notes = "\n" + strings.ReplaceAll(strings.TrimSpace(notes), "\n", "  \n") + "\n"
	}
	return fmt.Sprintf("%s%s\n`make faults N=%d SEED=%d%s`, on %s:\n\n```json\n%s\n```\n\n%s\n%s%s%s", head, figuresBegin, o.n, o.seed, o.again(),
		time.Now().UTC().Format("2 January 2006"), f.result().line(), strings.TrimSpace(lines), notes, figuresEnd, foot), nil
}
