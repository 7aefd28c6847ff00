// Package architecture holds the module to its own layout: who may import
// whom, what the agent's binary may contain, how packages are named and that
// each tells what it is. Every rule says why; a rule that is in the way is
// changed here, on purpose, together with a record in docs/decisions.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module    = "github.com/restartilka/restartilka"
	internal  = module + "/internal/"
	serverCmd = module + "/cmd/restartilka"
	agentCmd  = module + "/cmd/restartilka-agent"
)

// listed is what `go list` tells of a package, as it is built: without tests.
type listed struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string // direct
	Deps       []string // direct and indirect
	Module     *struct{ Path string }
	Standard   bool
}

// ours gives every package of this module, packages of tests alone left out.
var ours = sync.OnceValues(func() ([]listed, error) {
	if err := touchSources(); err != nil {
		return nil, err
	}
	return list(module + "/...")
})

func list(args ...string) ([]listed, error) {
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Doc,Imports,Deps,Module,Standard"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New("go list: " + err.Error() + "\n" + stderr.String())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// touchSources looks at every source file. `go test` keeps a result until a
// file that the test itself looked at has changed, and `go list` looks at them
// in a process of its own.
func touchSources() error {
	root := filepath.Join("..", "..")
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") || d.Name() == "go.mod" {
			_, err = os.Stat(name)
		}
		return err
	})
}

func packages(t *testing.T) []listed {
	t.Helper()
	all, err := ours()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// within tells whether an import path is root or lies below it.
func within(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}

func withinAny(importPath string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(importPath, root) })
}

// drivers are the standard library's door to databases, and what stands behind it.
var drivers = []string{"database/sql", "github.com/jackc", "modernc.org"}

// rule forbids packages to others. Paths cover what lies below them.
type rule struct {
	name     string
	packages []string // who is bound; "" = all of the module
	except   []string // who is not, all the same
	mayNot   []string // what they may not import
	indirect bool     // nor by way of others
	why      string
}

var rules = []rule{
	{
		name:     "nothing but cmd imports server",
		packages: []string{module},
		except:   []string{module + "/cmd", internal + "server"},
		mayNot:   []string{internal + "server"},
		why:      "server is where the parts are wired together; a part that knows the wiring can't be used or tested without all the others. Take what is needed as an interface in a Config.",
	},
	{
		name:     "the agent never reaches the store",
		packages: []string{internal + "agent", agentCmd},
		mayNot:   []string{internal + "store"},
		indirect: true,
		why:      "the agent is root on every host: its state is plain files that survive a crash and that a person can read at night, and a database in it would be code that an attacker of the server shares with every host.",
	},
	{
		name:     "the command line never reaches the store",
		packages: []string{internal + "cli", internal + "client", module + "/client"},
		mayNot:   []string{internal + "store"},
		indirect: true,
		why:      "the command line is one more client of the API: what it could do past the API would be done without rights, reason and audit record.",
	},
	{
		name:     "only the store speaks SQL",
		packages: []string{module},
		except:   []string{internal + "store"},
		mayNot:   drivers,
		why:      "one text of SQL serves two databases, and each transition is written with its audit record in one transaction; both hold only while nobody else has a connection. Add a method to store that says what is wanted.",
	},
}

func TestImports(t *testing.T) {
	all := packages(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, root := range r.packages {
				if !slices.ContainsFunc(all, func(p listed) bool { return within(p.ImportPath, root) }) {
					t.Errorf("this rule binds %s, which doesn't exist: a rule without a subject holds nothing. Name what took its place.", root)
				}
			}
			for _, p := range all {
				if !withinAny(p.ImportPath, r.packages) || withinAny(p.ImportPath, r.except) {
					continue
				}
				imports := p.Imports
				if r.indirect {
					imports = p.Deps
				}
				for _, i := range imports {
					if withinAny(i, r.mayNot) {
						t.Errorf("%s imports %s.\nWhy not: %s", p.ImportPath, i, r.why)
					}
				}
			}
		})
	}
}

// TestDomainIsPure: restart imports the standard library only, and of that
// nothing which reaches out of the process.
func TestDomainIsPure(t *testing.T) {
	const why = "the domain's rules are to be tested, and read, without a host, a database, a network or a clock; whatever needs one lives in another package that imports this one."
	outside := []string{"os", "io/ioutil", "net", "net/http", "syscall", "log", "log/slog", "database/sql"}
	harmless := []string{"net/netip", "net/url"}
	for _, p := range packages(t) {
		if !within(p.ImportPath, internal+"restart") {
			continue
		}
		for _, i := range p.Imports {
			first, _, _ := strings.Cut(i, "/")
			if strings.Contains(first, ".") {
				t.Errorf("%s imports %s, which is not of the standard library.\nWhy not: %s", p.ImportPath, i, why)
			}
			if withinAny(i, outside) && !slices.Contains(harmless, i) {
				t.Errorf("%s imports %s.\nWhy not: %s", p.ImportPath, i, why)
			}
		}
	}
}

// agentModules are the only modules of others that the agent's binary is made
// of, each with what for.
var agentModules = map[string]string{
	"go.yaml.in/yaml/v4":            "reads agent.yaml and the reviewed scenarios",
	"golang.org/x/sys":              "sealed memory, cgroups, subreaper, openat",
	"github.com/hiddeco/sshsig":     "reviewers' signatures, which the host itself judges",
	"golang.org/x/crypto":           "the SSH keys that those are made with",
	"github.com/klauspost/compress": "zstd of thread dumps, in the processes that take them; the agent itself keeps none of it in memory",
}

func TestAgentIsSmall(t *testing.T) {
	const why = "the agent runs as root on every host, so that each module in it is trusted with every host: its list is short, and grows by decision only."
	packages(t) // for touchSources
	deps, err := list("-deps", agentCmd)
	if err != nil {
		t.Fatal(err)
	}
	never := append([]string{internal + "agent/spool/memdisk", "html/template", "text/template", "github.com/spf13/cobra", "github.com/danielgtaylor/huma", "github.com/godbus"}, drivers...)
	for _, p := range deps {
		if withinAny(p.ImportPath, never) {
			t.Errorf("the agent links %s.\nWhy not: %s", p.ImportPath, why)
			continue
		}
		if p.Standard || p.Module == nil || p.Module.Path == module {
			continue
		}
		if _, known := agentModules[p.Module.Path]; !known {
			t.Errorf("the agent links %s of module %s.\nWhy not: %s Where it is worth it, agentModules here says what for.", p.ImportPath, p.Module.Path, why)
		}
	}
}

func TestPackagesAreNouns(t *testing.T) {
	const why = "a package is named for what it gives. A drawer for whatever fits nowhere else grows without end, and nobody finds anything in it; put the function where it is used, or name what it does."
	drawers := []string{"util", "utils", "common", "helper", "helpers", "model", "models", "misc", "shared", "base", "lib", "types"}
	for _, p := range packages(t) {
		if slices.Contains(drawers, path.Base(p.ImportPath)) || slices.Contains(drawers, p.Name) {
			t.Errorf("%s is package %s.\nWhy not: %s", p.ImportPath, p.Name, why)
		}
	}
}

func TestPackagesTellTheirStory(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, internal) && p.Doc == "" {
			t.Errorf("%s has no package comment: say in doc.go what it gives and what it promises; a reader starts there.", p.ImportPath)
		}
	}
}

func TestBinariesExist(t *testing.T) {
	for _, want := range []string{serverCmd, agentCmd} {
		if !slices.ContainsFunc(packages(t), func(p listed) bool { return p.ImportPath == want && p.Name == "main" }) {
			t.Errorf("%s is not a command: the project is these two binaries.", want)
		}
	}
}
