package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Packages are our two Debian packages for this machine's architecture.
type Packages struct{ Server, Agent string }

// packages are those of this tree, or those that lie in RESTARTILKA_PACKAGES:
// so a build farm can try what it has built.
var packages = sync.OnceValues(func() (Packages, error) {
	if dir := os.Getenv("RESTARTILKA_PACKAGES"); dir != "" {
		return findPackages(dir)
	}
	return BuildPackages("")
})

// BuildPackages builds the packages from this tree as another version; "" is
// the tree's own. They lie in a folder that ends with the machine's /tmp.
func BuildPackages(version string) (Packages, error) {
	module, err := exec.CommandContext(context.Background(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return Packages{}, fmt.Errorf("find the module: %w", err)
	}
	arch, err := exec.CommandContext(context.Background(), "dpkg", "--print-architecture").Output()
	if err != nil {
		return Packages{}, fmt.Errorf("ask for the architecture: %w", err)
	}
	dir, err := os.MkdirTemp("", "restartilka-debs-")
	if err != nil {
		return Packages{}, err
	}
	built = append(built, dir)
	cmd := exec.CommandContext(context.Background(), "packaging/build.sh", "--arch", strings.TrimSpace(string(arch)), "--out", dir)
	cmd.Dir = strings.TrimSpace(string(module))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if version != "" {
		cmd.Env = append(cmd.Env, "VERSION="+version)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return Packages{}, fmt.Errorf("build the packages: %w\n%s", err, tail(string(out), 3000))
	}
	return findPackages(dir)
}

func findPackages(dir string) (Packages, error) {
	p := Packages{}
	for pattern, to := range map[string]*string{"restartilka_*.deb": &p.Server, "restartilka-agent_*.deb": &p.Agent} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(found) != 1 {
			return Packages{}, fmt.Errorf("%s matches %d packages in %s", pattern, len(found), dir)
		}
		*to = found[0]
	}
	return p, nil
}

// built are the folders to remove at the end.
var built []string

// RemovePackages is for the end of TestMain.
func RemovePackages() {
	for _, dir := range built {
		os.RemoveAll(dir)
	}
}

// Packages gives the packages of this tree, built once for a test process.
func (f *Fleet) Packages() Packages {
	f.t.Helper()
	p, err := packages()
	f.must(err)
	return p
}
