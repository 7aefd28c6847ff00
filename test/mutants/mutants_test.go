package mutants_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var keep = flag.Bool("keep", false, "print what was said of each mutant")

// schedules bounds the search for one mutant. Most are found within a few
// hundred histories; the rarest needs 30,000.
const schedules = "40000"

// Every mutant is found.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("each mutant is compiled and walked over: left out of the quick tests")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	patches, err := filepath.Glob("*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("no mutants here: %v", err)
	}
	for _, patch := range patches {
		t.Run(strings.TrimSuffix(patch, ".patch"), func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			by, args := finder(t, patch)
			bin := build(t, root, patch, by)
			built := time.Since(began)
			cmd := exec.CommandContext(t.Context(), bin, args...)
			cmd.Dir = filepath.Join(root, by) // where go test would run it
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("not found by %s %v: either it looks away, or what the patch breaks does not matter", by, args)
			}
			said := regexp.MustCompile(`seed \d+: .*violations \[.*`).Find(out)
			if said == nil {
				said = regexp.MustCompile(`--- FAIL: .*`).Find(out)
			}
			if said == nil || bytes.Contains(out, []byte("no tests to run")) {
				t.Fatalf("%s ended without saying what it found: %v\n%s", by, err, tail(out))
			}
			t.Logf("built in %s, found in %s: %s", built.Round(time.Second), (time.Since(began) - built).Round(time.Millisecond), said)
			if *keep {
				t.Logf("%s", out)
			}
		})
	}
}

// finder gives the package whose tests are to find the mutant, and their
// arguments: the simulation, unless the patch's first lines say "Found by:
// PACKAGE -run NAME". That is for what lies below the simulation's seams.
func finder(t *testing.T, patch string) (pkg string, args []string) {
	t.Helper()
	diff, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(diff, []byte("diff --git"))
	text := strings.Join(strings.Fields(string(head)), " ")
	if text == "" {
		t.Fatalf("%s does not say which promise it breaks", patch)
	}
	_, by, other := strings.Cut(text, "Found by: ")
	if !other {
		return "./test/simulation", []string{"-test.run=^TestHistories$", "-enough=1", "-schedules=" + schedules}
	}
	pkg, run, ok := strings.Cut(by, " -run ")
	if !ok {
		t.Fatalf("%s names no test: Found by: PACKAGE -run NAME", patch)
	}
	return pkg, append([]string{"-test.run=" + run}, found(t, pkg)...)
}

// found tells a property test that what it finds is enough: to look for a
// smaller example takes it half a minute, and to keep it would break the next run.
func found(t *testing.T, pkg string) []string {
	t.Helper()
	tests, err := filepath.Glob(filepath.Join("../..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		b, err := os.ReadFile(test)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(`"pgregory.net/rapid"`)) {
			return []string{"-rapid.shrinktime=1ms", "-rapid.nofailfile"}
		}
	}
	return nil
}

// build compiles a package's tests with a mutant in place of the files it changes.
func build(t *testing.T, root, patch, pkg string) string {
	t.Helper()
	diff, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, m := range regexp.MustCompile(`(?m)^--- a/(.+)$`).FindAllSubmatch(diff, -1) {
		name := string(m[1])
		original, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(copied), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, original, 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, name)] = copied
	}
	apply := exec.CommandContext(t.Context(), "git", "apply", "--whitespace=nowarn", "-")
	apply.Dir, apply.Stdin = dir, bytes.NewReader(diff)
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("the patch does not fit any more; make it anew: %v\n%s", err, out)
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "finder.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", bin, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not compile: %v\n%s", err, out)
	}
	return bin
}

func tail(out []byte) []byte {
	const most = 2000
	return out[max(0, len(out)-most):]
}
