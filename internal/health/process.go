package health

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Process is one life of a service's main process, told apart from every
// earlier and later one. It is stored as the baseline of a restart.
type Process struct {
	PID          int    `json:"pid,omitempty"`           // 0 = none, or a unit without a main process
	StartTime    uint64 `json:"start_time,omitempty"`    // clock ticks since boot: field 22 of /proc/PID/stat
	InvocationID string `json:"invocation_id,omitempty"` // of a unit: 32 hex digits, new with each start
	BootID       string `json:"boot_id,omitempty"`
	Up           bool   `json:"up"` // it runs; for a unit: it is active, not merely starting
}

// Exists tells whether the service ran: a process, or a unit that was active.
// A unit that is not has an invocation, and maybe a process, all the same.
func (p Process) Exists() bool { return p.Up }

// SameAs tells whether p and q are the same life of the same process.
func (p Process) SameAs(q Process) bool { return p == q }

// NewSince tells whether p is a life that began after baseline was observed.
// For a unit only another invocation counts: a main process that merely handed
// over to another one has not been restarted.
func (p Process) NewSince(baseline Process) bool {
	switch {
	case !p.Up:
		return false
	case p.BootID != baseline.BootID:
		return true
	case p.InvocationID != "" && baseline.InvocationID != "":
		return p.InvocationID != baseline.InvocationID
	}
	return p.PID != baseline.PID || p.StartTime != baseline.StartTime
}

// String names the process for people.
func (p Process) String() string {
	switch {
	case p.PID > 0:
		return "process " + strconv.Itoa(p.PID)
	case p.InvocationID != "":
		return "invocation " + p.InvocationID
	}
	return "no process"
}

// System is the host as this package sees it. The zero value is the real one;
// tests point it elsewhere.
type System struct {
	Systemctl string // path of the program; "" = /usr/bin/systemctl
	Proc      string // where procfs is mounted; "" = /proc
}

func (s System) proc(elements ...string) string {
	root := s.Proc
	if root == "" {
		root = "/proc"
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

func (s System) bootID() (string, error) {
	b, err := os.ReadFile(s.proc("sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// stat is what is needed of /proc/PID/stat.
type stat struct {
	pid       int
	comm      string
	state     byte
	parent    int
	startTime uint64
}

// dead tells whether nothing runs any more: a zombie only waits to be counted.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// stat reads /proc/PID/stat; os.ErrNotExist where there is no such process.
func (s System) stat(pid int) (stat, error) {
	b, err := os.ReadFile(s.proc(strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads proc_pid_stat(5). The command's name may hold anything,
// blanks, brackets and newlines included, so the fields are counted from the
// last closing bracket.
func parseStat(b []byte) (stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("parse stat: no command name")
	}
	pid, err := strconv.ParseInt(strings.TrimSpace(string(b[:open])), 10, 32)
	if err != nil || pid < 1 {
		return stat{}, fmt.Errorf("parse stat: pid %s", restart.Quote(string(b[:open])))
	}
	const state, parent, startTime = 0, 1, 19 // fields 3, 4 and 22 of the manual page
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) <= startTime || len(fields[state]) != 1 {
		return stat{}, fmt.Errorf("parse stat: %d fields after the command name", len(fields))
	}
	ppid, err := strconv.ParseInt(fields[parent], 10, 32)
	if err != nil || ppid < 0 {
		return stat{}, fmt.Errorf("parse stat: parent %s", restart.Quote(fields[parent]))
	}
	start, err := strconv.ParseUint(fields[startTime], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("parse stat: start time %s", restart.Quote(fields[startTime]))
	}
	return stat{pid: int(pid), comm: string(b[open+1 : end]), state: fields[state][0], parent: int(ppid), startTime: start}, nil
}
