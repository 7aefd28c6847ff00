package scenario

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxFiles bounds how many scenarios a folder may hold.
const maxFiles = 1000

// File is one readable scenario of a folder.
type File struct {
	Path     string // folder and name
	Scenario restart.Scenario
	Bytes    []byte // exactly what Scenario was read from
}

// Problem is a file, or the whole folder, that could not be used, or two files
// that contradict each other. Err is for people.
type Problem struct {
	Path string
	Err  error
}

func (p Problem) Error() string { return p.Path + ": " + p.Err.Error() }

// Unwrap gives Err.
func (p Problem) Unwrap() error { return p.Err }

// Folder is what a folder of scenarios held when it was read. It does not
// change; read it again to see changes.
type Folder struct {
	files []File // by name, then serial, then path
}

// ReadFolder reads every *.yaml in dir, once: the bytes that are parsed are
// those that are kept. Names that begin with a dot are passed over. Only
// regular files of at most MaxSize are read, and symbolic links are not
// followed. trusted, unless nil, judges the owner and mode of the folder and
// of each file; what it returns becomes a Problem. A file with a problem is
// left out and the others stay usable. Two files that give one name and serial
// to different bytes are both kept, and reported.
func ReadFolder(dir string, trusted func(fs.FileInfo) error) (*Folder, []Problem) {
	if trusted == nil {
		trusted = func(fs.FileInfo) error { return nil }
	}
	folder, problems := &Folder{}, []Problem(nil)
	problem := func(name string, err error) {
		problems = append(problems, Problem{filepath.Join(dir, name), err})
	}
	root, names, err := list(dir, trusted)
	if err != nil {
		problem("", err)
		return folder, problems
	}
	defer root.Close()
	for _, name := range names {
		b, err := readOne(root, name, trusted)
		if err != nil {
			problem(name, err)
			continue
		}
		s, err := Parse(b)
		if err != nil {
			problem(name, err)
			continue
		}
		folder.files = append(folder.files, File{filepath.Join(dir, name), s, b})
	}
	slices.SortStableFunc(folder.files, byVersion)
	for i := 1; i < len(folder.files); i++ {
		a, b := folder.files[i-1], folder.files[i]
		if a.Scenario.Name == b.Scenario.Name && a.Scenario.Serial == b.Scenario.Serial && a.Scenario.Digest != b.Scenario.Digest {
			problems = append(problems, Problem{b.Path, restart.Errorf(restart.CodeConflict, "%s has the same name and serial, and other bytes", restart.Quote(filepath.Base(a.Path))).
				WithHint("raise the serial of the newer one, and remove the other")})
		}
	}
	return folder, problems
}

// FolderOf makes a folder of files that were read elsewhere.
func FolderOf(files []File) *Folder {
	files = slices.Clone(files)
	slices.SortStableFunc(files, byVersion)
	return &Folder{files}
}

func byVersion(a, b File) int {
	return cmp.Or(cmp.Compare(a.Scenario.Name, b.Scenario.Name), cmp.Compare(a.Scenario.Serial, b.Scenario.Serial), cmp.Compare(a.Path, b.Path))
}

// list opens the folder and lists the names to read, in order.
func list(dir string, trusted func(fs.FileInfo) error) (*os.Root, []string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open scenarios: %w", err)
	}
	names, err := func() ([]string, error) {
		self, err := root.Open(".")
		if err != nil {
			return nil, err
		}
		defer self.Close()
		info, err := self.Stat()
		if err != nil {
			return nil, err
		}
		if err := trusted(info); err != nil {
			return nil, err
		}
		entries, err := self.ReadDir(-1)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".yaml") && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, e.Name())
			}
		}
		if len(names) > maxFiles {
			return nil, restart.Errorf(restart.CodeTooLarge, "the folder holds %d scenarios; at most %d are read", len(names), maxFiles)
		}
		slices.Sort(names)
		return names, nil
	}()
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	return root, names, nil
}

// readOne reads a regular file. What was looked at is what is opened: a file
// exchanged for a link in between is refused.
func readOne(root *os.Root, name string, trusted func(fs.FileInfo) error) ([]byte, error) {
	looked, err := root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("look at scenario: %w", err)
	}
	if !looked.Mode().IsRegular() {
		return nil, restart.Errorf(restart.CodeInvalid, "it is not a regular file").WithHint("symbolic links are not followed: lay the file itself here")
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open scenario: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at scenario: %w", err)
	}
	if !os.SameFile(looked, info) {
		return nil, restart.Errorf(restart.CodeConflict, "the file was exchanged while it was read").WithHint("read the folder again")
	}
	if err := trusted(info); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	return b, nil
}

// Files lists the scenarios by name, then serial.
func (f *Folder) Files() []File { return slices.Clone(f.files) }

// ByDigest finds the file with exactly those bytes.
func (f *Folder) ByDigest(digest string) (File, bool) {
	for _, file := range f.files {
		if file.Scenario.Digest == digest {
			return file, true
		}
	}
	return File{}, false
}

// ByName finds the version of a scenario with the highest serial; of two with
// that serial, the one whose path sorts last.
func (f *Folder) ByName(name string) (File, bool) {
	for _, file := range slices.Backward(f.files) {
		if file.Scenario.Name == name {
			return file, true
		}
	}
	return File{}, false
}

// ForService lists the scenarios of a kind that fit a service, by name, each
// in the version with the highest serial. An empty kind means any.
func (f *Folder) ForService(service string, kind restart.Kind) []File {
	var out []File
	for i, file := range f.files {
		newest := i+1 == len(f.files) || f.files[i+1].Scenario.Name != file.Scenario.Name
		if newest && (kind == "" || file.Scenario.Kind == kind) && file.Scenario.Fits(service) {
			out = append(out, file)
		}
	}
	return out
}
