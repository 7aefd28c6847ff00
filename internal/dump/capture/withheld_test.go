package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/restart"
)

// withholdVerb makes the test binary a process that keeps its memory's lock.
const withholdVerb = "withhold"

// withhold reads its own memory where a file lies that never comes, and so keeps
// the lock of it for reading; once its input ends it wants the lock for writing
// too, and whoever comes after that waits.
func withhold(path string) int {
	f, err := os.Open(path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	page, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go memory.ReadAt(make([]byte, 1), int64(uintptr(unsafe.Pointer(&page[0]))))
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE)
	return 0
}

// deadDisk mounts a file whose contents never come, until release.
func deadDisk(t *testing.T) (path string, asked <-chan struct{}, release func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root, to mount a disk that does not answer")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		missing(t, "/dev/fuse: "+err.Error())
	}
	dir := t.TempDir()
	if err := unix.Mount("dead", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0", fd)); err != nil {
		missing(t, "FUSE: "+err.Error())
	}
	read, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		serveDeadDisk(fd, read)
	}()
	release = sync.OnceFunc(func() {
		unix.Unmount(dir, unix.MNT_FORCE)
		unix.Unmount(dir, unix.MNT_DETACH)
		<-ended
		unix.Close(fd)
	})
	t.Cleanup(release)
	return filepath.Join(dir, "file"), read, release
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("there is no " + what)
	}
	t.Skip("there is no " + what)
}

// serveDeadDisk answers the kernel's questions but that for the contents.
func serveDeadDisk(fd int, read chan struct{}) {
	const lookup, getattr, open, contents, initialise = 1, 3, 14, 15, 26
	order := binary.NativeEndian
	attributes := func(node uint64) []byte { // struct fuse_attr
		b := make([]byte, 88)
		order.PutUint64(b, node)
		order.PutUint64(b[8:], 4096)
		mode := uint32(unix.S_IFREG | 0o444)
		if node == 1 {
			mode = unix.S_IFDIR | 0o755
		}
		order.PutUint32(b[60:], mode)
		order.PutUint32(b[64:], 1)
		return b
	}
	buffer := make([]byte, 1<<20)
	for {
		n, err := unix.Read(fd, buffer)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < 40 {
			return // it was unmounted
		}
		code, unique, node := order.Uint32(buffer[4:]), order.Uint64(buffer[8:]), order.Uint64(buffer[16:])
		var body []byte
		refusal := int32(0)
		switch code {
		case initialise:
			body = make([]byte, 64) // struct fuse_init_out
			order.PutUint32(body, 7)
			order.PutUint32(body[4:], 31)
			order.PutUint32(body[20:], 4096)
		case lookup:
			body = append(make([]byte, 40), attributes(2)...) // struct fuse_entry_out
			order.PutUint64(body, 2)
		case getattr:
			body = append(make([]byte, 16), attributes(node)...)
		case open:
			body = make([]byte, 16)
		case contents:
			close(read)
			read = make(chan struct{}) // a second time nobody waits for it
			continue
		case 2, 36, 42: // what wants no answer
			continue
		default:
			refusal = -int32(unix.ENOSYS)
		}
		head := make([]byte, 16)
		order.PutUint32(head, uint32(16+len(body)))
		order.PutUint32(head[4:], uint32(refusal))
		order.PutUint64(head[8:], unique)
		unix.Write(fd, append(head, body...))
	}
}

// What a process stuck on its disk withholds is not waited for: something is
// always there.
func TestWithheld(t *testing.T) {
	path, asked, release := deadDisk(t)
	pid, _, end := programUntil(t, os.Args[0], withholdVerb, path)
	t.Cleanup(release) // before the process is waited for
	<-asked
	end()
	for deadline := time.Now().Add(10 * time.Second); !stuck(pid); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not get stuck")
		}
	}
	begun := time.Now()
	var got []capture.Captured
	job := capture.Job{Target: capture.Target{PID: pid}, Request: capture.Request{Timeout: 5 * time.Second}}
	err := capture.Run(t.Context(), job, func(c capture.Captured) error { got = append(got, c); return nil })
	if err != nil || len(got) != 1 {
		t.Fatalf("%d dumps after %s: %v", len(got), time.Since(begun), err)
	}
	wants(t, got[0], capture.KernelMark, "D (disk sleep)")
	h := got[0].Header
	if h.Method != "proc" || h.Command != "" || len(h.Notes) == 0 || !strings.HasPrefix(h.Notes[0], "the arguments of the process: not shown by the kernel") {
		t.Errorf("%+v", h)
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
	// Nor does it keep another from being found by its command line.
	ref := capture.Ref{Command: "no-such-command-" + strconv.Itoa(pid)}
	_, err = capture.Find(t.Context(), ref)
	refused(t, err, restart.CodeUnavailable, "the kernel did not show those of", strconv.Itoa(pid))
}

// stuck tells whether a thread of a process waits for the lock.
func stuck(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		if at := bytes.LastIndexByte(b, ')'); at >= 0 && bytes.HasPrefix(b[at:], []byte(") D ")) {
			return true
		}
	}
	return false
}

// A job that only seeks takes no dump.
func TestSeek(t *testing.T) {
	mark := fmt.Sprintf("seek-me-%d", os.Getpid())
	pid, _ := program(t, "/bin/sh", "-c", "echo ready; read x # "+mark)
	job := capture.Job{Process: capture.Ref{Command: mark}, Request: capture.Request{Count: 1}, Seek: true}
	err := capture.Run(t.Context(), job, func(c capture.Captured) error {
		if c.Header.PID != pid || c.Header.Runtime != "process" || len(c.Raw) > 0 {
			t.Errorf("%+v", c)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	job.Process.Command = "no such " + mark
	refused(t, capture.Run(t.Context(), job, func(capture.Captured) error { return nil }), restart.CodeNotFound, "no process on this host")
}
