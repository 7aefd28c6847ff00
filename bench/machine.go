package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what the figures were measured on.
type Machine struct {
	CPU        string    `json:"cpu"`
	Cores      int       `json:"cores"`
	MemoryMB   int       `json:"memory_mb"`
	Kernel     string    `json:"kernel"`
	FileSystem string    `json:"file_system"` // of the folder in which everything was measured
	Go         string    `json:"go"`
	Commit     string    `json:"commit"`
	Date       time.Time `json:"date"`
	LoadBefore float64   `json:"load_before"` // of the last minute
	User       string    `json:"user"`        // root or not
}

// describeMachine tells of this one. A file that the results are about to
// replace does not make the commit dirty.
func describeMachine(ctx context.Context, out string) Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Date: time.Now().UTC().Truncate(time.Second), Kernel: "unknown", CPU: "unknown", User: "another user"}
	if os.Geteuid() == 0 {
		m.User = "root"
	}
	m.CPU = field("/proc/cpuinfo", "model name")
	if kb, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		m.MemoryMB = kb / 1024
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	m.FileSystem = fileSystem(os.TempDir())
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if first, _, ok := strings.Cut(string(b), " "); ok {
			m.LoadBefore, _ = strconv.ParseFloat(first, 64)
		}
	}
	m.Commit = commit(ctx, out)
	return m
}

func commit(ctx context.Context, out string) string {
	b, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	id := strings.TrimSpace(string(b))
	args := []string{"diff", "--quiet", "HEAD", "--", "."}
	if out != "" {
		args = append(args, ":(exclude)"+filepath.ToSlash(out))
	}
	if exec.CommandContext(ctx, "git", args...).Run() != nil {
		id += "-dirty"
	}
	return id
}

// field gives the value of the first "name: value" line of a file; "" = none.
func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func fileSystem(path string) string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return "unknown"
	}
	names := map[int64]string{0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0x01021994: "tmpfs", 0x794C7630: "overlayfs", 0x2FC12FC1: "zfs"}
	if name, ok := names[int64(st.Type)]; ok { //nolint:unconvert // its type differs between architectures
		return name
	}
	return fmt.Sprintf("%#x", st.Type)
}

// cpu gives the time for which a process and its ended children have worked, in
// seconds of one core.
func cpu(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // state is the first
	if len(fields) < 15 {
		return 0, fmt.Errorf("read /proc/%d/stat: it has %d fields", pid, len(fields))
	}
	const perSecond = 100 // clock ticks, on every architecture that Go runs on
	ticks := 0.0
	for _, field := range fields[11:15] { // own and children's, in user mode and in the kernel
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks / perSecond, nil
}

// memory gives a value of /proc/PID/status in MB (1024 × 1024 bytes): VmRSS now,
// or VmHWM at its highest.
func memory(pid int, what string) (float64, error) {
	text := field(fmt.Sprintf("/proc/%d/status", pid), what)
	kb, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("read %s of process %d: %w", what, pid, err)
	}
	return round(kb/1024, 1), nil
}
