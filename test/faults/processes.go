package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// eachProcess gives the number of every process of this machine.
func eachProcess() []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

func parentOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}

// alive tells whether a process runs: one that nobody has collected does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func childrenOf(parent int) []int {
	var out []int
	for _, pid := range eachProcess() {
		if parentOf(pid) == parent {
			out = append(out, pid)
		}
	}
	return out
}

// supervisor is a process that does a task's work on one of our hosts.
type supervisor struct {
	pid  int
	task string
}

// supervisors finds those of a host by the lock that each has inherited, which
// lies in the host's own spool: so that none of anybody else is meant.
func (h *host) supervisors() []supervisor {
	var out []supervisor
	for _, pid := range eachProcess() {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/3", pid))
		if err != nil || !strings.HasPrefix(link, h.spool()+"/") || filepath.Base(link) != "alive" {
			continue
		}
		words := strings.Fields(commandLine(pid))
		if len(words) == 3 && words[1] == "supervise" {
			out = append(out, supervisor{pid, words[2]})
		}
	}
	return out
}

// scripts finds processes that a task of this lane has started, whoever is
// their parent now, by what they have in their environment.
func (l *lane) scripts(host string) []int {
	var out []int
	for _, pid := range eachProcess() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !strings.Contains(string(b), "RESTARTILKA_TASK=") || !strings.Contains(string(b), "RESTARTILKA_SERVICE="+l.prefix) {
			continue
		}
		if host == "" || strings.Contains(string(b), "RESTARTILKA_HOST="+host) {
			out = append(out, pid)
		}
	}
	return out
}

func kill(pids ...int) {
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // gone already
	}
}
