package inventory

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// output runs a program, without a shell, and gives what it wrote to stdout:
// at most most bytes. Its environment is PATH, HOME, LANG=C.UTF-8 and what
// begins with ANSIBLE_; stdin is empty. When ctx ends, the program and what it
// started are killed.
func output(ctx context.Context, dir string, argv []string, most int) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout, stderr := &bounded{most: most, full: cancel}, &tail{most: 2048}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, environment()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if stdout.over {
		return nil, restart.Errorf(restart.CodeTooLarge, "%s writes more than %d MiB", restart.Quote(strings.Join(argv, " ")), most>>20)
	}
	if err != nil {
		return nil, failure(ctx, argv, err, stderr.String())
	}
	return stdout.bytes, nil // whatever has become of ctx since
}

// failure says why a program has not succeeded, which has said something last.
func failure(ctx context.Context, argv []string, err error, said string) error {
	name := strings.Join(argv, " ")
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return restart.Errorf(restart.CodeUnavailable, "%s takes too long", restart.Quote(name)).Because(err).
			WithHint("run it by hand as the server's user; raise inventory.timeout where it is slow by nature")
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return restart.Errorf(restart.CodeUnavailable, "program %s is not installed", restart.Quote(argv[0])).Because(err).
			WithHint("install it, or give its full path in inventory.command")
	}
	e := restart.Errorf(restart.CodeUnavailable, "%s does not succeed: %s", restart.Quote(name), restart.Escape(err.Error())).Because(err)
	if said = strings.TrimSpace(said); said != "" {
		return e.WithHint("it says: %s", restart.Escape(said))
	}
	return e.WithHint("run it by hand as the server's user")
}

// environment is the exact environment of an inventory command.
func environment() []string {
	env := []string{"PATH=" + searchPath, "LANG=C.UTF-8"}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "HOME=") || strings.HasPrefix(kv, "ANSIBLE_") {
			env = append(env, kv)
		}
	}
	return env
}

var errFull = errors.New("too much output")

// bounded keeps up to most bytes, and calls full for the first one over. (No
// embedded bytes.Buffer: its ReadFrom would pass the bound by.)
type bounded struct {
	bytes []byte
	most  int
	full  func()
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.bytes)+len(p) > b.most {
		b.over = true
		b.full()
		return 0, errFull
	}
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// tail keeps the last bytes written, where programs put their error.
type tail struct {
	bytes []byte
	most  int
}

func (t *tail) Write(p []byte) (int, error) {
	t.bytes = append(t.bytes, p...)
	if over := len(t.bytes) - t.most; over > 0 {
		t.bytes = append(t.bytes[:0], t.bytes[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(t.bytes, []byte("?"))) }
