package analyse

import (
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// Origin says whose code a frame is.
type Origin string

// The origins.
const (
	FromRuntime Origin = "runtime" // the language's own library, and the kernel
	FromLibrary Origin = "library" // of others
	FromOwn     Origin = "own"     // of the service itself: all that no table knows
)

// OriginOf says whose code a frame is. Of prefixes of own packages, where there
// are some, one of them decides before the tables do.
func OriginOf(f dump.Frame, own []string) Origin {
	for _, prefix := range own {
		if prefix != "" && (strings.HasPrefix(f.Function, prefix) || strings.HasPrefix(f.File, prefix)) {
			return FromOwn
		}
	}
	switch {
	case strings.HasPrefix(f.Module, "java.") || strings.HasPrefix(f.Module, "jdk."):
		return FromRuntime
	case isPython(f):
		return pythonOrigin(f.File)
	case isBare(f.Function):
		return FromRuntime
	case isGo(f):
		return goOrigin(f)
	}
	return javaOrigin(f.Function)
}

// isBare tells whether a name is one of the kernel, or of machine code: without
// a package, but perhaps with what a compiler put behind it.
func isBare(name string) bool {
	if strings.Contains(name, "::") {
		return true
	}
	head, made, _ := strings.Cut(name, ".")
	made, _, _ = strings.Cut(made, ".")
	return !strings.Contains(head, "/") && (made == "" || made == "constprop" || made == "isra" || made == "part" || made == "cold")
}

// isGo tells whether a frame is of a Go program.
func isGo(f dump.Frame) bool {
	if pkg, _, one := strings.Cut(f.Function, "."); one && goStandard[pkg] && strings.Count(f.Function, ".") == 1 {
		return true // "sync.runtime_Semacquire"
	}
	return strings.HasSuffix(f.File, ".go") || strings.HasSuffix(f.File, ".s") || strings.Contains(f.Function, "/") && !strings.Contains(f.Function, "/0x") || strings.Contains(f.Function, ".(")
}

// goOrigin tells by the file, which names the module cache or a version where
// the code is of others, and by the package's path where the file was trimmed.
func goOrigin(f dump.Frame) Origin {
	pkg := goPackage(f.Function)
	first, _, _ := strings.Cut(pkg, "/")
	switch {
	case pkg == "main":
		return FromOwn
	case goStandard[first]:
		return FromRuntime
	case strings.Contains(f.File, "/pkg/mod/"), strings.Contains(f.File, "/vendor/"), strings.Contains(f.File, "@v"), hasPrefix(pkg+"/", goLibraries):
		return FromLibrary
	}
	return FromOwn
}

// goPackage gives the package's path of a function: "net/http" of "net/http.(*conn).serve".
func goPackage(function string) string {
	head, _, _ := strings.Cut(function, "(")
	slash := strings.LastIndexByte(head, '/') + 1
	if i := strings.IndexByte(head[slash:], '.'); i >= 0 {
		return head[:slash+i]
	}
	return head
}

func pythonOrigin(file string) Origin {
	switch {
	case strings.Contains(file, "/site-packages/"), strings.Contains(file, "/dist-packages/"):
		return FromLibrary
	case strings.Contains(file, pythonLibrary), strings.HasPrefix(file, "<frozen "):
		return FromRuntime
	case strings.HasPrefix(file, "/"):
		return FromOwn
	}
	first, _, _ := strings.Cut(file, "/") // py-spy shortens: threading.py, gunicorn/app/base.py
	first, _, _ = strings.Cut(first, ".")
	switch {
	case pythonStandard[first]:
		return FromRuntime
	case pythonLibraries[first]:
		return FromLibrary
	}
	return FromOwn
}

func javaOrigin(function string) Origin {
	switch {
	case hasPrefix(function, javaLibraries): // before the runtime's: javax.servlet is not of the JDK
		return FromLibrary
	case hasPrefix(function, javaRuntime):
		return FromRuntime
	}
	return FromOwn
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}
