// Package packaging_test builds the packages and looks at what came out, by the
// distribution's own tools. What they do on a host is test/fleet/packages.
package packaging_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/internal/agent"
)

const version = "0.3.0-rc.1"

// scratch holds what was built; TestMain removes it.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "restartilka-packaging-")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// need ends a test where a tool is not there: loudly skipped, failed in CI.
func need(t *testing.T, tools ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds packages; left out by -short")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		} else if os.Getenv("CI") == "true" {
			t.Fatalf("%s is needed (scripts/packages.txt): %v", tool, err)
		}
		t.Skipf("NOT TESTED: %s is not installed (scripts/packages.txt)", tool)
	}
}

// build runs build.sh in a folder, and gives the packages by their names
// without version and architecture.
func build(dir, out, umask string, env []string, args ...string) (map[string]string, error) {
	script := "umask " + umask + `; exec packaging/build.sh --out "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh", out}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, &buildError{err, string(text)}
	}
	files, err := filepath.Glob(filepath.Join(out, "*"))
	found := map[string]string{}
	for _, file := range files {
		name := regexp.MustCompile(`^(restartilka(-agent)?)[_-]\d`).FindStringSubmatch(filepath.Base(file))
		if name != nil {
			found[name[1]] = file
		}
	}
	return found, err
}

type buildError struct {
	err  error
	text string
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + e.text }

// origin is what all builds are told, so that git's state has no part in them.
var origin = []string{"VERSION=" + version, "COMMIT=of-the-test", "SOURCE_DATE_EPOCH=1790000000"}

var debs = sync.OnceValues(func() (map[string]string, error) {
	return build("..", filepath.Join(scratch, "deb"), "022", origin, "--arch", "amd64")
})

func packages(t *testing.T) map[string]string {
	t.Helper()
	need(t, "dpkg-deb")
	found, err := debs()
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 {
		t.Fatalf("built %v", found)
	}
	return found
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestVersionSortsBeforeItsRelease(t *testing.T) {
	for name, file := range packages(t) {
		got := strings.TrimSpace(run(t, "dpkg-deb", "--field", file, "Version"))
		if got != "0.3.0~rc.1-1" {
			t.Errorf("%s has version %s", name, got)
		}
		run(t, "dpkg", "--compare-versions", got, "lt", "0.3.0-1")
		run(t, "dpkg", "--compare-versions", got, "gt", "0.2.9-1")
	}
	if _, err := build("..", filepath.Join(scratch, "bad"), "022", []string{"VERSION=newest"}, "--arch", "amd64"); err == nil || !strings.Contains(err.Error(), `"newest" is not like`) {
		t.Errorf("a version that is none: %v", err)
	}
}

// The same tree, copied elsewhere, with another umask and other file times.
func TestSameTreeSameBytes(t *testing.T) {
	here := packages(t)
	elsewhere := filepath.Join(scratch, "elsewhere")
	copyTree(t, "..", elsewhere)
	there, err := build(elsewhere, filepath.Join(scratch, "there"), "077", origin, "--arch", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	for name := range here {
		a, aErr := os.ReadFile(here[name])
		b, bErr := os.ReadFile(there[name])
		if aErr != nil || bErr != nil || len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s differs between two builds (%d and %d bytes, %v, %v)", name, len(a), len(b), aErr, bErr)
		}
	}
}

// copyTree copies what a build reads; not what was built, nor git.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if d.IsDir() {
			if slices.Contains([]string{".git", ".cache", "dist", "bin", "test"}, name) {
				return filepath.SkipDir
			}
			return os.MkdirAll(target, 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	// What is only a tool is not built twice.
	if err := os.MkdirAll(filepath.Join(to, ".cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs(filepath.Join(from, ".cache", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bin, filepath.Join(to, ".cache", "bin")); err != nil {
		t.Fatal(err)
	}
}

// contents lists a package: path to "mode owner".
func contents(t *testing.T, file string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(run(t, "dpkg-deb", "--contents", file)) {
		f := strings.Fields(line)
		all[strings.TrimSuffix(strings.TrimPrefix(f[5], "."), "/")] = f[0] + " " + f[1]
	}
	return all
}

func TestContents(t *testing.T) {
	file, dir, program := "-rw-r--r-- root/root", "drwxr-xr-x root/root", "-rwxr-xr-x root/root"
	want := map[string]map[string]string{
		"restartilka": {
			"/usr/bin/restartilka": program, "/lib/systemd/system/restartilka.service": file, "/lib/systemd/system/restartilka-receiver.service": file, "/etc/restartilka": dir,
			"/usr/lib/sysusers.d/restartilka.conf": file, "/usr/share/man/man1/restartilka.1.gz": file, "/usr/share/man/man1/restartilka-server-init.1.gz": file,
			"/usr/share/bash-completion/completions/restartilka": file, "/usr/share/zsh/vendor-completions/_restartilka": file,
			"/usr/share/fish/vendor_completions.d/restartilka.fish": file, "/usr/share/restartilka/scenarios/systemd-restart.yaml": file,
			"/usr/share/doc/restartilka/copyright": file, "/usr/share/doc/restartilka/changelog.Debian.gz": file,
		},
		"restartilka-agent": {
			"/usr/sbin/restartilka-agent": program, "/lib/systemd/system/restartilka-agent.service": file, "/lib/systemd/system/restartilka-agent.path": file,
			"/etc/init.d/restartilka-agent": program, "/etc/restartilka": dir, "/etc/restartilka/scenarios.d": dir, "/etc/restartilka/services.d": dir,
			"/var/spool/restartilka": "drwx------ root/root", "/usr/share/man/man8/restartilka-agent.8.gz": file,
			"/usr/share/doc/restartilka-agent/copyright": file, "/usr/share/doc/restartilka-agent/changelog.Debian.gz": file,
			"/usr/share/bash-completion/completions/restartilka-agent": file, "/usr/libexec/restartilka-agent/missing": program,
		},
	}
	scenarios, err := filepath.Glob("../scenarios/*.yaml")
	if err != nil || len(scenarios) == 0 {
		t.Fatal(scenarios, err)
	}
	var conffiles []string
	for _, s := range scenarios {
		conffile := "/etc/restartilka/scenarios.d/" + filepath.Base(s)
		want["restartilka-agent"][conffile] = file
		conffiles = append(conffiles, conffile)
	}
	files := map[string][]string{}
	for name, deb := range packages(t) {
		got := contents(t, deb)
		for path, mode := range want[name] {
			if got[path] != mode {
				t.Errorf("%s: %s is %q, want %q", name, path, got[path], mode)
			}
		}
		for path, mode := range got {
			if !strings.HasSuffix(mode, " root/root") {
				t.Errorf("%s: %s belongs to %s", name, path, mode)
			}
			if !strings.HasPrefix(mode, "d") {
				files[path] = append(files[path], name)
			}
		}
	}
	// Both go onto one host.
	for path, names := range files {
		if len(names) > 1 {
			t.Errorf("%s is in %v", path, names)
		}
	}
	listed := run(t, "dpkg-deb", "--ctrl-tarfile", packages(t)["restartilka-agent"])
	for _, c := range conffiles {
		if !strings.Contains(listed, c+"\n") {
			t.Errorf("%s is no conffile: what an admin deleted would come back", c)
		}
	}
}

// Each command has its page, each verb of the agent stands in its page, and
// man finds nothing to complain about.
func TestManuals(t *testing.T) {
	need(t, "man", "gzip")
	dirs := unpacked(t)
	for name, dir := range dirs {
		pages, err := filepath.Glob(filepath.Join(dir, "usr/share/man/man?/*.gz"))
		if err != nil || len(pages) == 0 {
			t.Fatalf("%s has no manual (%v)", name, err)
		}
		for _, page := range pages {
			cmd := exec.Command("man", "--warnings=w", "--encoding=UTF-8", "--local-file", page)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=100")
			var text, complaints bytes.Buffer
			cmd.Stdout, cmd.Stderr = &text, &complaints
			if err := cmd.Run(); err != nil || complaints.Len() > 0 || text.Len() == 0 {
				t.Errorf("man %s: %v\n%s", filepath.Base(page), err, complaints.String())
			}
			if name != "restartilka-agent" {
				continue
			}
			for field := range reflect.TypeFor[agent.Settings]().Fields() {
				if key := field.Tag.Get("yaml"); !strings.Contains(text.String(), key) {
					t.Errorf("man restartilka-agent does not explain %s", key)
				}
			}
		}
	}
	server := dirs["restartilka"]
	for line := range strings.Lines(run(t, filepath.Join(server, "usr/bin/restartilka"), "--help")) {
		command := regexp.MustCompile(`^  ([a-z-]+) {2,}\S`).FindStringSubmatch(line)
		if command == nil || command[1] == "help" {
			continue
		}
		if _, err := os.Stat(filepath.Join(server, "usr/share/man/man1/restartilka-"+command[1]+".1.gz")); err != nil {
			t.Errorf("no page for restartilka %s: %v", command[1], err)
		}
	}
	agent := dirs["restartilka-agent"]
	page := run(t, "gzip", "-dc", filepath.Join(agent, "usr/share/man/man8/restartilka-agent.8.gz"))
	for line := range strings.Lines(run(t, filepath.Join(agent, "usr/sbin/restartilka-agent"), "help")) {
		verb := regexp.MustCompile(`^  ([a-z]+(?: (?:check|show))?) `).FindStringSubmatch(line)
		if verb != nil && !strings.Contains(page, ".B "+verb[1]+"\n") {
			t.Errorf("restartilka-agent.8 says nothing of the verb %s", verb[1])
		}
	}
}

// The completion that is shipped is the one that the program itself prints.
func TestCompletion(t *testing.T) {
	dir := unpacked(t)["restartilka"]
	for shell, file := range map[string]string{
		"bash": "usr/share/bash-completion/completions/restartilka", "zsh": "usr/share/zsh/vendor-completions/_restartilka",
		"fish": "usr/share/fish/vendor_completions.d/restartilka.fish",
	} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if want := run(t, filepath.Join(dir, "usr/bin/restartilka"), "completion", shell); err != nil || string(b) != want {
			t.Errorf("%s is not what restartilka completion %s prints (%v)", file, shell, err)
		}
	}
}

var extracted = sync.OnceValues(func() (map[string]string, error) {
	found, err := debs()
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for name, deb := range found {
		dirs[name] = filepath.Join(scratch, "tree-"+name)
		if out, err := exec.Command("dpkg-deb", "--raw-extract", deb, dirs[name]).CombinedOutput(); err != nil {
			return nil, &buildError{err, string(out)}
		}
	}
	return dirs, nil
})

// unpacked gives the folder of each package's files, with DEBIAN/.
func unpacked(t *testing.T) map[string]string {
	t.Helper()
	packages(t)
	dirs, err := extracted()
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestMaintainerScripts(t *testing.T) {
	need(t, "shellcheck")
	for name, dir := range unpacked(t) {
		for _, script := range []string{"preinst", "postinst", "prerm", "postrm"} {
			path := filepath.Join(dir, "DEBIAN", script)
			run(t, "shellcheck", "-s", "sh", path)
			b, err := os.ReadFile(path)
			if err != nil || strings.Contains(string(b), "#include") || strings.Contains(string(b), "@VERSION@") {
				t.Errorf("%s: %s is not whole (%v)", name, script, err)
			}
			if out, err := exec.Command("sh", path, "dance").CombinedOutput(); err == nil && script != "prerm" {
				t.Errorf("%s: %s takes any argument:\n%s", name, script, out)
			}
		}
	}
}

// Nothing that lintian calls an error, and no warning that is not explained in
// the overrides.
func TestLintian(t *testing.T) {
	need(t, "lintian")
	files := slices.Sorted(maps.Values(packages(t)))
	out, err := exec.Command("lintian", append([]string{"--allow-root", "--fail-on", "error,warning"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
}

// Every module that is linked in has its licence in the package.
func TestCopyright(t *testing.T) {
	for name, dir := range unpacked(t) {
		b, err := os.ReadFile(filepath.Join(dir, "usr/share/doc", name, "copyright"))
		if err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(dir, "usr/bin", name)
		if name == "restartilka-agent" {
			program = filepath.Join(dir, "usr/sbin", name)
		}
		modules := 0
		for line := range strings.Lines(run(t, "go", "version", "-m", program)) {
			f := strings.Fields(line)
			if len(f) >= 3 && f[0] == "dep" {
				modules++
				if !strings.Contains(string(b), "Files: linked/"+f[1]+"@"+f[2]+"/*\n") {
					t.Errorf("%s: nothing about %s %s", name, f[1], f[2])
				}
			}
		}
		if modules == 0 {
			t.Errorf("%s: go version -m names no module", name)
		}
	}
}

// rpm installs both into a root of its own, and takes them out again.
func TestRPM(t *testing.T) {
	need(t, "rpm")
	found, err := build("..", filepath.Join(scratch, "rpm"), "022", origin, "--arch", "amd64", "--format", "rpm")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 {
		t.Fatalf("built %v", found)
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("installing the rpm packages needs root")
		}
		t.Skip("NOT TESTED: installing the rpm packages needs root")
	}
	root := filepath.Join(scratch, "root")
	rpm := []string{"--root", root, "--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts"}
	run(t, "rpm", append(append([]string{}, append(rpm, "--install")...), slices.Sorted(maps.Values(found))...)...)
	for path, want := range map[string]fs.FileMode{
		"usr/sbin/restartilka-agent": 0o755, "usr/bin/restartilka": 0o755, "var/spool/restartilka": fs.ModeDir | 0o700,
		"usr/lib/systemd/system/restartilka-agent.path": 0o644, "usr/lib/systemd/system/restartilka.service": 0o644,
		"etc/restartilka/scenarios.d/systemd-restart.yaml": 0o644, "usr/share/licenses/restartilka/copyright": 0o644,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", path, info, err, want)
		}
	}
	if out := run(t, filepath.Join(root, "usr/sbin/restartilka-agent"), "version"); !strings.Contains(out, version) {
		t.Errorf("the agent calls itself %q", out)
	}
	run(t, "rpm", append(append([]string{}, append(rpm, "--verify")...), "restartilka", "restartilka-agent")...)
	run(t, "rpm", append(append([]string{}, append(rpm, "--erase")...), "restartilka", "restartilka-agent")...)
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/restartilka-agent")); err == nil {
		t.Error("the agent is there after --erase")
	}
	for _, file := range found {
		for _, script := range []string{"%{POSTIN}", "%{PREUN}", "%{POSTUN}"} {
			text := run(t, "rpm", "--query", "--queryformat", script, "--package", file)
			cmd := exec.Command("sh", "-n")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil || len(text) < 40 {
				t.Errorf("%s of %s: %v %s", script, filepath.Base(file), err, out)
			}
		}
	}
}
