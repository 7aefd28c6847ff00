package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// packageTime bounds one question to the package manager.
const packageTime = 10 * time.Second

// Packages asks the host's package manager: dpkg, or rpm where there is no dpkg.
type Packages struct{}

// Installed gives the installed version of a package, "" where it is not
// installed. The name reaches the program as one argument, never as text of a
// shell. CodeUnavailable where the host has no package manager that we know.
func (Packages) Installed(ctx context.Context, name string) (string, error) {
	if err := restart.CheckPackage(name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, packageTime)
	defer cancel()
	if tool, err := exec.LookPath("/usr/bin/dpkg-query"); err == nil {
		out, err := ask(ctx, tool, "-W", "-f", "${Status}\\t${Version}\\n", "--", name)
		if err != nil {
			return "", err
		}
		return parseDpkg(out), nil
	}
	if tool, err := exec.LookPath("/usr/bin/rpm"); err == nil {
		out, err := ask(ctx, tool, "-q", "--qf", "%{VERSION}-%{RELEASE}\\n", "--", name)
		if err != nil {
			return "", err
		}
		return strings.TrimSpace(out), nil
	}
	return "", restart.Errorf(restart.CodeUnavailable, "whether package %s is installed can't be told: the host has neither dpkg nor rpm", name).
		WithHint("leave package: out of services.d on this host")
}

// ask runs a query; a program that ends with a status of its own has said "no".
func ask(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if _, no := errors.AsType[*exec.ExitError](err); no && ctx.Err() == nil {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", program, err)
	}
	return string(out), nil
}

// parseDpkg finds the version in "install ok installed\t1.2-3" lines, of which
// there is one for each architecture.
func parseDpkg(out string) string {
	for line := range strings.Lines(out) {
		status, version, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if ok && strings.HasSuffix(status, " ok installed") {
			return version
		}
	}
	return ""
}

// Carries tells whether an installed version carries a tag: it is the version,
// or the whole beginning of its upstream part ("1.22" of "1.22.1-9"), or one of
// the pieces between : + ~ and - ("market" of "2.4-1+market~3").
func Carries(version, tag string) bool {
	if version == "" || tag == "" {
		return false
	}
	if version == tag {
		return true
	}
	pieces := strings.FieldsFunc(version, func(r rune) bool { return strings.ContainsRune(":+~-", r) })
	for _, p := range pieces {
		if p == tag || strings.HasPrefix(p, tag+".") {
			return true
		}
	}
	return false
}
