// Package secret reads secrets from files of their own: no configuration holds
// one. A file of systemd's LoadCredential= is named by its path.
package secret

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/restartilka/restartilka/internal/restart"
)

// Most is how long a secret may be, in bytes.
const Most = 4 << 10

// Read reads a secret of least to Most bytes, without white space around it. A
// file that others may read, or the group change, is refused (CodeInvalid). key
// is the configuration's, for the error; hint says how to make such a file.
func Read(key, path string, least int, hint string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s can't be read: %v", key, err).Because(err)
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if info.Mode().Perm()&0o037 != 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "%s: %s is open to others (mode %04o)", key, path, info.Mode().Perm()).WithHint("chmod 600 %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, Most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	b = bytes.TrimSpace(b)
	if len(b) < least || len(b) > Most {
		return nil, restart.Errorf(restart.CodeInvalid, "%s: %s does not hold %d to %d bytes", key, path, least, Most).WithHint("%s", hint)
	}
	return b, nil
}
