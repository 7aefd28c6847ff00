package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// The little service that the demo restarts: a web server on its host's
// loopback address, which writes its pid to hello.pid, warms up for a moment
// and says so, and stops on SIGTERM. Its folder holds its address.

const (
	pidFile     = "hello.pid"
	addressFile = "address"
	warmUp      = 300 * time.Millisecond
)

// PlaceService tells the service of a host where to listen.
func PlaceService(h Host) error {
	return write(filepath.Join(h.Dir, addressFile), h.ServiceAddress()+"\n", 0o600)
}

// RunService serves until SIGTERM. While it warms up it answers 503.
func RunService(ctx context.Context, dir string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	address, err := serviceAddress(dir)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler:           answers(time.Now().Add(warmUp)),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	pid := filepath.Join(dir, pidFile)
	if err := write(pid+".new", strconv.Itoa(os.Getpid())+"\n", 0o600); err != nil {
		return err
	}
	if err := os.Rename(pid+".new", pid); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("hello: %w", err)
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	return server.Shutdown(grace)
}

// StartService starts the service as a process of its own session, and returns
// when it has written its pid.
func StartService(ctx context.Context, self, dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "hello.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start hello: %w", err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, "demo", "service", "run", "--dir", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start hello: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	want := strconv.Itoa(cmd.Process.Pid)
	return poll(ctx, func() (bool, error) {
		select {
		case err := <-ended:
			return false, fmt.Errorf("hello ended at once: %w; see %s", err, log.Name())
		default:
		}
		b, err := os.ReadFile(filepath.Join(dir, pidFile))
		return err == nil && strings.TrimSpace(string(b)) == want, nil
	}, "hello has not started within 10 s")
}

// StopService sends SIGTERM to the service and waits until it is gone. A
// service that does not run is no error.
func StopService(ctx context.Context, dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop hello: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 2 || !isHello(pid, dir) {
		return os.Remove(filepath.Join(dir, pidFile))
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop hello: %w", err)
	}
	return poll(ctx, func() (bool, error) { return !isHello(pid, dir), nil }, "hello has not stopped within 10 s")
}

// isHello tells whether a process is the service of that folder: pids are used
// again, and nothing else may be signalled.
func isHello(pid int, dir string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	return len(args) == 6 && args[1] == "demo" && args[2] == "service" && args[3] == "run" && args[5] == dir
}

// CheckService is the health check: exit with an error unless it answers 200.
func CheckService(ctx context.Context, dir string) error {
	address, err := serviceAddress(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return fmt.Errorf("check hello: %w", err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return restart.Errorf(restart.CodeUnavailable, "hello does not answer on %s", address).Because(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return fmt.Errorf("check hello: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return restart.Errorf(restart.CodeUnavailable, "hello answers %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

func serviceAddress(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, addressFile))
	if err != nil {
		return "", fmt.Errorf("hello: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// patience is how long the demo waits for one of its programs.
const patience = 10 * time.Second

// poll asks every 10 ms until done, an error, or the end of patience.
func poll(ctx context.Context, done func() (bool, error), late string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return restart.Errorf(restart.CodeUnavailable, "%s", late)
		case <-tick.C:
		}
	}
}
