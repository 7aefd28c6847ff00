package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The system calls at which a process is killed, or told of an error.
var (
	killedAt = []string{"fsync", "fdatasync", "write", "pwrite64", "renameat", "linkat", "unlinkat", "sendto", "openat", "ftruncate"}
	failedAt = []string{"fsync", "fdatasync", "pwrite64", "renameat", "linkat", "write"}
)

// injection of strace: what happens at the when-th call of a thread.
type tampering struct {
	call string // one of the above
	do   string // signal=KILL, error=EIO …
	when int    // from 1
}

func (t tampering) String() string { return fmt.Sprintf("%s:%s:when=%d", t.set(), t.do, t.when) }

// set names the variants of a call that programs use on one machine or another.
func (t tampering) set() string {
	switch t.call {
	case "renameat":
		return "/^renameat2?$"
	case "fsync", "fdatasync":
		return "fsync,fdatasync"
	}
	return t.call
}

// args are strace's own. It lets go of what the process starts (-b execve):
// one program is meant, not its children.
func (t tampering) args(log string) []string {
	return []string{"-f", "-b", "execve", "-o", log, "-e", "signal=KILL", "-e", "trace=" + t.set(), "-e", "inject=" + t.String()}
}

// tracer is a strace that has taken hold of a process.
type tracer struct {
	cmd *exec.Cmd
	log string
}

// attach takes hold of a running process.
func (l *lane) attach(pid int, t tampering) (*tracer, error) {
	l.traces++
	tr := &tracer{log: filepath.Join(l.dir, fmt.Sprintf("strace-%d", l.traces))}
	tr.cmd = exec.CommandContext(l.b.Context(), "strace", append(t.args(tr.log), "-p", fmt.Sprint(pid))...)
	tr.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	talk, err := tr.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := tr.cmd.Start(); err != nil {
		return nil, err
	}
	attached := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(talk)
		said := ""
		for lines.Scan() {
			said = lines.Text()
			if strings.Contains(said, "attached") {
				break
			}
		}
		attached <- said
		for lines.Scan() { // strace must not wait for a reader
		}
	}()
	select {
	case said := <-attached:
		if strings.Contains(said, "attached") {
			return tr, nil
		}
		tr.release()
		return nil, fmt.Errorf("strace does not attach: %s", said)
	case <-time.After(5 * time.Second):
		tr.release()
		return nil, fmt.Errorf("strace has not attached in 5 s")
	}
}

// hit tells whether the call has been reached.
func (tr *tracer) hit() bool {
	b, err := os.ReadFile(tr.log)
	return err == nil && (bytes.Contains(b, []byte("(INJECTED)")) || bytes.Contains(b, []byte("killed by SIGKILL")))
}

// release lets the process go on untraced.
func (tr *tracer) release() {
	tr.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended with what it traced
	ended := make(chan struct{})
	go func() {
		tr.cmd.Wait() //nolint:errcheck // its exit status says nothing
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(3 * time.Second):
		tr.cmd.Process.Kill() //nolint:errcheck // as above
		<-ended
	}
	os.Remove(tr.log)
}
