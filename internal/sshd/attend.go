package sshd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// farewell is how long the other end may take to leave once its command is
	// done, so that the last bytes arrive.
	farewell = 2 * time.Second
	// silences are how many questions whether the other end is there may go
	// without an answer.
	silences = 3
)

// The reasons for which a connection is ended from here.
var (
	errStopping = errors.New("the server is stopping; a run that was started goes on")
	errRevoked  = errors.New("the key is good no more, so that this ends; a run that was started goes on")
	errTooLong  = errors.New("the connection has lasted as long as one may; a run that was started goes on")
	errAway     = errors.New("the other end does not answer")
	errCtrlC    = errors.New("interrupted")
)

// attend serves a connection of somebody who has signed in: one session, and in
// it one command.
func (s *Server) attend(ctx context.Context, who visitor, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancelCause(ctx)
	var tending sync.WaitGroup
	defer tending.Wait()
	defer who.conn.Close()
	defer cancel(nil)
	tending.Go(func() { ssh.DiscardRequests(requests) }) // each is refused: nothing is forwarded
	tending.Go(func() {
		who.conn.Wait() //nolint:errcheck // why it has gone is the same to us
		cancel(errAway)
	})
	tending.Go(func() { s.guard(ctx, cancel, who) })
	late := time.NewTimer(who.patience(s.cfg.Limits)) // who comes has something to do
	defer late.Stop()
	var begun bool
	ended := make(chan struct{})
	for {
		select {
		case asked, ok := <-channels:
			switch {
			case !ok:
				if begun {
					<-ended
				}
				return
			case asked.ChannelType() != "session":
				s.cfg.Logger.Info("refused over SSH", "actor", who.name, "from", who.shown.From, "channel", restart.Escape(asked.ChannelType()))
				asked.Reject(ssh.Prohibited, "nothing is forwarded here") //nolint:errcheck // it has gone
			case begun:
				asked.Reject(ssh.Prohibited, "a connection is for one command") //nolint:errcheck // as above
			default:
				begun = true
				tending.Go(func() {
					defer close(ended)
					s.session(ctx, cancel, who, asked, &tending)
				})
			}
		case <-ended:
			s.leaveTaking(channels)
			return
		case <-late.C:
			if !begun {
				return
			}
		case <-ctx.Done():
			if begun {
				<-ended
				s.leaveTaking(channels)
			}
			return
		}
	}
}

// leaveTaking waits until the other end has closed the connection, a moment at
// most: closed from here at once, what was written last could be lost.
func (s *Server) leaveTaking(channels <-chan ssh.NewChannel) {
	t := time.NewTimer(farewell)
	defer t.Stop()
	for {
		select {
		case asked, ok := <-channels:
			if !ok {
				return
			}
			asked.Reject(ssh.Prohibited, "a connection is for one command") //nolint:errcheck // it has gone
		case <-t.C:
			return
		}
	}
}

// guard ends a connection whose key is good no more, or whose other end has
// gone without a word.
func (s *Server) guard(ctx context.Context, end context.CancelCauseFunc, who visitor) {
	look, alive := time.NewTicker(s.cfg.Limits.Look), time.NewTicker(s.cfg.Limits.Keepalive)
	defer look.Stop()
	defer alive.Stop()
	answers := make(chan struct{}, silences)
	asked := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-answers:
			asked = 0
		case <-look.C:
			actor, _, err := s.cfg.Keys.Check(ctx, who.shown)
			if restart.CodeOf(err) == restart.CodeUnauthorised || err == nil && actor.Name != who.name {
				end(errRevoked)
				return
			}
		case <-alive.C:
			select {
			case <-answers: // it was there before the next question
				asked = 0
			default:
			}
			if asked++; asked > silences {
				end(errAway)
				who.conn.Close()
				return
			}
			go func() { // it ends with an answer, or with the connection
				if _, _, err := who.conn.SendRequest("keepalive@openssh.com", true, nil); err == nil {
					select {
					case answers <- struct{}{}:
					default:
					}
				}
			}()
		}
	}
}

// session runs the one command of a connection. What is asked of it is heard
// until the connection is closed, beside in tending: the other end need not say
// that it has understood the end of the command.
func (s *Server) session(ctx context.Context, end context.CancelCauseFunc, who visitor, asked ssh.NewChannel, tending *sync.WaitGroup) {
	channel, requests, err := asked.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	listening := &listener{interrupt: interrupt, begin: make(chan string, 1)}
	tending.Go(func() { listening.hear(requests) })
	if line, ok := listening.command(ctx, who.patience(s.cfg.Limits)); ok {
		code := s.run(ctx, who, channel, listening.terminal(channel, interrupt), line)
		channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)})) //nolint:errcheck // it has gone
	}
	end(nil)
}

// run runs a command and gives its exit code.
func (s *Server) run(ctx context.Context, who visitor, channel ssh.Channel, screen *screen, line string) int {
	var in io.Reader = channel
	var out, talk io.Writer = channel, &turns{w: channel.Stderr()}
	if screen != nil {
		in, out, talk = screen, screen, screen
	}
	if who.refused != nil {
		cut := time.AfterFunc(farewell, func() { who.conn.Close() }) // where nobody reads it
		defer cut.Stop()
		fmt.Fprintln(talk, "restartilka: "+who.refused.Error())
		return cli.ExitRefused
	}
	shell := cli.Shell{URL: s.cfg.URL, Transport: inside{handler: s.cfg.Handler, shown: who.shown, log: s.cfg.Logger, handling: &s.handling}}
	code := make(chan int, 1)
	go func() { // it is waited for on each way out
		c := cli.ExitUnreachable
		defer func() { code <- c }()
		defer s.recovered("a command that came by SSH", who.name, talk)
		c = shell.Run(ctx, line, in, out, talk)
	}()
	var c int
	ended := false
	select {
	case c = <-code:
		ended = true
	case <-ctx.Done():
	}
	if ctx.Err() == nil || ended && c == cli.ExitDone {
		return c
	}
	// The command says how it has come off, and we say why; also where it was the
	// quicker. A reader who does not read must not hold that up.
	why, patience := reasonOf(ctx), s.cfg.Limits.Farewell
	if errors.Is(why, errRevoked) {
		patience = s.cfg.Limits.Revoked
	}
	cut := time.AfterFunc(patience, func() { who.conn.Close() })
	defer cut.Stop()
	if !errors.Is(why, errCtrlC) && !errors.Is(why, errAway) {
		fmt.Fprintf(talk, "\nrestartilka: %s\n", why)
	}
	if !ended {
		c = <-code
	}
	if errors.Is(why, errRevoked) {
		return cli.ExitRefused
	}
	return c
}

// recovered ends a panic where it is deferred: it is logged with its stack, and
// the person is told that it is not his fault. What is lost is one command.
func (s *Server) recovered(of, who string, talk io.Writer) {
	p := recover()
	if p == nil {
		return
	}
	s.cfg.Logger.Error("a panic was ended", "in", of, "who", who, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	defer func() { _ = recover() }() // where talk itself has panicked, nobody can be told
	fmt.Fprintln(talk, "restartilka: internal error")
	fmt.Fprintln(talk, "hint: the server's log has more; whether something was begun: restartilka runs")
}

// turns lets one write after another: a stream of SSH takes one at a time.
type turns struct {
	mu sync.Mutex
	w  io.Writer
}

func (t *turns) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(b)
}

// reasonOf says why a connection ends.
func reasonOf(ctx context.Context) error {
	why := context.Cause(ctx)
	if errors.Is(why, context.Canceled) {
		return errStopping
	}
	return why
}
