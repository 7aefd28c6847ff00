package company

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Programs are the two binaries, built once for a test process.
type Programs struct{ Server, Agent string }

var built atomic.Bool

var build = sync.OnceValues(func() (Programs, error) {
	if dir := os.Getenv("RESTARTILKA_PROGRAMS"); dir != "" { // as make test has just built them
		return Programs{filepath.Join(dir, "restartilka"), filepath.Join(dir, "restartilka-agent")}, nil
	}
	built.Store(true)
	dir, err := os.MkdirTemp("", "restartilka-programs-")
	if err != nil {
		return Programs{}, err
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return Programs{}, fmt.Errorf("find the module: %w", err)
	}
	cmd := exec.Command("go", "build", "-o", dir+"/", "./cmd/restartilka", "./cmd/restartilka-agent")
	cmd.Dir = strings.TrimSpace(string(root))
	for _, part := range []string{"cmd", "internal", "scenarios"} {
		if err := consult(filepath.Join(cmd.Dir, part)); err != nil {
			return Programs{}, fmt.Errorf("look at the sources: %w", err)
		}
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return Programs{filepath.Join(dir, "restartilka"), filepath.Join(dir, "restartilka-agent")}, nil
})

// Build builds the programs, or gives those that were built before.
func Build(t T) Programs {
	t.Helper()
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// consult looks at every file that the programs are made of, so that go test
// knows that its result depends on them: the programs are built behind its
// back, and it would show an old result as "(cached)" after they have changed.
func consult(root string) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if e.Type().IsRegular() {
			_, err = os.Stat(path)
		}
		return err
	})
}

// RemovePrograms is for the end of TestMain.
func RemovePrograms() {
	if !built.Load() {
		return
	}
	if p, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(p.Server))
	}
}
