package sshd

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// maxTyped bounds a line that is typed, in bytes.
const maxTyped = 4 << 10

// screen is a terminal at the other end. Nobody there turns keys into lines: the
// client has put the terminal into raw mode and passes on each key, so that what
// a system's own terminal does is done here: echo, erasing, Ctrl-C. It is a
// cli.Screen.
//
// What is typed while nothing is asked is dropped: an answer is one to the
// question that is on the screen.
type screen struct {
	out  io.Writer
	term string
	size atomic.Int64 // width<<32 | height

	mu     sync.Mutex // of out, and of what follows
	asking bool       // what is typed is an answer
	asked  bool       // the line that Read gives next was asked for by Ask
	line   []byte
	lines  chan []byte // one for each that was asked for; closed at the end of what is typed
}

func newScreen(other io.ReadWriter, term string, width, height int, interrupt func()) *screen {
	s := &screen{out: other, term: term, lines: make(chan []byte, 1)}
	s.resize(width, height)
	go s.listen(other, interrupt) // it ends with the channel
	return s
}

func (s *screen) resize(width, height int) { s.size.Store(int64(width)<<32 | int64(height)) }

// Size implements cli.Screen.
func (s *screen) Size() (width, height int) {
	size := s.size.Load()
	return int(size >> 32), int(size & 0xffffffff)
}

// Term implements cli.Screen.
func (s *screen) Term() string { return s.term }

// Write begins lines at the left, as raw mode does not.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.out.Write(toTheLeft(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func toTheLeft(text string) []byte { return []byte(strings.ReplaceAll(text, "\n", "\r\n")) }

// Ask implements cli.Screen. An answer that is typed as soon as the question is
// on the screen counts, though nobody reads yet.
func (s *screen) Ask(question string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asked {
		s.asking, s.asked = true, true
	}
	_, err := s.out.Write(toTheLeft(question))
	return err
}

// Read gives the next line: that which was asked for, or else the first that is
// typed from now on; with its end.
func (s *screen) Read(b []byte) (int, error) {
	s.mu.Lock()
	if !s.asked {
		s.asking = true
	}
	s.asked = false
	s.mu.Unlock()
	line, ok := <-s.lines
	if !ok {
		return 0, io.EOF
	}
	return copy(b, line), nil // it fits: who reads lines has room for maxTyped
}

// listen takes what is typed until there is no more.
func (s *screen) listen(from io.Reader, interrupt func()) {
	defer close(s.lines)
	b := make([]byte, 256)
	var keys keyboard
	for {
		n, err := from.Read(b)
		for _, c := range b[:n] {
			if c == keyInterrupt {
				interrupt()
				continue
			}
			if keys.plain(c) && !s.key(c) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

const (
	keyInterrupt = 0x03 // Ctrl-C
	keyEnd       = 0x04 // Ctrl-D
	keyBackspace = 0x08
	keyKill      = 0x15 // Ctrl-U
	keyEscape    = 0x1b
	keyDelete    = 0x7f
)

// keyboard leaves out the sequences that arrows and the like send.
type keyboard struct{ in byte }

// plain tells whether a byte is a key by itself.
func (k *keyboard) plain(c byte) bool {
	switch {
	case k.in == keyEscape && (c == '[' || c == 'O'):
		k.in = c
	case k.in == '[' && c < 0x40: // up to its last byte
	case k.in != 0:
		k.in = 0
	case c == keyEscape:
		k.in = c
	default:
		return true
	}
	return false
}

// key does what a key does. False: nothing more is typed.
func (s *screen) key(c byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asking {
		return true
	}
	switch {
	case c == keyEnd:
		return len(s.line) > 0
	case c == '\r' || c == '\n':
		s.echo("\r\n")
		s.lines <- append(s.line, '\n') // there is room: it is one for each that was asked for
		s.line, s.asking = nil, false
	case c == keyBackspace || c == keyDelete:
		if _, n := utf8.DecodeLastRune(s.line); n > 0 {
			s.line = s.line[:len(s.line)-n]
			s.echo("\b \b")
		}
	case c == keyKill:
		for range utf8.RuneCount(s.line) {
			s.echo("\b \b")
		}
		s.line = nil
	case c >= ' ' && len(s.line) < maxTyped-1:
		s.line = append(s.line, c)
		s.echo(string([]byte{c}))
	}
	return true
}

func (s *screen) echo(text string) {
	io.WriteString(s.out, text) //nolint:errcheck // who has gone sees nothing
}
