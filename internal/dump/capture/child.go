package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// Verb is the hidden verb of restartilka-agent that Main serves.
	Verb = "capture"

	maxJob   = 256 << 10
	maxEvent = dump.MaxHeader + 64<<10 // a line between child and parent, in bytes
	// grace is what a child has beyond the time of its dumps, to start, to find
	// the process and to hand over what it has taken.
	grace = 3 * time.Second
)

// Job is what a child is to do, as JSON in the first line of its standard input.
type Job struct {
	Request Request  `json:"request"`
	Target  Target   `json:"target,omitzero"`  // or
	Process Ref      `json:"process,omitzero"` // to be found by the child
	Host    string   `json:"host,omitempty"`   // for the headers
	Service string   `json:"service,omitempty"`
	Redact  []string `json:"redact,omitempty"` // regular expressions beside those that are built in
	Seek    bool     `json:"seek,omitempty"`   // take none: one header says which process it is, and what it runs on
}

// Check refuses a job that no child could do.
func (j Job) Check() error {
	if err := j.Request.check(); err != nil { // of a copy
		return err
	}
	if j.Target.PID == 0 {
		if err := j.Process.Check(); err != nil {
			return err
		}
	}
	_, err := redact.New(j.Redact)
	return err
}

// limit gives how long a child may take, at most.
func (j Job) limit() time.Duration {
	r := j.Request
	if r.check() != nil {
		return grace
	}
	return time.Duration(r.Count-1)*max(r.Interval, r.Timeout) + r.Timeout + grace
}

// event is one line from the child, with Size bytes behind it where it has a header.
type event struct {
	Header *dump.Header   `json:"header,omitempty"`
	Size   int64          `json:"size,omitempty"`
	Error  *restart.Error `json:"error,omitempty"`
}

// Run takes dumps in a child process and calls emit with each as soon as it is
// there; an error of emit ends the child. Whatever the process does, Run comes
// back soon after the end of ctx, or of the time that the job allows. The
// program that calls it must serve Verb by Main.
func Run(ctx context.Context, job Job, emit func(Captured) error) error {
	return Runner{}.Run(ctx, job, emit)
}

// Runner is Run for who has a say in how the child is kept together, and whose
// rights it has.
type Runner struct {
	Prepare func(*exec.Cmd) // called before the child starts; nil = nothing is to be added
}

// Run is Run with the Runner's say.
func (r Runner) Run(ctx context.Context, job Job, emit func(Captured) error) error {
	if err := job.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, job.limit())
	defer cancel()
	input, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("encode the job of a dump: %w", err)
	}
	child, err := start(append(input, '\n'), r.Prepare)
	if err != nil {
		return err
	}
	// The child ends when its input does; should it hang in the kernel, it is
	// left behind, and the kernel ends it when it lets go.
	defer child.leave()
	defer context.AfterFunc(ctx, child.stop)()
	err = receive(child.output, job.Request.Count, emit)
	if ctx.Err() != nil {
		return restart.Errorf(restart.CodeUnavailable, "the dump was not taken in time").Because(ctx.Err())
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return restart.Errorf(restart.CodeInternal, "the process that takes dumps ended before its time%s", child.last()).Because(err)
	}
	return err
}

// child is a process of this program that takes dumps.
type child struct {
	cmd    *exec.Cmd
	input  *os.File
	output *os.File
	said   *head
	ended  chan struct{}
}

// self is this program, also after its file has been replaced by an upgrade.
const self = "/proc/self/exe"

func start(job []byte, prepare func(*exec.Cmd)) (*child, error) {
	theirs, input, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer theirs.Close()
	output, written, err := os.Pipe()
	if err != nil {
		input.Close()
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer written.Close()
	c := &child{input: input, output: output, said: &head{limit: maxTalk}, ended: make(chan struct{})}
	c.cmd = &exec.Cmd{
		Path: self, Args: []string{"restartilka-agent", Verb},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}, Dir: "/",
		Stdin: theirs, Stdout: written, Stderr: c.said, WaitDelay: time.Second,
		SysProcAttr: &unix.SysProcAttr{Setpgid: true},
	}
	if prepare != nil {
		prepare(c.cmd)
	}
	if err := c.cmd.Start(); err != nil {
		input.Close()
		output.Close()
		return nil, fmt.Errorf("start the process that takes dumps: %w", err)
	}
	go func() {
		c.cmd.Wait() //nolint:errcheck // what it has to say came over its output
		close(c.ended)
	}()
	if _, err := input.Write(job); err != nil {
		c.stop()
		c.leave()
		return nil, fmt.Errorf("hand over the job of a dump: %w", err)
	}
	return c, nil
}

// stop ends the child: kindly first, so that it takes away what it has made in
// the folders of a JVM.
func (c *child) stop() {
	c.input.Close()
	c.output.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // then the child's end ends the reading
}

// patience is what a child has for tidying up.
const patience = 500 * time.Millisecond

// leave waits for the child's end, for a moment, and kills it then.
func (c *child) leave() {
	c.input.Close()
	defer c.output.Close()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.ended:
		return
	case <-timer.C:
	}
	unix.Kill(-c.cmd.Process.Pid, unix.SIGKILL) //nolint:errcheck // with what it has started
	timer.Reset(patience)
	select {
	case <-c.ended:
	case <-timer.C:
	}
}

// last gives what a child that failed has complained about.
func (c *child) last() string {
	select {
	case <-c.ended:
	case <-time.After(patience):
		return ""
	}
	if said := firstWords(c.said.b); said != "" {
		return ": " + restart.Quote(said)
	}
	return ""
}

// receive reads the events of a child until it has no more. The child reads
// what others wrote, so it is not trusted to keep the bounds.
func receive(r io.Reader, count int, emit func(Captured) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for taken := 0; ; {
		e, err := readEvent(in)
		if errors.Is(err, io.EOF) && taken >= max(count, 1) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if e.Error != nil {
			return e.Error
		}
		if taken++; taken > max(count, 1) {
			return errors.New("the process that takes dumps sent too many")
		}
		raw := make([]byte, e.Size)
		if _, err := io.ReadFull(in, raw); err != nil {
			return io.ErrUnexpectedEOF
		}
		if err := emit(Captured{Header: *e.Header, Raw: raw}); err != nil {
			return err
		}
	}
}

// readEvent reads one line. io.EOF means that there is none.
func readEvent(in *bufio.Reader) (event, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxEvent {
			return event{}, errors.New("the process that takes dumps sent a line without an end")
		}
		if err == nil {
			break
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(line) > 0 || !errors.Is(err, io.EOF) {
			return event{}, io.ErrUnexpectedEOF
		}
		return event{}, io.EOF
	}
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return event{}, fmt.Errorf("read from the process that takes dumps: %w", err)
	}
	switch {
	case (e.Header == nil) == (e.Error == nil) || (e.Error != nil && e.Error.Message == ""):
		return event{}, errors.New("the process that takes dumps sent neither a dump nor an error")
	case e.Size < 0 || e.Size > dump.MaxCapture || (e.Header == nil && e.Size != 0):
		return event{}, fmt.Errorf("the process that takes dumps sent a dump of %d bytes", e.Size)
	}
	return e, nil
}

// Main is the child: it reads a job from standard input, writes events to
// standard output, and ends when its input does. It gives the exit status.
func Main() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	line, err := readLine(in)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		io.Copy(io.Discard, in) //nolint:errcheck // its end is what counts
		cancel()
	}()
	err = serve(ctx, line, os.Stdout)
	os.Stdout.Close() // a look that was left behind may keep this process from ending, and the parent from seeing that this was all
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// readLine reads the line with the job.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxJob {
			return nil, errors.New("read the job of a dump: it is too long")
		}
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("read the job of a dump: %w", err)
		}
	}
}

// serve does a job and writes its events.
func serve(ctx context.Context, line []byte, out io.Writer) error {
	err := work(ctx, line, out)
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		e = restart.Errorf(restart.CodeUnavailable, "%s", restart.Escape(err.Error()))
	}
	e.Message = string(redact.Defaults().Text([]byte(e.Message))) // it may quote what the process said
	return send(out, event{Error: e}, nil)
}

func work(ctx context.Context, line []byte, out io.Writer) error {
	var job Job
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&job); err != nil {
		return restart.Errorf(restart.CodeInvalid, "the job of a dump can't be read: %v", err)
	}
	if err := job.Check(); err != nil {
		return err
	}
	rules, err := redact.New(job.Redact)
	if err != nil {
		return err
	}
	target := job.Target
	if target.PID == 0 {
		if target, err = Find(ctx, job.Process); err != nil {
			return err
		}
	}
	if job.Seek {
		runtime, _ := runtimeOf(target.PID) // a process, where the kernel withholds it
		return send(out, event{Header: &dump.Header{PID: target.PID, Runtime: runtime, Taken: time.Now(), Number: 1, Of: 1}}, nil)
	}
	if job.Request.Unit == "" {
		job.Request.Unit = job.Process.Unit
	}
	return System{Redact: rules}.Take(ctx, job.Request, target, func(c Captured) error {
		c.Header.Host, c.Header.Service = job.Host, job.Service
		return send(out, event{Header: &c.Header, Size: int64(len(c.Raw))}, c.Raw)
	})
}

func send(out io.Writer, e event, raw []byte) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if _, err := out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("hand over a dump: %w", err)
	}
	if _, err := out.Write(raw); err != nil {
		return fmt.Errorf("hand over a dump: %w", err)
	}
	return nil
}
