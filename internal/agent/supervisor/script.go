package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
)

const (
	// path is fixed: what a script calls by name comes from the system's own folders.
	path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// patience is how long a script's output may be held open after its end.
	patience = time.Second
	// killTime bounds the wait for processes that were sent KILL.
	killTime = 30 * time.Second
	// orphanTick is how often dead orphans are taken in.
	orphanTick = time.Second
	// shell is the interpreter where the scenario names none.
	defaultShell = "/bin/sh"
)

// script is one script to run.
type script struct {
	name   string // of the phase
	text   string
	shell  string // "" = /bin/sh
	user   host.User
	values map[string]string // what it gets beside the fixed environment
	output io.Writer
}

// runner runs scripts, one at a time.
type runner struct {
	task    string
	cgroup  string // base; "" = process groups
	grace   time.Duration
	scratch func() (*os.File, error)
	warn    func(string) // what is weaker than it should be; may be told more than once
}

// run runs a script and gives its exit status, 128+N where signal N ended it.
// When ctx is over, its whole tree is ended first, and the error is the
// context's cause. Any other error means that it could not be started.
func (r *runner) run(ctx context.Context, s script) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	text, err := sealed([]byte(s.text))
	if err != nil {
		r.warn(fmt.Sprintf("the script is not in sealed memory but in an unnamed file of the spool: %v", err))
		if text, err = unsealed([]byte(s.text), r.scratch); err != nil {
			return 0, err
		}
	}
	defer text.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("make a pipe: %w", err)
	}
	defer read.Close()

	tree, err := contain(r.cgroup, r.task+"-"+s.name)
	if err != nil {
		r.warn(err.Error())
	}
	defer tree.close()
	cmd := command(s, text, write)
	tree.prepare(cmd)
	err = start(cmd, s.user.UID != 0)
	write.Close()
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.CopyBuffer(onlyWriter{s.output}, onlyReader{read}, make([]byte, 64<<10)) //nolint:errcheck // ends with the pipe or its deadline
	}()
	err = r.wait(ctx, cmd, tree)
	read.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // a pipe can
	<-drained
	if err != nil {
		return 0, err
	}
	return exitStatus(cmd.ProcessState), nil
}

// wait waits for the main process, or ends the whole tree when ctx is over.
func (r *runner) wait(ctx context.Context, cmd *exec.Cmd, tree containment) error {
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	tick := time.NewTicker(orphanTick)
	defer tick.Stop()
	for {
		select {
		case err := <-exited:
			return ended(err)
		case <-tick.C:
			buryOrphans(cmd.Process.Pid)
		case <-ctx.Done():
			kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.grace+killTime)
			defer cancel()
			if err := endTree(kill, tree, r.grace); err != nil {
				return errors.Join(context.Cause(ctx), &leftError{err})
			}
			return errors.Join(context.Cause(ctx), ended(<-exited))
		}
	}
}

// leftError says that the tree of a script that was to be ended has not gone,
// or may not have.
type leftError struct{ err error }

func (e *leftError) Error() string { return e.err.Error() }
func (e *leftError) Unwrap() error { return e.err }

// ending says what became of the process tree of a script that had to be ended.
func ending(err error) string {
	if left, ok := errors.AsType[*leftError](err); ok {
		return "its process tree could not be ended: " + left.Error()
	}
	return "the whole process tree was ended"
}

// ended tells whether a process that was waited for ended at all, in whatever way.
func ended(err error) error {
	if _, status := errors.AsType[*exec.ExitError](err); status {
		return nil
	}
	return err
}

// command makes the command with its exact arguments, environment and descriptors.
func command(s script, text, output *os.File) *exec.Cmd {
	shell := s.shell
	if shell == "" {
		shell = defaultShell
	}
	cmd := &exec.Cmd{
		Path:        shell,
		Args:        []string{shell, "-eu", "/proc/self/fd/3"},
		Env:         environment(s.user, shell, s.values),
		Dir:         "/",
		Stdout:      output,
		Stderr:      output,
		ExtraFiles:  []*os.File{text},
		SysProcAttr: &syscall.SysProcAttr{},
	}
	if !s.user.Self {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.user.UID, Gid: s.user.GID, Groups: s.user.Groups}
	}
	return cmd
}

// environment is all that a script sees: nothing is passed through.
func environment(u host.User, shell string, values map[string]string) []string {
	env := []string{path, "HOME=" + u.Home, "USER=" + u.Name, "LOGNAME=" + u.Name, "SHELL=" + shell, "LANG=C.UTF-8"}
	for name, v := range values {
		if !strings.ContainsRune(v, 0) {
			env = append(env, name+"="+v)
		}
	}
	slices.Sort(env)
	return env
}

func exitStatus(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}

// onlyReader and onlyWriter hide other methods, so that io.CopyBuffer uses its
// buffer and the pipe's deadline counts.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }
