package sshd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// other is the other end of a terminal: keys come from in, out is what it shows.
type other struct {
	io.Reader
	out bytes.Buffer
}

func (o *other) Write(b []byte) (int, error) { return o.out.Write(b) }

// FuzzScreen: whatever is typed, lines come out of it that end, and nothing is
// left waiting.
func FuzzScreen(f *testing.F) {
	for _, seed := range []string{"yes\r", "n\x7fy\r\n", "\x1b[1;5A\x1bOP\x1b\x1b[", "\x03\x04", "ä\x7f\x15\r", strings.Repeat("x", 10_000) + "\r", "\xff\x7f\r", "\x1b[31"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, typed []byte) {
		in, keys := io.Pipe()
		o := &other{Reader: in}
		s := newScreen(o, "xterm", 80, 24, func() {})
		if err := s.Ask(""); err != nil { // so that what is typed counts from its first byte
			t.Fatal(err)
		}
		go func() {
			keys.Write(typed)
			keys.Close()
		}()
		b := make([]byte, maxTyped)
		for {
			n, err := s.Read(b)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || n == 0 || b[n-1] != '\n' || bytes.ContainsAny(b[:n-1], "\r\n\x03\x04\x1b\x7f") {
				t.Fatalf("%q, %v", b[:n], err)
			}
		}
		in.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		if shown := o.out.String(); strings.ContainsAny(shown, "\x1b\x03\x07") {
			t.Fatalf("%q shows %q", typed, shown)
		}
	})
}

func TestScreenEdits(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"yes\r": "yes\n", "yex\x7fs\r": "yes\n", "\x7f\x7fy\r": "y\n", "nonsense\x15y\r": "y\n", "дa\x08\x08y\r": "y\n", "\x1b[A\x1b[1;5Cy\x1bOP\r": "y\n", "y\n": "y\n", "y\x04\r": "y\n", "\ty\x07\r": "y\n",
	} {
		in, keys := io.Pipe()
		o := &other{Reader: in}
		s := newScreen(o, "xterm", 80, 24, func() {})
		answer := make(chan string)
		go func() {
			b := make([]byte, maxTyped)
			n, _ := s.Read(b)
			answer <- string(b[:n])
		}()
		for asking := false; !asking; {
			s.mu.Lock()
			asking = s.asking
			s.mu.Unlock()
		}
		io.WriteString(keys, typed)
		if got := <-answer; got != want {
			t.Errorf("%q: %q", typed, got)
		}
		keys.Close()
	}
	// At the end of what is typed there is no answer.
	s := newScreen(&other{Reader: strings.NewReader("")}, "xterm", 80, 24, func() {})
	if n, err := s.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
		t.Error(n, err)
	}
}

// TestTypedBeforeTheQuestion: it is no answer, however many lines it is.
func TestTypedBeforeTheQuestion(t *testing.T) {
	t.Parallel()
	in, keys := io.Pipe()
	defer keys.Close()
	o := &other{Reader: in}
	s := newScreen(o, "xterm", 80, 24, func() {})
	for _, typed := range []string{"y\ry\r", "yes", "\x1b["} { // each is done with when the next is taken
		if _, err := io.WriteString(keys, typed); err != nil {
			t.Fatal(err)
		}
	}
	answer := make(chan string)
	go func() {
		b := make([]byte, maxTyped)
		n, _ := s.Read(b)
		answer <- string(b[:n])
	}()
	for asking := false; !asking; {
		s.mu.Lock()
		asking = s.asking
		s.mu.Unlock()
	}
	if _, err := io.WriteString(keys, "Ano\r"); err != nil { // the A ends what was begun before
		t.Fatal(err)
	}
	if got := <-answer; got != "no\n" {
		t.Errorf("%q", got)
	}
}

// TestTypedBeforeAnybodyReads: an answer counts from the question on, also where
// it is there before who has asked comes to read it; and what follows it is none
// to the next question.
func TestTypedBeforeAnybodyReads(t *testing.T) {
	t.Parallel()
	in, keys := io.Pipe()
	defer keys.Close()
	o := &other{Reader: in}
	s := newScreen(o, "xterm", 80, 24, func() {})
	for _, say := range []string{"first", "second"} {
		if err := s.Ask(say + "\n? "); err != nil {
			t.Fatal(err)
		}
		for _, typed := range []string{say + "\rlost\r", "lost", "\x00"} { // each is done with when the next is taken
			if _, err := io.WriteString(keys, typed); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, maxTyped)
		if n, err := s.Read(b); err != nil || string(b[:n]) != say+"\n" {
			t.Errorf("%q, %v", b[:n], err)
		}
	}
	if shown := o.out.String(); shown != "first\r\n? first\r\nsecond\r\n? second\r\n" {
		t.Errorf("%q", shown)
	}
}
