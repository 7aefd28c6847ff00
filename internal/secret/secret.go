// Package secret reads the secrets that a configuration names. No secret is in
// a configuration, a command line or the environment: a key of server.yaml says
// where one lies, which is a file or a credential that systemd hands to the
// service (LoadCredential=, systemd.exec(5)):
//
//	dsn_file: /etc/restartilka/dsn
//	dsn_file: credential:dsn
//
// A file that anybody but its owner can reach is no secret any more, and is
// refused. What is closed like that and can be read all the same belongs to the
// program's own user, unless that is root.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// Prefix begins what names a credential of systemd, instead of a path.
	Prefix = "credential:"
	// folder is the variable by which systemd says where credentials lie.
	folder = "CREDENTIALS_DIRECTORY"
)

// Locate gives the path of what a key of the configuration names. A relative
// path is taken from dir. A credential stays as it is named where this process
// was handed none; reading it says so.
func Locate(dir, named string) string {
	if name, ok := strings.CutPrefix(named, Prefix); ok {
		if at := os.Getenv(folder); at != "" && checkCredential(name) == nil {
			return filepath.Join(at, name)
		}
		return named
	}
	if named == "" || filepath.IsAbs(named) {
		return named
	}
	return filepath.Join(dir, named)
}

// Named tells whether a path is what Locate leaves of a credential that this
// process was not handed.
func Named(path string) bool { return strings.HasPrefix(path, Prefix) }

// Read gives the whole content of a secret's file, at most most bytes, after
// Check: CodeInvalid, in words for who wrote the configuration.
func Read(path string, most int64) ([]byte, error) {
	if name, ok := strings.CutPrefix(path, Prefix); ok {
		if err := checkCredential(name); err != nil {
			return nil, err
		}
		return nil, restart.Errorf(restart.CodeInvalid, "there is no credential %s: systemd has handed none to this process", name).
			WithHint("LoadCredential=%s:FILE in the service's unit; outside of the service name a file", name)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hold us up
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s can't be read: %v", path, reason(err)).Because(err)
	}
	defer f.Close()
	info, err := f.Stat() // of the open file: nobody can exchange it in between
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if err := Check(path, info); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > most {
		return nil, restart.Errorf(restart.CodeInvalid, "%s has more than %d bytes", path, most)
	}
	return b, nil
}

// ReadWord is Read for a secret of one word, such as a token: white space around
// it is left out, and within it an error.
func ReadWord(path string, most int64) (string, error) {
	b, err := Read(path, most)
	if err != nil {
		return "", err
	}
	word := string(bytes.TrimSpace(b))
	if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", restart.Errorf(restart.CodeInvalid, "%s does not hold one word", path)
	}
	return word, nil
}

// Check judges an open file: regular, and closed to everybody but its owner.
func Check(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return restart.Errorf(restart.CodeInvalid, "%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !fromSystemd(path, mode) {
		return restart.Errorf(restart.CodeInvalid, "%s has mode %04o: others can reach it", path, mode).
			WithHint("chmod 0600 %s; and make a new one if others may have read this", path)
	}
	return nil
}

// fromSystemd tells whether the file is a credential that systemd hands to this
// process alone. It grants that by an access list, whose mask shows up as the
// group's right to read (systemd.exec(5)).
func fromSystemd(path string, mode fs.FileMode) bool {
	at := os.Getenv(folder)
	return at != "" && filepath.Dir(path) == filepath.Clean(at) && mode&0o077 == 0o040
}

// checkCredential wants a name of a credential to be one element of a path.
func checkCredential(name string) error {
	if name == "" || len(name) > 255 || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || restart.Escape(name) != name {
		return restart.Errorf(restart.CodeInvalid, "%s is not the name of a credential", restart.Quote(name)).WithHint("%sNAME, as in the unit's LoadCredential=NAME:FILE", Prefix)
	}
	return nil
}

// reason leaves the path out, which the sentence has.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
