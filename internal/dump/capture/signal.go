package capture

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// signalNames are the signals that a scenario may name.
var signalNames = map[string]unix.Signal{"USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "QUIT": unix.SIGQUIT}

// signalNumber reads a signal's name, with or without SIG.
func signalNumber(name string) (unix.Signal, error) {
	if s, ok := signalNames[strings.TrimPrefix(name, "SIG")]; ok {
		return s, nil
	}
	return 0, restart.Errorf(restart.CodeInvalid, "the signal %s is not one that asks for a dump", restart.Quote(name)).WithHint("USR1, USR2 or QUIT")
}

func signalName(s unix.Signal) string { return strings.TrimPrefix(unix.SignalName(s), "SIG") }

// speech is how a runtime writes a dump when it gets a signal.
type speech struct {
	signal  unix.Signal
	output  int    // the descriptor that it writes to
	begins  []byte // what stands in it early on
	ends    []byte // what stands near its end; nil = nothing does
	silence time.Duration
}

// silence is how long nothing more must come before a dump that has no last
// line is taken for whole. Runtimes write a dump without a pause.
const silence = 150 * time.Millisecond

// speechOf gives how a runtime is asked by a signal.
func (p *process) speechOf() (speech, error) {
	switch p.runtime {
	case dump.JVM:
		return speech{signal: unix.SIGQUIT, output: 1, begins: []byte("Full thread dump"), ends: []byte("\nJNI global ref"), silence: silence}, nil
	case dump.Python:
		if p.request.Signal == "" {
			return speech{}, restart.Errorf(restart.CodeConflict, "no signal is declared that the Python program %d has registered faulthandler for", p.pid).
				WithHint("faulthandler.register(signal.SIGUSR1, all_threads=True) in the program, and signal: USR1 in the scenario")
		}
		number, err := signalNumber(p.request.Signal)
		return speech{signal: number, output: 2, begins: []byte("(most recent call first)"), silence: silence}, err
	}
	return speech{}, restart.Errorf(restart.CodeConflict, "process %d is neither a JVM nor a Python program, and is not sent a signal", p.pid)
}

// signalled sends the signal that makes the runtime write a dump, and reads back
// what it wrote. A process that does not catch the signal would die of it, and
// one that is stopped would get it later; neither is sent anything.
func (p *process) signalled(ctx context.Context) ([]byte, error) {
	how, err := p.speechOf()
	if err != nil {
		return nil, err
	}
	if err := p.stopped(); err != nil {
		return nil, err
	}
	if err := p.proves(p.runtime); err != nil {
		return nil, err
	}
	caught, err := p.catches(how.signal)
	if err != nil {
		return nil, err
	}
	if !caught {
		if p.runtime == dump.JVM {
			return nil, (&jvm{life: p.life}).uncaught()
		}
		return nil, restart.Errorf(restart.CodeConflict, "the Python program %d does not catch the signal %s, and would die of it", p.pid, signalName(how.signal)).
			WithHint("faulthandler.register(signal.SIG%s, all_threads=True) in the program", signalName(how.signal))
	}
	source, err := p.source(ctx, how.output)
	if err != nil {
		return nil, err
	}
	defer source.close()
	if err := p.signal(how.signal); err != nil {
		return nil, err
	}
	p.note("the dump was asked for by the signal %s, and read from %s", signalName(how.signal), source)
	return p.listen(ctx, how, source)
}

// source is where the output of a process ends up, from a moment on.
type source interface {
	read(ctx context.Context, limit int64) ([]byte, error) // all that was written since
	close()
	String() string
}

// listen reads until the dump is whole.
func (p *process) listen(ctx context.Context, how speech, from source) ([]byte, error) {
	var text []byte
	var changed time.Time
	for wait := 2 * time.Millisecond; ; wait = min(wait*2, 100*time.Millisecond) {
		late := until(ctx, time.Now().Add(wait))
		// What is there when the time is over is better than nothing.
		read, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		more, err := from.read(read, dump.MaxCapture+1)
		stop()
		if err != nil {
			return nil, err
		}
		if len(more) != len(text) {
			text, changed = more, time.Now()
		}
		begun := bytes.Contains(text, how.begins)
		quiet := time.Since(changed) >= how.silence
		switch {
		case len(text) > dump.MaxCapture:
			return text, nil
		case begun && quiet && (how.ends == nil || bytes.Contains(text, how.ends)):
			return text, nil
		case late == nil:
			continue
		case begun:
			p.note("the dump may be incomplete: its end was not seen in time")
			return text, nil
		}
		return nil, restart.Errorf(restart.CodeUnavailable, "process %d wrote no dump to %s", p.pid, from).Because(late)
	}
}

// source finds where the output goes: the declared log, or what the descriptor
// of the process is.
func (p *process) source(ctx context.Context, descriptor int) (source, error) {
	if p.request.Log != "" {
		return openLog(p.request.Log)
	}
	link, err := p.descriptor(descriptor)
	if err != nil {
		return nil, err
	}
	nowhere := func(format string, args ...any) error {
		return restart.Errorf(restart.CodeUnavailable, "the output of process %d %s", p.pid, fmt.Sprintf(format, args...)).
			WithHint("log: in the scenario names the file that it ends up in")
	}
	switch {
	case strings.HasPrefix(link, "socket:"): // how systemd connects a service to the journal
		return p.journal(ctx)
	case link == "/dev/null":
		return nil, nowhere("is thrown away (/dev/null)")
	case strings.HasPrefix(link, "/dev/"):
		return nil, nowhere("goes to a terminal (%s)", restart.Escape(link))
	case strings.HasPrefix(link, "pipe:"):
		return nil, nowhere("goes through a pipe to another program, and nobody knows where that writes it")
	case strings.HasPrefix(link, "/"):
		return p.openFile(descriptor, link)
	}
	return nil, nowhere("goes to %s, which can't be read back", restart.Quote(link))
}
