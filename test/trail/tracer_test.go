package trail_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// traced is what the tracer tells of a process.
type traced struct {
	Killed bool   `json:"killed"` // false = it came to its end, by itself
	Exit   int    `json:"exit"`
	Call   string `json:"call"` // that it did not make any more, and on what
	Count  int    `json:"count"`
}

// calls are those by which a process changes what outlives it.
var calls = map[uint64]string{
	unix.SYS_WRITE: "write", unix.SYS_WRITEV: "writev", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync",
	unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_OPENAT: "openat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_RENAMEAT: "renameat",
	unix.SYS_RENAMEAT2: "renameat2", unix.SYS_LINKAT: "linkat", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_CONNECT: "connect", unix.SYS_SENDTO: "sendto",
	unix.SYS_SENDMSG: "sendmsg", unix.SYS_SHUTDOWN: "shutdown",
}

// tracer counts the calls of a process, over all of its threads: strace would
// count each thread by itself.
type tracer struct {
	pid      int
	killAt   int
	counting bool
	result   traced
}

// trace runs a writing process and kills it before its n-th call. What came of
// it is on standard error.
func trace(when, text string) error {
	runtime.LockOSThread() // a process is traced by one thread
	n, err := strconv.Atoi(when)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], "write", text)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	t := &tracer{pid: cmd.Process.Pid, killAt: n}
	if err := t.follow(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stderr).Encode(t.result)
}

func (t *tracer) follow() error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &status, 0, nil); err != nil {
		return err
	}
	if err := unix.PtraceSetOptions(t.pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return err
	}
	thread, deliver := t.pid, 0
	for {
		if err := unix.PtraceSyscall(thread, deliver); err != nil && !errors.Is(err, unix.ESRCH) { // it is dying
			return err
		}
		var err error
		if thread, err = unix.Wait4(-1, &status, unix.WALL, nil); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		deliver = 0
		switch {
		case thread == t.pid && (status.Exited() || status.Signaled()):
			t.result.Killed, t.result.Exit = status.Signaled(), status.ExitStatus()
			return nil
		case !status.Stopped():
		case status.StopSignal() == unix.SIGTRAP|0x80:
			if err := t.call(thread); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		case status.StopSignal() != unix.SIGTRAP && status.StopSignal() != unix.SIGSTOP:
			deliver = int(status.StopSignal())
		}
	}
}

// callInfo is the kernel's ptrace_syscall_info at the entry of a call.
type callInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64
	args   [6]uint64
	_      [2]uint64
}

// call takes note of a thread that enters a call, or leaves one.
func (t *tracer) call(thread int) error {
	var info callInfo
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 {
		return errno
	}
	if info.op != unix.PTRACE_SYSCALL_INFO_ENTRY || t.result.Call != "" {
		return nil
	}
	if info.number == unix.SYS_GETPPID {
		t.counting = !t.counting
		return nil
	}
	name := t.changes(&info)
	if !t.counting || name == "" {
		return nil
	}
	if t.result.Count++; t.result.Count == t.killAt {
		t.result.Call = name
		return unix.Kill(t.pid, unix.SIGKILL) // a call that is being entered is not made any more
	}
	return nil
}

// changes names a call and what it is made on; "" = it changes nothing outside.
func (t *tracer) changes(info *callInfo) string {
	call := calls[info.number]
	switch call {
	case "":
		return ""
	case "openat":
		if info.args[2]&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return ""
		}
		return call
	case "unlinkat", "renameat", "renameat2", "linkat", "mkdirat":
		return call
	}
	on, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, info.args[0]))
	kind, _, special := strings.Cut(on, ":")
	switch {
	case err != nil || kind == "pipe" || kind == "anon_inode": // the word that it is committed; between threads
		return ""
	case special:
		return call + " " + kind
	}
	return call + " " + filepath.Base(on)
}
