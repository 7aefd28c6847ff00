package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	maxFile    = 64 << 10 // of one file of /proc, in bytes
	maxThreads = 2000
)

// process writes down what the kernel knows about a process. That it runs is
// checked before and after, so that it is not another one of the same number.
//
// Some files of /proc make the reader wait for the process's own locks, and a
// process that must be restarted may well hold them for ever. Such a read can't
// be called off: when ctx is over, what has been read so far is returned and the
// reader is left behind, until the kernel lets it go or this program ends.
func (s System) process(ctx context.Context, process *health.Process) (text string, truncated int64, err error) {
	if process == nil || process.PID == 0 {
		return "", 0, errors.New("no process of the service was found")
	}
	runs := func() error {
		ok, err := health.System{}.Runs(*process)
		if err == nil && !ok {
			err = fmt.Errorf("%s has ended", process)
		}
		return err
	}
	if err := runs(); err != nil {
		return "", 0, err
	}
	written := page{reading: "the start"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, section := range sectionsOf(process.PID) {
			if ctx.Err() != nil {
				return
			}
			written.begin(section.title)
			written.end(section.read())
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	text, reading := written.text()
	if ctx.Err() != nil {
		err = fmt.Errorf("%s was not read in time: it stopped at %s", process, reading)
	} else {
		err = runs()
	}
	text, truncated = head(text)
	return text, truncated, err
}

// page is what has been written so far, by one goroutine, while another may
// want to have it at any time.
type page struct {
	mu      sync.Mutex
	b       strings.Builder
	reading string
}

func (p *page) begin(title string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading = title
}

func (p *page) end(text string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(&p.b, "== %s\n%s", p.reading, clean(text))
	if err != nil {
		fmt.Fprintf(&p.b, "(%s)\n", restart.Escape(reason(err)))
	}
	p.b.WriteByte('\n')
}

func (p *page) text() (text, reading string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String(), p.reading
}

// reason shortens an error of a file to what is wrong with it.
func reason(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}

type section struct {
	title string
	read  func() (string, error)
}

// sectionsOf lists what is read of a process: first what never waits, last what
// needs its memory's lock. environ is not, and must not be, among it.
func sectionsOf(pid int) []section {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	file := func(name string) section {
		return section{name, func() (string, error) { return readSome(filepath.Join(dir, name)) }}
	}
	return []section{
		file("status"),
		file("limits"),
		file("cgroup"),
		{"threads", func() (string, error) { return threads(dir) }},
		{"descriptors and sockets", func() (string, error) { return descriptors(dir) }},
		file("statm"),
		{"command line", func() (string, error) { return commandLine(dir) }},
		file("smaps_rollup"),
	}
}

func readSome(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}

// commandLine gives the program and its arguments, each on a line of its own and
// without what looks like a secret.
func commandLine(dir string) (string, error) {
	text, err := readSome(filepath.Join(dir, "cmdline"))
	if text == "" {
		return "", err
	}
	var b strings.Builder
	for _, arg := range redact.Defaults().Each(strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")) {
		b.WriteString(restart.Escape(arg))
		b.WriteByte('\n')
	}
	return b.String(), err
}

// threads lists each thread with its state and the place in the kernel where it
// waits, as far as we may know it, and counts the states.
func threads(dir string) (string, error) {
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	states := map[string]int{}
	for i, task := range tasks {
		own := filepath.Join(dir, "task", task.Name())
		text, err := readSome(filepath.Join(own, "stat"))
		if err != nil {
			continue // it has ended meanwhile
		}
		name, state, ok := nameAndState([]byte(text))
		if !ok {
			continue
		}
		states[state]++
		if i >= maxThreads {
			continue
		}
		wchan, err := readSome(filepath.Join(own, "wchan"))
		if err != nil || wchan == "" || wchan == "0" {
			wchan = "-"
		}
		fmt.Fprintf(&b, "%-8s %s %-30s %s\n", task.Name(), state, wchan, restart.Escape(name))
	}
	if len(tasks) > maxThreads {
		fmt.Fprintf(&b, "… and %d more threads\n", len(tasks)-maxThreads)
	}
	return fmt.Sprintf("%d threads: %s\n", len(tasks), counts(states)) + b.String(), nil
}

// nameAndState reads the name and the state of a thread from its stat
// (proc_pid_stat(5)); the name may hold anything, brackets too.
func nameAndState(stat []byte) (name, state string, ok bool) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open || end+3 > len(stat) || stat[end+1] != ' ' {
		return "", "", false
	}
	return string(stat[open+1 : end]), string(stat[end+2 : end+3]), true
}
