package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// firstDay dates a tree that has neither git nor a release in its changelog.
// Any fixed day does; it is not in 1970, for archives with such files are
// taken for broken.
var firstDay = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// release is one section of CHANGELOG.md.
type release struct {
	version string    // "" = not released yet
	day     time.Time // zero where version is ""
	changes []string
}

var heading = regexp.MustCompile(`^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$`)

// readChangelog reads "Keep a Changelog": sections "## [VERSION] - DAY", the
// newest first, with items "- text" that may go on in indented lines.
func readChangelog(text string) ([]release, error) {
	var all []release
	for n, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "## ") {
			found := heading.FindStringSubmatch(line)
			if found == nil {
				return nil, fmt.Errorf("CHANGELOG.md, line %d: %q is not ## [VERSION] - YYYY-MM-DD", n+1, line)
			}
			r := release{version: found[1]}
			if strings.EqualFold(r.version, "unreleased") {
				r.version = ""
			} else {
				day, err := time.Parse(time.DateOnly, found[2])
				if err != nil {
					return nil, fmt.Errorf("CHANGELOG.md, line %d: the day: %w", n+1, err)
				}
				r.day = day
			}
			all = append(all, r)
			continue
		}
		if len(all) == 0 {
			continue
		}
		last := &all[len(all)-1]
		if item, ok := strings.CutPrefix(line, "- "); ok {
			last.changes = append(last.changes, item)
		} else if strings.HasPrefix(line, "  ") && len(last.changes) > 0 {
			last.changes[len(last.changes)-1] += " " + strings.TrimSpace(line)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("CHANGELOG.md has no section ## [VERSION]")
	}
	return all, nil
}

func load() ([]release, error) {
	b, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return nil, err
	}
	return readChangelog(string(b))
}

func date(w io.Writer) error {
	all, err := load()
	if err != nil {
		return err
	}
	day := firstDay
	for _, r := range all {
		if r.day.After(day) {
			day = r.day
		}
	}
	_, err = fmt.Fprintln(w, day.Unix())
	return err
}

// changelog writes all sections; the one that is not released yet counts as
// the version that is built, of the day that is given.
func changelog(w io.Writer, name, version, seconds string) error {
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("the date: %w", err)
	}
	all, err := load()
	if err != nil {
		return err
	}
	return writeChangelog(w, name, version, time.Unix(at, 0).UTC(), all)
}

// writeChangelog follows deb-changelog(5).
func writeChangelog(w io.Writer, name, version string, built time.Time, all []release) error {
	var b strings.Builder
	for _, r := range all {
		v, day := r.version, r.day
		if v == "" {
			v, day = version, built
		} else {
			v += "-1"
		}
		if len(r.changes) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s (%s) unstable; urgency=medium\n\n", name, v)
		for _, change := range r.changes {
			for i, line := range wrap(change, 74) {
				mark := "    "
				if i == 0 {
					mark = "  * "
				}
				fmt.Fprintf(&b, "%s%s\n", mark, line)
			}
		}
		fmt.Fprintf(&b, "\n -- %s  %s\n\n", maintainer, day.Format(time.RFC1123Z))
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}

// wrap breaks a text between words into lines of at most width characters;
// a longer word has a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
