package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
)

// self is this program, also after its file has been replaced by an upgrade.
const self = "/proc/self/exe"

// Processes launches supervisors as processes of this program, each in a
// session of its own, which outlive the agent.
type Processes struct {
	Spool  *spool.Spool
	Job    func(id string) (supervisor.Job, error) // what to hand to the supervisor of a task
	Exited func(id string)                         // called when one that was launched here has ended
}

// Launch starts a supervisor. The lock that says that it lives is taken before,
// and inherited, so that there is no moment at which it lives and nobody sees it.
func (p Processes) Launch(_ context.Context, id string) error {
	job, err := p.Job(id)
	if err != nil {
		return err
	}
	input, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("encode the job of task %s: %w", id, err)
	}
	lock, err := p.Spool.Lock(id)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // one lives
	}
	if err != nil {
		return err
	}
	defer lock.Close() // the supervisor has its own
	log, err := p.Spool.Log(id)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := &exec.Cmd{
		Path:        self,
		Args:        []string{"restartilka-agent", supervisor.Verb, id},
		Env:         []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"},
		Dir:         "/",
		Stdin:       bytes.NewReader(input),
		Stderr:      log,
		ExtraFiles:  []*os.File{lock}, // supervisor.LockFD
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a supervisor: %w", err)
	}
	// Nobody waits for this goroutine: it ends with a process that is meant to
	// outlive the agent.
	go func() {
		cmd.Wait() //nolint:errcheck // how the task went is in the spool
		p.Exited(id)
	}()
	return nil
}

// Alive asks the kernel.
func (p Processes) Alive(id string) (bool, error) { return p.Spool.Alive(id) }

// Cancel leaves the wish in the task's folder, where its supervisor sees it.
func (p Processes) Cancel(id string) error { return p.Spool.Wish(id) }
