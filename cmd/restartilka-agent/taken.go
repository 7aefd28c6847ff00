package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/dump/parse"
	"github.com/restartilka/restartilka/internal/dump/tell"
	"github.com/restartilka/restartilka/internal/restart"
)

// taken is what becomes of dumps for the person who asked for them: a file,
// their text, or what they say.
type taken struct {
	stdout, stderr io.Writer
	raw, json      bool
	screen         bool     // stdout is a person's terminal
	file           *os.File // nil = they are kept nowhere
	count          int
	dumps          []*dump.Dump
	unread         error
}

// newTaken makes the file, before anything is done, so that a name that is
// taken costs nothing.
func newTaken(f *dumpFlags, stdout, stderr io.Writer) (*taken, error) {
	t := &taken{stdout: stdout, stderr: stderr, raw: f.raw, json: f.json}
	if out, ok := stdout.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
		t.screen = err == nil
	}
	if f.out == "" {
		return t, nil
	}
	var err error
	if t.file, err = os.OpenFile(f.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the dump can't be written: %v", err)
	}
	return t, nil
}

// add takes one more dump, with its header.
func (t *taken) add(text []byte) error {
	if t.file != nil {
		if _, err := t.file.Write(text); err != nil {
			return fmt.Errorf("write the dump: %w", err)
		}
	}
	t.read(text)
	if t.raw {
		if t.screen {
			text = harmless(text)
		}
		_, err := t.stdout.Write(text)
		return err
	}
	return nil
}

// harmless gives a dump line by line for a terminal, to which the name of a
// thread could write what it wants otherwise. Tabs stay.
func harmless(text []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		for i, part := range strings.Split(string(bytes.TrimRight(line, "\r\n")), "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(restart.Escape(part))
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// read looks at what a dump says. One that can't be read is kept all the same.
func (t *taken) read(text []byte) {
	t.count++
	if t.raw {
		return
	}
	dumps, err := parse.Bytes(text)
	if err != nil {
		t.unread = err
		return
	}
	t.dumps = append(t.dumps, dumps...)
}

// Write takes what a script prints: it is a dump, if it is one.
func (t *taken) Write(p []byte) (int, error) {
	if t.file != nil {
		return t.file.Write(p)
	}
	return t.stdout.Write(p)
}

// end says what the dumps say, and where they are.
func (t *taken) end() error {
	if t.count > 0 && !t.raw {
		if err := t.say(); err != nil {
			return err
		}
	}
	if t.file == nil {
		if t.count > 0 && !t.raw {
			fmt.Fprintln(t.stderr, "the dumps are kept nowhere: --out FILE keeps them, --raw prints them")
		}
		return nil
	}
	info, err := t.file.Stat()
	if err = errors.Join(err, t.file.Sync(), t.file.Close()); err != nil {
		return err
	}
	if info.Size() == 0 {
		return os.Remove(t.file.Name())
	}
	fmt.Fprintf(t.stderr, "the dumps are in %s\n", restart.Escape(t.file.Name()))
	return nil
}

// say tells the verdict first, then what else was found.
func (t *taken) say() error {
	if t.unread != nil {
		fmt.Fprintf(t.stderr, "a dump could not be read: %s\n", restart.Escape(t.unread.Error()))
	}
	report := analyse.Series(t.dumps, analyse.Options{})
	if t.json {
		return json.NewEncoder(t.stdout).Encode(report)
	}
	var b bytes.Buffer
	tell.Findings(&b, report.Findings)
	tell.Threads(&b, report)
	_, err := t.stdout.Write(b.Bytes())
	return err
}
