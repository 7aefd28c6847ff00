package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/restartilka/restartilka/internal/restart"
)

// ServiceUser is the system user as whom the package runs the server.
const ServiceUser = "restartilka"

// DefaultUser gives the user who will run a server that is configured in dir,
// where nobody says it: ServiceUser, if root asks, the package has made that
// user, and dir is where the package's server looks. Otherwise "", the one who
// asks.
func DefaultUser(dir string) string {
	if os.Geteuid() != 0 || filepath.Clean(dir) != filepath.Dir(DefaultConfig) {
		return ""
	}
	if _, err := user.Lookup(ServiceUser); err != nil {
		return ""
	}
	return ServiceUser
}

// account is a user to whom files are given.
type account struct{ uid, gid int }

// lookAccount finds a user. One that is not there is CodeInvalid, and so is any
// where it is not root who asks.
func lookAccount(name string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, restart.Errorf(restart.CodeInvalid, "only root can do this for the user %s", restart.Quote(name)).WithHint("leave out --user, or become root")
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, restart.Errorf(restart.CodeInvalid, "there is no user %s here", restart.Quote(name)).WithHint("the package makes the user %s", ServiceUser).Because(err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return account{uid, gid}, errors.Join(uidErr, gidErr)
}

// handOver gives the server what it alone may read: its keys, and all of its
// data. The folder of the configuration stays root's, as does everything else
// in it: the server must not be able to change what it is told to be, and an
// agent on the same host trusts only what lies in folders of root.
func handOver(dir, data string, a account) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("let the server into %s: %w", dir, err)
	}
	for _, key := range []string{"ca.key", "server.key", "client.key", "envelope.key", "audit.key", "ssh_host_ed25519_key"} {
		if err := os.Lchown(filepath.Join(dir, key), a.uid, a.gid); err != nil {
			return fmt.Errorf("give the server its key: %w", err)
		}
	}
	// Through a handle: where the folder is the user's already, a symlink that
	// they put into it leads nowhere else.
	root, err := os.OpenRoot(data)
	if err != nil {
		return fmt.Errorf("give the server its data: %w", err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(name, a.uid, a.gid)
	})
	if err != nil {
		return fmt.Errorf("give the server its data: %w", err)
	}
	return nil
}

// writeConfig makes server.yaml, all at once; one that is there is CodeConflict.
// The server may read it and not write it.
func writeConfig(path, text string, a *account) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := writeNew(temp, []byte(text), 0o640); err != nil {
		return err
	}
	defer os.Remove(temp) // what is left of it is a second name
	if a != nil {
		if err := os.Lchown(temp, 0, a.gid); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	if err := os.Link(temp, path); errors.Is(err, fs.ErrExist) {
		return restart.Errorf(restart.CodeConflict, "%s is there already", path)
	} else if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// RunAs makes a command run as a user and with their groups.
func RunAs(cmd *exec.Cmd, name string) error {
	a, err := lookAccount(name)
	if err != nil {
		return err
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("look up the groups of %s: %w", name, err)
	}
	groups := make([]uint32, 0, len(ids))
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return fmt.Errorf("look up the groups of %s: %w", name, err)
		}
		groups = append(groups, uint32(n))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid), Groups: groups}}
	return nil
}
