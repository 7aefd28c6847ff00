package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// checkLog accepts a plain absolute path.
func checkLog(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || restart.Escape(path) != path {
		return restart.Errorf(restart.CodeInvalid, "the log %s is not a plain absolute path", restart.Quote(path))
	}
	return nil
}

// descriptor gives what a descriptor of the process is.
func (p *process) descriptor(number int) (string, error) {
	link, err := os.Readlink(p.proc("fd", strconv.Itoa(number)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", restart.Errorf(restart.CodeUnavailable, "process %d has closed its output (descriptor %d)", p.pid, number)
	}
	if err != nil {
		return "", fmt.Errorf("where process %d writes to: %w", p.pid, err)
	}
	return link, nil
}

// file is a regular file that is read from where it ended at first.
type file struct {
	*os.File
	from int64
	name string
}

// openLog opens the file that a scenario declares, through no link at all:
// whoever may write to one of its folders could point it elsewhere.
func openLog(path string) (source, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.6: then its folders are believed
		fd, err = unix.Open(path, int(how.Flags), 0)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, restart.Errorf(restart.CodeUnavailable, "the log %s is a link, or a folder above it is one, and is not followed", path).WithHint("name the file itself in the scenario")
	}
	if err != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "the log %s can't be opened: %v", path, cause(err)).Because(err)
	}
	return sized(os.NewFile(uintptr(fd), path), path)
}

// openFile opens what a descriptor of the process is, wherever that lies, but
// only where the process itself writes there: it could hold any file of the host
// by a descriptor that lets it neither read nor write.
func (p *process) openFile(descriptor int, name string) (source, error) {
	f, err := os.OpenFile(p.proc("fd", strconv.Itoa(descriptor)), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "the output in %s can't be opened: %v", restart.Quote(name), cause(err)).Because(err)
	}
	if err := p.writes(descriptor, f); err != nil {
		f.Close()
		return nil, restart.Errorf(restart.CodeUnavailable, "the output in %s is not read back: %v", restart.Quote(name), err)
	}
	return sized(f, name)
}

// writes checks that a descriptor of the process is open for writing, and is the
// file that was opened through it.
func (p *process) writes(descriptor int, opened *os.File) error {
	theirs, err := unix.PidfdGetfd(p.fd, descriptor, 0)
	if err != nil { // before Linux 5.6, or not root
		return p.writesByInfo(descriptor)
	}
	defer unix.Close(theirs)
	flags, err := unix.FcntlInt(uintptr(theirs), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(theirs, &a), unix.Fstat(int(opened.Fd()), &b)); err != nil {
		return err
	}
	if a.Dev != b.Dev || a.Ino != b.Ino {
		return errors.New("it was changed meanwhile")
	}
	return writable(flags)
}

// writesByInfo asks for the same by name.
func (p *process) writesByInfo(descriptor int) error {
	info, err := os.ReadFile(p.proc("fdinfo", strconv.Itoa(descriptor)))
	if err != nil {
		return cause(err)
	}
	flags, err := strconv.ParseInt(parseStatus(info)["flags"], 8, 64)
	if err != nil {
		return errors.New("nobody knows what for it is open")
	}
	return writable(int(flags))
}

func writable(flags int) error {
	if mode := flags & unix.O_ACCMODE; flags&unix.O_PATH != 0 || mode != unix.O_WRONLY && mode != unix.O_RDWR {
		return errors.New("the process can't write there itself")
	}
	return nil
}

func sized(f *os.File, name string) (source, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, restart.Errorf(restart.CodeUnavailable, "the output in %s can't be read back: %v", restart.Quote(name), err)
	}
	return &file{File: f, from: info.Size(), name: name}, nil
}

func (f *file) read(_ context.Context, limit int64) ([]byte, error) {
	if info, err := f.Stat(); err == nil && info.Size() < f.from {
		f.from = 0 // it was emptied meanwhile, as logrotate's copytruncate does
	}
	b, err := io.ReadAll(io.NewSectionReader(f, f.from, limit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.name, err)
	}
	return b, nil
}

func (f *file) close() { f.Close() }

func (f *file) String() string { return restart.Escape(f.name) }

const journalctlPath = "/usr/bin/journalctl"

// journal is what a unit has written since a moment.
type journal struct {
	program, unit string
	since         []string // the option that says from where on
}

// journal finds the unit whose journal holds the output, and where it ends now.
func (p *process) journal(ctx context.Context) (source, error) {
	j := &journal{program: p.Journalctl, unit: p.request.Unit}
	if j.program == "" {
		j.program = journalctlPath
	}
	if j.unit == "" {
		groups, err := os.ReadFile(p.proc("cgroup"))
		if err != nil {
			return nil, fmt.Errorf("which unit process %d belongs to: %w", p.pid, err)
		}
		j.unit = unitOf(string(groups))
	}
	if j.unit == "" {
		return nil, restart.Errorf(restart.CodeUnavailable, "process %d writes to a socket and belongs to no unit of systemd, so that nobody knows where its output is kept", p.pid).
			WithHint("log: in the scenario names the file that it ends up in")
	}
	if err := restart.CheckUnit(j.unit); err != nil {
		return nil, err
	}
	now := time.Now()
	out, err := j.run(ctx, maxTalk, "--lines=1", "--show-cursor")
	if err != nil {
		return nil, err
	}
	j.since = []string{fmt.Sprintf("--since=@%d", now.Unix())}
	if _, cursor, ok := bytes.Cut(out, []byte("-- cursor: ")); ok {
		j.since = []string{"--after-cursor=" + strings.TrimSpace(string(cursor))}
	}
	return j, nil
}

// unitOf gives the service unit that a process's control group names, the
// nearest to it.
func unitOf(groups string) string {
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for at := filepath.Clean("/" + fields[2]); at != "/"; at = filepath.Dir(at) {
			if strings.HasSuffix(at, ".service") {
				return filepath.Base(at)
			}
		}
	}
	return ""
}

func (j *journal) read(ctx context.Context, limit int64) ([]byte, error) {
	return j.run(ctx, limit, append([]string{"--unit=" + j.unit}, j.since...)...)
}

func (j *journal) close() {}

func (j *journal) String() string { return "the journal of " + j.unit }

func (j *journal) run(ctx context.Context, limit int64, args ...string) ([]byte, error) {
	out, said, err := output(ctx, limit, j.program, append([]string{"--quiet", "--no-pager", "--output=cat"}, args...)...)
	switch {
	case ctx.Err() != nil:
		return nil, restart.Errorf(restart.CodeUnavailable, "the journal was not read in time").Because(ctx.Err())
	case errors.Is(err, fs.ErrNotExist):
		return nil, restart.Errorf(restart.CodeUnavailable, "this host has no journal: there is no %s", j.program)
	case err != nil:
		return nil, restart.Errorf(restart.CodeUnavailable, "the journal can't be read: %s: %v", restart.Quote(said), err).Because(err)
	}
	return out, nil
}

// output runs a program of the host and gives what it printed, at most limit
// bytes of it, and the first words of what it complained about.
func output(ctx context.Context, limit int64, program string, args ...string) (out []byte, said string, err error) {
	kept, talk := head{limit: limit}, head{limit: maxTalk}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &kept, &talk
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	return kept.b, firstWords(talk.b), err
}

// head keeps the first bytes written to it, and takes the rest in silence.
type head struct {
	b     []byte
	limit int64
}

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(int64(len(p)), h.limit-int64(len(h.b)))]...)
	return len(p), nil
}
