package parse

import "bytes"

// source gives the lines of a text, one at a time, without their ends and
// without the prefix that a log has put before each.
type source struct {
	text      []byte
	prefix    prefix
	line      []byte // at hand
	wasted    int    // bytes that were read as JSON, and were none
	number    int    // of the line at hand, from 1; 0 = before the first
	lineStart int    // of the line at hand in text, its prefix included
	lineEnd   int    // where the line after it begins
}

// next goes on to the next line; false = there is none.
func (s *source) next() bool {
	if s.lineEnd >= len(s.text) {
		return false
	}
	s.lineStart = s.lineEnd
	var raw []byte
	raw, s.lineEnd = lineAt(s.text, s.lineStart)
	s.line = s.prefix.strip(raw)
	s.number++
	return true
}

// back makes next give the line at hand once more.
func (s *source) back() {
	s.lineEnd = s.lineStart
	s.number--
}

// peek gives the line after the one at hand; nil = there is none.
func (s *source) peek() []byte {
	if s.lineEnd >= len(s.text) {
		return nil
	}
	raw, _ := lineAt(s.text, s.lineEnd)
	return s.prefix.strip(raw)
}

// following gives up to n lines after the one at hand.
func (s *source) following(n int) [][]byte {
	lines := make([][]byte, 0, n)
	for at := s.lineEnd; at < len(s.text) && len(lines) < n; {
		var raw []byte
		raw, at = lineAt(s.text, at)
		lines = append(lines, s.prefix.strip(raw))
	}
	return lines
}

// raw gives the line at hand with its prefix.
func (s *source) raw() []byte {
	line, _ := lineAt(s.text, s.lineStart)
	return line
}

// skipTo goes on to the line that holds the byte at an offset of the text, which
// is not before the line at hand; it is then the line at hand.
func (s *source) skipTo(offset int) {
	for s.lineEnd <= offset && s.next() {
		continue
	}
}

// lineAt gives the line that begins at an offset, without its end, and where the
// next one begins.
func lineAt(text []byte, begin int) (line []byte, next int) {
	line = text[begin:]
	next = len(text)
	if n := bytes.IndexByte(line, '\n'); n >= 0 {
		line = line[:n]
		next = begin + n + 1
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, next
}
