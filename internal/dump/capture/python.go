package capture

import (
	"context"
	"os"
	"strconv"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// pySpyPaths are where py-spy is installed by packages and by pip, as root.
var pySpyPaths = []string{"/usr/local/bin/py-spy", "/usr/bin/py-spy", "/opt/py-spy/bin/py-spy"}

// pySpy reads a Python program's stacks from its memory, without a pause of it.
func (p *process) pySpy(ctx context.Context) ([]byte, error) {
	if p.runtime != dump.Python {
		return nil, restart.Errorf(restart.CodeConflict, "process %d is not a Python program", p.pid)
	}
	program, err := p.pySpyProgram()
	if err != nil {
		return nil, err
	}
	text, said, err := output(ctx, dump.MaxCapture+1, program, "dump", "--nonblocking", "--pid", strconv.Itoa(p.pid))
	if ctx.Err() != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "py-spy did not end in time").Because(ctx.Err())
	}
	if err != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "py-spy can't read process %d: %s: %v", p.pid, restart.Quote(said), err).Because(err)
	}
	p.note("the program was not stopped meanwhile, so that a stack may be of two moments")
	return text, nil
}

// pySpyProgram finds py-spy. Whoever may write the file, or a folder above it,
// becomes root by it, so they must be root's alone.
func (p *process) pySpyProgram() (string, error) {
	paths := p.PySpy
	if paths == nil {
		paths = pySpyPaths
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			continue
		}
		if open := openTo(path); open != "" {
			return "", restart.Errorf(restart.CodeForbidden, "%s is not run: others than root may write %s", path, open).WithHint("chown root %s; chmod go-w %s", open, open)
		}
		return path, nil
	}
	return "", restart.Errorf(restart.CodeUnavailable, "py-spy is not installed on this host").
		WithHint("or register faulthandler in the program, and name its signal in the scenario")
}
