package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// jvm is a HotSpot JVM that is asked by its attach protocol: commands over a
// Unix socket that the JVM makes in its own /tmp when it is asked to by a file
// and the signal QUIT, which it handles in a thread of its own.
type jvm struct {
	*life
	user   user
	inner  string  // its number as it sees it itself, in its own pid namespace
	tmp    *rooted // its /tmp
	socket string  // in tmp
}

// attach asks a JVM for its threads, and for what else the request names.
func (p *process) attach(ctx context.Context) ([]byte, error) {
	j, err := p.openJVM()
	if err != nil {
		return nil, err
	}
	defer j.tmp.close()
	text, err := j.command(ctx, dump.MaxCapture+1, "threaddump", "-l")
	if err != nil {
		return nil, err
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	if p.request.Histogram && p.last {
		text = p.append(text, "the histogram of the heap is missing", func() ([]byte, error) {
			return j.command(ctx, dump.MaxCapture+1, "inspectheap", "-all")
		})
	}
	if p.request.Virtual {
		text = p.append(text, "virtual threads are missing", func() ([]byte, error) { return j.virtual(ctx) })
	}
	return text, nil
}

// append adds what was asked for beside the threads, as far as it is there;
// without it the dump is still one.
func (p *process) append(text []byte, missing string, more func() ([]byte, error)) []byte {
	extra, err := more()
	if err != nil {
		p.note("%s: %v", missing, err)
	}
	if len(extra) > 0 && extra[len(extra)-1] != '\n' {
		extra = append(extra, '\n')
	}
	return append(text, extra...)
}

func (p *process) openJVM() (*jvm, error) {
	if p.runtime != dump.JVM {
		return nil, restart.Errorf(restart.CodeConflict, "process %d is not a JVM", p.pid)
	}
	if err := p.stopped(); err != nil {
		return nil, err
	}
	j := &jvm{life: p.life}
	if flag := j.option("-XX:+DisableAttachMechanism"); flag != "" {
		return nil, restart.Errorf(restart.CodeConflict, "the JVM %d was started with %s, which forbids to ask it", p.pid, flag)
	}
	var err error
	if j.user, err = p.user(); err != nil {
		return nil, err
	}
	status, err := p.status()
	if err != nil {
		return nil, err
	}
	j.inner = strconv.Itoa(p.pid)
	if numbers := strings.Fields(status["NSpid"]); len(numbers) > 0 {
		j.inner = numbers[len(numbers)-1]
	}
	j.socket = ".java_pid" + j.inner
	j.tmp, err = p.folder("/tmp")
	return j, err
}

// option gives the argument that has switched something on, as the last that
// says so; "" = none. What JAVA_TOOL_OPTIONS or a file of options adds is not
// seen: the environment of a process is not read.
func (j *jvm) option(on string) (found string) {
	off := strings.Replace(on, ":+", ":-", 1)
	for _, arg := range j.arguments[min(1, len(j.arguments)):] {
		switch arg {
		case on:
			found = arg
		case off:
			found = ""
		}
	}
	return found
}

// command asks the JVM one thing and gives its answer, of which it reads at most
// limit bytes.
func (j *jvm) command(ctx context.Context, limit int64, name string, args ...string) ([]byte, error) {
	conn, err := j.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })() //nolint:errcheck // it is a socket, and knows deadlines
	if _, err := conn.Write(question(name, args)); err != nil {
		return nil, j.broken(ctx, err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, limit+maxStatus))
	if err != nil {
		return nil, j.broken(ctx, err)
	}
	return parseAnswer(answer)
}

// question is a command in version 1 of the protocol, which JDK 6 to 25
// understand: the version, the command and three arguments, each with a zero
// byte behind it.
func question(name string, args []string) []byte {
	const arguments = 3
	words := append([]string{"1", name}, args...)
	for len(words) < arguments+2 {
		words = append(words, "")
	}
	return []byte(strings.Join(words, "\x00") + "\x00")
}

// maxStatus bounds the first line of an answer, in bytes.
const maxStatus = 32

// parseAnswer reads an answer: a line with a number, 0 for success, and the text.
func parseAnswer(answer []byte) ([]byte, error) {
	status, text, ok := bytes.Cut(answer, []byte("\n"))
	if !ok || len(status) > maxStatus {
		return nil, restart.Errorf(restart.CodeUnavailable, "the JVM closed the connection without an answer")
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(status)))
	switch {
	case err != nil:
		return nil, restart.Errorf(restart.CodeUnavailable, "the JVM's answer can't be read: it begins with %s", restart.Quote(string(status)))
	case number == 101: // JNI_EVERSION's number in this protocol
		return nil, restart.Errorf(restart.CodeUnavailable, "the JVM does not understand this version of the attach protocol")
	case number != 0:
		return nil, &refusal{status: number, text: firstWords(text)}
	}
	return text, nil
}

// refusal is an answer of a JVM that is no success.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the JVM refused with %d: %s", r.status, restart.Quote(r.text))
}

// firstWords gives the first line that says something.
func firstWords(text []byte) string {
	for line := range strings.Lines(string(text[:min(len(text), 4096)])) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

func (j *jvm) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return restart.Errorf(restart.CodeUnavailable, "the JVM %d does not answer: it can't bring its threads to a stop, or its attach listener hangs", j.pid).Because(ctx.Err())
	}
	return restart.Errorf(restart.CodeUnavailable, "the JVM %d broke off: %v", j.pid, err).Because(err)
}

// connect gives a connection to the JVM, which it wakes up for that if need be.
func (j *jvm) connect(ctx context.Context) (*os.File, error) {
	conn, err := j.dial()
	if errors.Is(err, unix.EAGAIN) {
		return j.await(ctx)
	}
	if !absent(err) {
		return conn, err
	}
	remove, err := j.wake()
	if err != nil {
		return nil, err
	}
	defer remove()
	return j.await(ctx)
}

// absent tells whether there is no socket yet, or only one that an earlier JVM
// of the same number has left.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// dial connects with the user and group of the JVM itself: JDK 8 lets nobody
// else in, not even root. Who answers must be that very process: the folder is
// one in which everybody may make files.
func (j *jvm) dial() (*os.File, error) {
	var fd int
	err := j.user.as(func() error {
		var err error
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil { // or it would wait in line for ever
			return fmt.Errorf("make a socket: %w", err)
		}
		path := fmt.Sprintf("/proc/thread-self/fd/%d/%s", j.tmp.fd(), j.socket)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			unix.Close(fd)
			return fmt.Errorf("connect to the JVM %d at /tmp/%s: %w", j.pid, j.socket, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err == nil && int(peer.Pid) != j.pid {
		err = restart.Errorf(restart.CodeForbidden, "process %d listens on the socket of the JVM %d", peer.Pid, j.pid)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "jvm"), nil
}

// wake makes the file that a JVM looks for when it gets the signal QUIT, and
// sends that. Without the file the signal would be a demand for a dump on its
// standard output; without a handler it would kill.
func (j *jvm) wake() (remove func(), err error) {
	if err := j.proves(dump.JVM); err != nil {
		return nil, err
	}
	caught, err := j.catches(unix.SIGQUIT)
	if err != nil {
		return nil, err
	}
	if !caught {
		return nil, j.uncaught()
	}
	name := ".attach_pid" + j.inner
	dir, path := j.tmp, "/tmp/"+name
	if err = j.trigger(dir, name); err != nil {
		// Before JDK 7u4 the file was looked for in the working directory only, and it still is there first.
		return nil, restart.Errorf(restart.CodeUnavailable, "the JVM %d can't be asked: its user can't make %s: %v", j.pid, path, cause(err)).Because(err)
	}
	remove = func() { j.user.as(func() error { return unix.Unlinkat(dir.fd(), name, 0) }) } //nolint:errcheck // the JVM or a cleaner was faster
	if err := j.signal(unix.SIGQUIT); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// trigger makes an empty file that belongs to the JVM's user.
func (j *jvm) trigger(dir *rooted, name string) error {
	return j.user.as(func() error {
		fd, err := unix.Openat(dir.fd(), name, unix.O_CREAT|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
}

// uncaught says why a JVM does not catch QUIT.
func (j *jvm) uncaught() error {
	for _, flag := range []string{"-Xrs", "-XX:+ReduceSignalUsage"} {
		if j.option(flag) != "" {
			return restart.Errorf(restart.CodeConflict, "the JVM %d was started with %s, does not catch the signal QUIT, and would die of it", j.pid, flag)
		}
	}
	return restart.Errorf(restart.CodeConflict, "the JVM %d does not catch the signal QUIT, and would die of it: it is just starting, or JAVA_TOOL_OPTIONS has -Xrs", j.pid)
}

// await waits until the JVM listens, and has room for one more who asks.
func (j *jvm) await(ctx context.Context) (*os.File, error) {
	why := "does not open its attach socket"
	for wait := 200 * time.Microsecond; ; wait = min(wait*3/2, 50*time.Millisecond) {
		if err := until(ctx, time.Now().Add(wait)); err != nil {
			return nil, restart.Errorf(restart.CodeUnavailable, "the JVM %d %s /tmp/%s", j.pid, why, j.socket).Because(err)
		}
		conn, err := j.dial()
		if errors.Is(err, unix.EAGAIN) {
			why = "does not answer: others wait in line at"
		} else if !absent(err) {
			return conn, err
		}
		if err := j.check(); err != nil {
			return nil, err
		}
	}
}

// cause gives the innermost error: what the system said.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// unknownCommand tells whether a JVM has refused a command because it is older
// than that.
func unknownCommand(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && slices.ContainsFunc([]string{"Unknown diagnostic command", "not recognized"}, func(s string) bool { return strings.Contains(r.text, s) })
}
