package units

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxAnswer bounds what one program may print, in bytes: a thousand units take
// about 500 KiB.
const maxAnswer = 8 << 20

// systemctl asks systemd. A part that it does not know is no error to us.
func (s System) systemctl(ctx context.Context, args ...string) (string, error) {
	program := s.Systemctl
	for _, usual := range []string{"/usr/bin/systemctl", "/bin/systemctl"} {
		if _, err := os.Stat(usual); program == "" && err == nil {
			program = usual
		}
	}
	if program == "" {
		return "", restart.Errorf(restart.CodeUnavailable, "there is no systemctl on this host").WithHint("install the package systemd there")
	}
	out, err := ask(ctx, program, args...)
	if err != nil {
		return "", restart.Errorf(restart.CodeUnavailable, "systemctl %s does not answer: %s", args[0], restart.Escape(err.Error())).
			WithHint("try it on the host").Because(err)
	}
	return out, nil
}

// ask runs a program by argv and gives what it printed. An exit status of its
// own is an error only where it has printed nothing but an excuse.
func ask(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER="}
	cmd.WaitDelay = time.Second
	out, excuse := &bounded{most: maxAnswer}, &bounded{most: 1 << 20}
	cmd.Stdout, cmd.Stderr = out, excuse
	err := cmd.Run()
	_, status := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return "", errors.New("it takes too long")
	case out.over != nil, excuse.over != nil:
		return "", errors.Join(out.over, excuse.over)
	case err != nil && !status:
		return "", err
	case err != nil && len(out.text) == 0 && len(excuse.text) > 0:
		line, _, _ := strings.Cut(strings.TrimSpace(string(excuse.text)), "\n")
		return "", errors.New(line)
	}
	return string(out.text), nil
}

// bounded keeps what is written, up to its bound. Beyond, the pipe breaks, and
// with it the program that writes on.
type bounded struct {
	text []byte
	most int
	over error
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > b.most {
		b.over = fmt.Errorf("it prints more than %d KiB", b.most>>10)
		return 0, b.over
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// own fills in the packages that the units' files belong to.
func (s System) own(ctx context.Context, units []Unit) (note string) {
	paths := []string{}
	for _, u := range units {
		if u.Path != "" && !strings.ContainsAny(u.Path, `\*?[`+"\n") { // a pattern to dpkg-query
			paths = append(paths, u.Path)
		}
	}
	if len(paths) == 0 {
		return ""
	}
	var owners map[string]string
	var err error
	dpkg, rpm := or(s.Dpkg, "/usr/bin/dpkg-query"), or(s.Rpm, "/usr/bin/rpm")
	if _, no := os.Stat(dpkg); no == nil {
		owners, err = askDpkg(ctx, dpkg, paths)
	} else if _, no := os.Stat(rpm); no == nil {
		owners, err = askRpm(ctx, rpm, paths)
	} else {
		return "the packages are not known: this host has neither dpkg nor rpm"
	}
	for i := range units {
		units[i].Package = owners[units[i].Path]
	}
	if err != nil {
		return "not all packages are known: " + restart.Escape(err.Error())
	}
	return ""
}

// askDpkg gives owners by path. Where /lib is a link to /usr/lib a file may be
// known by either name.
func askDpkg(ctx context.Context, program string, paths []string) (map[string]string, error) {
	args := []string{"-S", "--"}
	for _, p := range paths {
		args = append(args, p)
		if other, ok := otherName(p); ok {
			args = append(args, other)
		}
	}
	out, err := ask(ctx, program, args...)
	if err != nil && strings.Contains(err.Error(), "no path found") {
		err = nil // none of them belongs to a package
	}
	found := parseDpkg(out)
	owners := map[string]string{}
	for _, p := range paths {
		owners[p] = found[p]
		if other, ok := otherName(p); ok && found[p] == "" {
			owners[p] = found[other]
		}
	}
	return owners, err
}

func otherName(path string) (string, bool) {
	if merged, ok := strings.CutPrefix(path, "/usr/lib/"); ok {
		return "/lib/" + merged, true
	}
	if strings.HasPrefix(path, "/lib/") {
		return "/usr" + path, true
	}
	return "", false
}

// askRpm gives owners by path, one question each: its answers name no files.
func askRpm(ctx context.Context, program string, paths []string) (map[string]string, error) {
	owners := map[string]string{}
	for _, p := range paths {
		out, err := ask(ctx, program, "-qf", "--qf", `%{NAME}\n`, "--", p)
		if ctx.Err() != nil {
			return owners, err
		}
		if line, _, _ := strings.Cut(out, "\n"); err == nil && !strings.Contains(line, " ") { // "file … is not owned by any package"
			owners[p] = line
		}
	}
	return owners, nil
}

// cgroups gives the cgroups of each process: of systemd's own hierarchy and of v2.
func (s System) cgroups() map[int][]string {
	proc := or(s.Proc, "/proc")
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil
	}
	out := map[int][]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(proc, e.Name(), "cgroup"))
		if err == nil {
			out[pid] = parseCgroups(string(b))
		}
	}
	return out
}

// runtime tells by the program of the main process.
func (s System) runtime(pid int) string {
	if pid == 0 {
		return ""
	}
	program, err := os.Readlink(filepath.Join(or(s.Proc, "/proc"), strconv.Itoa(pid), "exe"))
	name := filepath.Base(program)
	switch {
	case err != nil:
		return ""
	case name == "java":
		return "jvm"
	case strings.HasPrefix(name, "python"):
		return "python"
	}
	return ""
}
