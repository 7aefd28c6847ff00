package sshd

import (
	"context"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// listener hears what is asked of a session.
type listener struct {
	interrupt context.CancelCauseFunc
	begin     chan string // the command, once

	mu     sync.Mutex
	begun  bool
	term   string // "" = no terminal
	screen *screen
	width  int
	height int
}

// The requests that are known, as RFC 4254 has them.
type (
	ptyRequest struct {
		Term          string
		Columns, Rows uint32
		Width, Height uint32
		Modes         string
	}
	windowChange struct{ Columns, Rows, Width, Height uint32 }
	execRequest  struct{ Command string }
	signalled    struct{ Signal string }
)

// hear answers requests until there are no more.
func (l *listener) hear(requests <-chan *ssh.Request) {
	for r := range requests {
		ok := l.take(r)
		if r.WantReply {
			r.Reply(ok, nil) //nolint:errcheck // it has gone
		}
	}
}

// take does what is asked, where that is one of the few things that may be
// asked; env, subsystem, x11-req and auth-agent-req are not among them.
func (l *listener) take(r *ssh.Request) bool {
	switch r.Type {
	case "exec":
		var m execRequest
		return ssh.Unmarshal(r.Payload, &m) == nil && l.start(m.Command)
	case "shell":
		return l.start("")
	case "pty-req":
		var m ptyRequest
		return ssh.Unmarshal(r.Payload, &m) == nil && l.pty(m)
	case "window-change":
		var m windowChange
		if ssh.Unmarshal(r.Payload, &m) != nil {
			return false
		}
		l.size(m.Columns, m.Rows)
		return true
	case "signal":
		var m signalled
		if ssh.Unmarshal(r.Payload, &m) == nil && (m.Signal == "INT" || m.Signal == "TERM" || m.Signal == "HUP") {
			l.interrupt(errCtrlC)
			return true
		}
	}
	return false
}

// command waits for the command: false where none has come in time. One that has
// come before ctx ended is run, so that it says how it has come off.
func (l *listener) command(ctx context.Context, patience time.Duration) (line string, ok bool) {
	late := time.NewTimer(patience) // who opens a session has something to do
	defer late.Stop()
	select {
	case line = <-l.begin:
		return line, true
	case <-late.C:
	case <-ctx.Done():
	}
	select {
	case line = <-l.begin:
		return line, true
	default:
		return "", false
	}
}

// start takes the one command that a session is for; "" is none.
func (l *listener) start(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun {
		return false
	}
	l.begun = true
	l.begin <- line
	return true
}

// pty notes that there is a terminal at the other end.
func (l *listener) pty(m ptyRequest) bool {
	const most = 64 // bytes of a name
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun || l.term != "" || len(m.Term) > most {
		return false
	}
	l.term = m.Term
	if l.term == "" {
		l.term = "dumb"
	}
	l.width, l.height = bounded(m.Columns), bounded(m.Rows)
	return true
}

func (l *listener) size(columns, rows uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width, l.height = bounded(columns), bounded(rows)
	if l.screen != nil {
		l.screen.resize(l.width, l.height)
	}
}

// bounded keeps a size that somebody tells within what is painted.
func bounded(n uint32) int { return int(min(n, 1000)) }

// terminal gives the screen at the other end; nil = there is none.
func (l *listener) terminal(channel ssh.Channel, interrupt context.CancelCauseFunc) *screen {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == "" {
		return nil
	}
	l.screen = newScreen(channel, l.term, l.width, l.height, func() { interrupt(errCtrlC) })
	return l.screen
}
