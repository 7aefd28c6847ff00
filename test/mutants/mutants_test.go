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

var keep = flag.Bool("keep", false, "print what the simulation said of each mutant")

// schedules bounds the search for one mutant. Most are found within a few
// hundred histories.
const schedules = "20000"

// Every mutant is found by the simulation.
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
			began := time.Now()
			bin := build(t, root, patch)
			built := time.Since(began)
			cmd := exec.CommandContext(t.Context(), bin, "-test.run=^TestHistories$", "-schedules="+schedules)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("not found in %s histories: either the simulation looks away, or what the patch breaks does not matter", schedules)
			}
			found := regexp.MustCompile(`seed \d+: .*violations \[.*`).Find(out)
			if found == nil {
				t.Fatalf("the simulation ended without naming a seed: %v\n%s", err, tail(out))
			}
			t.Logf("built in %s, found in %s: %s", built.Round(time.Second), (time.Since(began) - built).Round(time.Millisecond), found)
			if *keep {
				t.Logf("%s", out)
			}
		})
	}
}

// build compiles the simulation with a mutant in place of the files it changes.
func build(t *testing.T, root, patch string) string {
	t.Helper()
	diff, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	if head, _, _ := bytes.Cut(diff, []byte("diff --git")); len(bytes.TrimSpace(head)) == 0 {
		t.Fatalf("%s does not say which promise it breaks", patch)
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
	bin := filepath.Join(dir, "simulation.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", list, "-o", bin, "./test/simulation")
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
