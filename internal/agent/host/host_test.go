package host

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

func TestOnlyFilesOfTheHostsOwnersCount(t *testing.T) {
	const body = "format: 1\nname: x\nserial: 1\nauthor: a@example.com\nkind: custom\nservices: [\"*\"]\nsteps:\n  run: {script: \"true\"}\nrun_as: root\n"
	digest := scenario.Digest([]byte(body))
	write := func(t *testing.T, dir string) string {
		file := filepath.Join(dir, "x.yaml")
		if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir, file string)
		fine  bool
	}{
		"as it should be": {func(*testing.T, string, string) {}, true},
		"group may write": {func(t *testing.T, _, file string) { must(t, os.Chmod(file, 0o664)) }, false},
		"all may write":   {func(t *testing.T, _, file string) { must(t, os.Chmod(file, 0o646)) }, false},
		"folder is open":  {func(t *testing.T, dir, _ string) { must(t, os.Chmod(dir, 0o777)) }, false},
		"another name":    {func(t *testing.T, _, file string) { must(t, os.Rename(file, file+".dpkg-new")) }, false},
		"one byte more":   {func(t *testing.T, _, file string) { must(t, os.WriteFile(file, []byte(body+"\n"), 0o644)) }, false},
		"a folder":        {func(t *testing.T, _, file string) { must(t, os.Remove(file)); must(t, os.Mkdir(file, 0o755)) }, false},
		"a FIFO":          {func(t *testing.T, _, file string) { must(t, os.Remove(file)); must(t, unix.Mkfifo(file, 0o644)) }, false},
		"too large":       {func(t *testing.T, _, file string) { must(t, os.Truncate(file, scenario.MaxSize+1)) }, false},
		"symlink": {func(t *testing.T, dir, file string) {
			must(t, os.Rename(file, filepath.Join(dir, "real")))
			must(t, os.Symlink("real", file))
		}, false},
		"somebody else's": {func(t *testing.T, _, file string) {
			if os.Geteuid() != 0 {
				must(t, os.Remove(file)) // only root can give files away
				return
			}
			must(t, os.Chown(file, 12345, 0))
		}, false},
		"symlinked folder": {func(t *testing.T, dir, _ string) {
			must(t, os.Rename(dir, dir+"-real"))
			must(t, os.Symlink(dir+"-real", dir))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "scenarios.d")
			must(t, os.Mkdir(dir, 0o755))
			c.spoil(t, dir, write(t, dir))
			_, err := ReadScenario(dir, digest)
			if c.fine != (err == nil) || (err != nil && restart.CodeOf(err) != restart.CodeNotReviewed) {
				t.Errorf("got %v", err)
			}
			accepted, _ := ListScenarios(dir)
			for _, s := range accepted {
				if s.Digest == digest && !c.fine {
					t.Error("it is listed as accepted")
				}
			}
		})
	}
}

func TestServices(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nginx": "package: nginx\nunit: nginx.service\nuser: www-data\ntag: \"1.22\"\n", "empty": "", "typo": "pakage: nginx\n", "evil": "user: \"-rf\"\n", "two": "user: a\n---\nuser: b\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := ReadService(dir, "nginx"); err != nil || s.Unit != "nginx.service" || s.Name != "nginx" || s.Tag != "1.22" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := ReadService(dir, "empty"); err != nil || s.Name != "empty" {
		t.Errorf("%+v, %v", s, err)
	}
	for name, says := range map[string]string{"typo": "line 1", "evil": "user", "absent": "does not list", "two": "more than one"} {
		_, err := ReadService(dir, name)
		if restart.CodeOf(err) != restart.CodeUnknownService || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadService(dir, "../x"); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("../x: %v", err)
	}
}

func TestCarries(t *testing.T) {
	for _, c := range []struct {
		version, tag string
		want         bool
	}{
		{"1.22.1-9", "1.22.1-9", true}, {"1.22.1-9", "1.22.1", true}, {"1.22.1-9", "1.22", true}, {"1.22.1-9", "1.2", false},
		{"1:2.4-1+market~3", "market", true}, {"1:2.4-1+market~3", "mark", false}, {"1:2.4-1", "2.4", true}, {"", "1", false}, {"1", "", false},
	} {
		if got := Carries(c.version, c.tag); got != c.want {
			t.Errorf("Carries(%q, %q) = %t", c.version, c.tag, got)
		}
	}
}

func TestParseDpkg(t *testing.T) {
	for text, want := range map[string]string{
		"install ok installed\t1.2-3\n": "1.2-3", "hold ok installed\t1.2-3\n": "1.2-3", "deinstall ok config-files\t1.2\n": "", "": "",
		"unknown ok not-installed\t\ninstall ok installed\t4\n": "4", "install ok half-configured\t1\n": "",
	} {
		if got := parseDpkg(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestFindUser(t *testing.T) {
	if u, err := FindUser("root", 0); err != nil || u.UID != 0 || u.Self || u.Home == "" {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := FindUser("root", 12345); restart.CodeOf(err) != restart.CodeForbidden {
		t.Errorf("an agent that is not root: %v", err)
	}
	if _, err := FindUser("no-such-user", 0); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("got %v", err)
	}
	if _, err := FindUser("-rf", 0); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("got %v", err)
	}
	me, err := user.Current()
	if err != nil || os.Geteuid() == 0 {
		return
	}
	if u, err := FindUser(me.Username, os.Geteuid()); err != nil || !u.Self {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestAPackageNameIsNeverAnOption(t *testing.T) {
	if _, err := (Packages{}).Installed(context.Background(), "--version"); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func FuzzService(f *testing.F) {
	f.Add([]byte("package: nginx\nunit: nginx.service\nuser: www-data\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseService(b)
		if err == nil && s.User != "" && restart.CheckUser(s.User) != nil {
			t.Errorf("%+v", s)
		}
	})
}
