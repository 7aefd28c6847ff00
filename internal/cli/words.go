package cli

import (
	"strings"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxLine bounds a command line that comes from elsewhere, in bytes.
const maxLine = 16 << 10

// Words splits a line into words as a POSIX shell does: by spaces and tabs,
// with ' and " and \ as quotes. It expands nothing: $, `, ~, * and all the
// others that mean something to a shell are characters like any other within
// quotes, and what joins commands in a shell is an error without them. So are
// control characters, wherever they stand, and a quote without its end.
func Words(line string) ([]string, error) {
	bad := func(format string, args ...any) ([]string, error) {
		return nil, restart.Errorf(restart.CodeInvalid, format, args...)
	}
	switch {
	case len(line) > maxLine:
		return bad("the command has more than %d bytes", maxLine)
	case !utf8.ValidString(line):
		return bad("the command is not valid UTF-8 text")
	}
	for _, r := range line {
		if r != '\t' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0) {
			return bad("the command holds a control character (%U)", r)
		}
	}
	s := splitter{line: line}
	for s.at < len(line) {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	if s.begun {
		s.words = append(s.words, s.word.String())
	}
	return s.words, nil
}

// splitter is Words at work.
type splitter struct {
	line  string
	at    int // of the next byte
	words []string
	word  strings.Builder
	begun bool // there is a word, though it may be empty yet
}

// step reads a separator, a quoted part or one byte. All that means something
// here is ASCII, so that other characters pass byte by byte.
func (s *splitter) step() error {
	c := s.line[s.at]
	s.at++
	switch c {
	case ' ', '\t':
		if s.begun {
			s.words = append(s.words, s.word.String())
			s.word.Reset()
			s.begun = false
		}
		return nil
	case '\'':
		return s.single()
	case '"':
		return s.double()
	case '\\':
		if s.at == len(s.line) {
			return restart.Errorf(restart.CodeInvalid, `nothing follows the last \`)
		}
		c = s.line[s.at]
		s.at++
	case ';', '|', '&', '<', '>', '(', ')':
		return restart.Errorf(restart.CodeInvalid, "%c has no meaning here: this is no shell, and a line is one command", c).WithHint("put it between quotes, or leave it to the shell on your own side")
	}
	s.begun = true
	s.word.WriteByte(c)
	return nil
}

// single reads up to the next ', everything as it is.
func (s *splitter) single() error {
	end := strings.IndexByte(s.line[s.at:], '\'')
	if end < 0 {
		return errQuote
	}
	s.begun = true
	s.word.WriteString(s.line[s.at : s.at+end])
	s.at += end + 1
	return nil
}

// double reads up to the next ", where \ quotes the few that POSIX names.
func (s *splitter) double() error {
	s.begun = true
	for s.at < len(s.line) {
		c := s.line[s.at]
		s.at++
		switch {
		case c == '"':
			return nil
		case c == '\\' && s.at < len(s.line) && strings.IndexByte("$`\"\\", s.line[s.at]) >= 0:
			c = s.line[s.at]
			s.at++
		}
		s.word.WriteByte(c)
	}
	return errQuote
}

var errQuote = restart.Errorf(restart.CodeInvalid, "a quote is not closed").
	WithHint(`ssh takes one level of quotes away: ssh … restart nginx --reason '"502s since the deploy"'`)
