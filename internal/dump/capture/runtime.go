package capture

import (
	"bufio"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// runtimeOf finds out what a process runs on; dump.Process where it is none of
// the others, or can't be looked at. errWithheld where that was not told in time.
func runtimeOf(pid int) (dump.Runtime, error) {
	found, err := patiently(func() (dump.Runtime, error) { return lookAt(pid), nil })
	if err != nil {
		return dump.Process, err
	}
	return found, nil
}

func lookAt(pid int) dump.Runtime {
	dir := "/proc/" + strconv.Itoa(pid)
	if goProgram(dir + "/exe") {
		return dump.Go // without a look at its maps: it may load libpython or libjvm, but is asked as what it is
	}
	f, err := os.Open(dir + "/maps")
	if err != nil {
		return dump.Process
	}
	defer f.Close()
	found := ofMaps(f)
	if found == dump.Process {
		if exe, err := os.Readlink(dir + "/exe"); err == nil && python(path.Base(strings.TrimSuffix(exe, " (deleted)"))) {
			return dump.Python
		}
	}
	return found
}

// maxMaps bounds what is read of a process's maps, in bytes: 65530 of them.
const maxMaps = 16 << 20

// python tells whether an executable is an interpreter by its name, where that is
// linked as one file: python3.11, python3.13t, pypy3.
func python(name string) bool {
	rest, ok := strings.CutPrefix(name, "python")
	if !ok {
		rest, ok = strings.CutPrefix(name, "pypy")
	}
	return ok && strings.Trim(rest, "0123456789.td") == ""
}

// ofMaps reads /proc/PID/maps. A JVM that has Python in it is a JVM, as a
// Python program that has started a JVM: it is the one that can be asked.
func ofMaps(r io.Reader) dump.Runtime {
	found := dump.Process
	lines := bufio.NewScanner(io.LimitReader(r, maxMaps))
	for lines.Scan() {
		at := bytes.LastIndexByte(lines.Bytes(), '/')
		if at < 0 {
			continue
		}
		name := bytes.TrimSuffix(lines.Bytes()[at+1:], []byte(" (deleted)"))
		switch {
		case string(name) == "libjvm.so":
			return dump.JVM
		case bytes.HasPrefix(name, []byte("libpython")):
			found = dump.Python
		}
	}
	return found
}

// goProgram tells whether an executable was built by the Go compiler.
func goProgram(exe string) bool {
	f, err := os.Open(exe)
	if err != nil {
		return false
	}
	defer f.Close()
	program, err := elf.NewFile(f)
	if err != nil {
		return false
	}
	return program.Section(".go.buildinfo") != nil
}
