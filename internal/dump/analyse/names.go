package analyse

import (
	"path"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// NameOf gives the name of a frame as it is shown and grouped by: its function,
// and the file where the function alone tells nothing, as in Python. What
// differs from one start of a program to the next, the addresses in the names of
// Java's hidden classes, is left out.
func NameOf(f dump.Frame) string {
	name := f.Function
	for _, mark := range []string{"/0x", "+0x"} { // com.acme.Job$$Lambda/0x00007f8b1c0a2f28.run
		if before, address, ok := strings.Cut(name, mark); ok {
			name = before + strings.TrimLeft(address, "0123456789abcdef")
		}
	}
	if isPython(f) {
		return name + " (" + pythonFile(f.File) + ")"
	}
	return name
}

// Short gives a name that fits a sentence: "HikariPool.getConnection",
// "http.(*conn).serve".
func Short(name string) string {
	if strings.ContainsAny(name, " ") { // Python: wait (threading.py)
		return name
	}
	head, receiver := name, ""
	if i := strings.IndexByte(name, '('); i >= 0 { // Go: net/http.(*conn).serve
		head, receiver = name[:i], name[i:]
	}
	if i := strings.LastIndexByte(head, '/'); i >= 0 {
		return head[i+1:] + receiver
	}
	if receiver != "" {
		return name
	}
	last := strings.LastIndexByte(head, '.')
	if last < 0 {
		return name
	}
	return head[strings.LastIndexByte(head[:last], '.')+1:]
}

// isPython tells whether a frame is of a Python program: only there a function
// has no more than its bare name, and a file.
func isPython(f dump.Frame) bool {
	return strings.HasSuffix(f.File, ".py") || strings.HasSuffix(f.File, ".pyx") || strings.HasPrefix(f.File, "<frozen ") || f.File == "<string>"
}

// pythonFile gives the end of a file's name that tells it from others: what
// stands behind the folder that modules are found in, else the last two parts.
func pythonFile(file string) string {
	for _, mark := range pythonRoots {
		if i := strings.LastIndex(file, mark); i >= 0 {
			rest := file[i+len(mark):]
			if mark == pythonLibrary {
				_, rest, _ = strings.Cut(rest, "/") // python3.11/threading.py
			}
			return rest
		}
	}
	if dir, base := path.Split(file); strings.HasPrefix(file, "/") {
		return path.Base(dir) + "/" + base
	}
	return file
}

const pythonLibrary = "/lib/python"

// pythonRoots are the folders that Python finds modules in, the most telling first.
var pythonRoots = []string{"/site-packages/", "/dist-packages/", pythonLibrary}
