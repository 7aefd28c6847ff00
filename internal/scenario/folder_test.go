package scenario_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

func named(name string, serial int, kind restart.Kind, services string) string {
	return fmt.Sprintf("format: 1\nname: %s\nserial: %d\nauthor: anna\nkind: %s\nservices: [%s]\nsteps: {run: {script: \"true\"}}\n", name, serial, kind, services)
}

func lay(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadFolder(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, map[string]string{
		"a1.yaml":      named("a", 1, restart.KindRestart, "shop"),
		"a2.yaml":      named("a", 2, restart.KindRestart, "shop"),
		"a2-copy.yaml": named("a", 2, restart.KindRestart, "shop"),
		"b.yaml":       named("b", 7, restart.KindCustom, "'*'"),
		"c.yaml":       named("c", 1, restart.KindRestart, "'sh*'"),
		"d1.yaml":      named("d", 1, restart.KindRestart, "other"),
		"d1-too.yaml":  named("d", 1, restart.KindRestart, "another"),
		"broken.yaml":  "format: 1\nnam: x\n",
		"large.yaml":   small + strings.Repeat("#\n", scenario.MaxSize/2),
		".hidden.yaml": "broken",
		"a.yaml.sig":   "broken",
		"notes.txt":    "broken",
	})
	if err := os.Symlink("a1.yaml", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}

	folder, problems := scenario.ReadFolder(dir, nil)
	told := map[string]restart.Code{}
	for _, p := range problems {
		told[filepath.Base(p.Path)] = restart.CodeOf(p)
	}
	want := map[string]restart.Code{
		"broken.yaml": restart.CodeInvalid, "large.yaml": restart.CodeTooLarge, "link.yaml": restart.CodeInvalid,
		"folder.yaml": restart.CodeInvalid, "pipe.yaml": restart.CodeInvalid, "d1.yaml": restart.CodeConflict,
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, problems)
	}
	if diff := cmp.Diff([]string{"a1.yaml", "a2-copy.yaml", "a2.yaml", "b.yaml", "c.yaml", "d1-too.yaml", "d1.yaml"}, paths(folder.Files())); diff != "" {
		t.Errorf("Files (-want +got):\n%s", diff)
	}

	if f, ok := folder.ByName("a"); !ok || f.Scenario.Serial != 2 || scenario.Digest(f.Bytes) != f.Scenario.Digest {
		t.Errorf("ByName gives %+v, %v", f.Scenario, ok)
	}
	if _, ok := folder.ByName("broken"); ok {
		t.Error("ByName finds what is not there")
	}
	old := scenario.Digest([]byte(named("a", 1, restart.KindRestart, "shop")))
	if f, ok := folder.ByDigest(old); !ok || f.Path != filepath.Join(dir, "a1.yaml") {
		t.Errorf("ByDigest gives %s, %v", f.Path, ok)
	}
	if _, ok := folder.ByDigest(strings.Repeat("0", 64)); ok {
		t.Error("ByDigest finds what is not there")
	}
	if diff := cmp.Diff([]string{"a2.yaml", "c.yaml"}, paths(folder.ForService("shop", restart.KindRestart))); diff != "" {
		t.Errorf("ForService (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a2.yaml", "b.yaml", "c.yaml"}, paths(folder.ForService("shop", ""))); diff != "" {
		t.Errorf("ForService of any kind (-want +got):\n%s", diff)
	}
}

func paths(files []scenario.File) []string {
	var out []string
	for _, f := range files {
		out = append(out, filepath.Base(f.Path))
	}
	return out
}

func TestReadFolderAsksForTrust(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, map[string]string{"a.yaml": named("a", 1, restart.KindRestart, "shop"), "b.yaml": named("b", 1, restart.KindRestart, "shop")})
	if err := os.Chmod(filepath.Join(dir, "b.yaml"), 0o666); err != nil {
		t.Fatal(err)
	}
	open := errors.New("anybody may write to it")
	trusted := func(info fs.FileInfo) error {
		if info.Mode().Perm()&0o022 != 0 {
			return open
		}
		return nil
	}
	folder, problems := scenario.ReadFolder(dir, trusted)
	if got := paths(folder.Files()); len(got) != 1 || got[0] != "a.yaml" || len(problems) != 1 || !errors.Is(problems[0], open) {
		t.Errorf("ReadFolder gives %v, %v", got, problems)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	folder, problems = scenario.ReadFolder(dir, trusted)
	if got := paths(folder.Files()); len(got) != 0 || len(problems) != 1 || problems[0].Path != dir {
		t.Errorf("a folder open to anybody gives %v, %v", got, problems)
	}
}

func TestReadFolderThatIsNotThere(t *testing.T) {
	folder, problems := scenario.ReadFolder(filepath.Join(t.TempDir(), "none"), nil)
	if len(folder.Files()) != 0 || len(problems) != 1 || !errors.Is(problems[0], fs.ErrNotExist) {
		t.Errorf("ReadFolder gives %v, %v", folder.Files(), problems)
	}
}
