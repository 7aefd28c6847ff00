package capture

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// user is whose rights a process has.
type user struct {
	uid, gid int // the effective ones
	groups   []uint32
}

// user reads whose rights the process has.
func (l *life) user() (user, error) {
	status, err := l.status()
	if err != nil {
		return user{}, err
	}
	var u user
	for _, id := range []struct {
		field string
		to    *int
	}{{"Uid", &u.uid}, {"Gid", &u.gid}} {
		fields := strings.Fields(status[id.field]) // real, effective, saved, of files
		if len(fields) != 4 {
			return user{}, fmt.Errorf("%s of process %d can't be read", id.field, l.pid)
		}
		if *id.to, err = strconv.Atoi(fields[1]); err != nil {
			return user{}, fmt.Errorf("%s of process %d: %w", id.field, l.pid, err)
		}
	}
	for field := range strings.FieldsSeq(status["Groups"]) {
		if gid, err := strconv.ParseUint(field, 10, 32); err == nil {
			u.groups = append(u.groups, uint32(gid))
		}
	}
	return u, nil
}

// as runs do with the rights of a user and no others, as far as the kernel
// looks at them for files and sockets. Where this process is that user already,
// nothing changes. The rights are a thread's: do runs on one that is never used
// again, and must not start goroutines that need them.
func (u user) as(do func() error) error {
	if os.Geteuid() == u.uid && os.Getegid() == u.gid {
		return do()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if err := u.become(); err != nil {
			done <- fmt.Errorf("take the rights of user %d: %w", u.uid, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// become gives this thread the effective rights of a user, and with that no
// capabilities. Its real user stays, so that the user can't signal or trace us.
func (u user) become() error {
	if err := setThreadGroups(u.groups); err != nil {
		return err
	}
	const same = ^uintptr(0)
	if err := onThread(unix.SYS_SETRESGID, same, uintptr(u.gid), same); err != nil {
		return err
	}
	return onThread(unix.SYS_SETRESUID, same, uintptr(u.uid), same)
}

// rooted is a folder as a process sees it, from its own root or directory, held
// open; what is named below it can't lead out of it.
type rooted struct {
	root *os.File // that paths are looked up in
	dir  *os.File // the folder itself
}

// folder opens a folder below the process's root, by an absolute path there.
// Links that the process has made are followed as it would follow them.
func (l *life) folder(path string) (*rooted, error) {
	root, err := os.OpenFile(l.proc("root"), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root of process %d: %w", l.pid, err)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(int(root.Fd()), path, &how)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.6: then not through links
		fd, err = unix.Openat(int(root.Fd()), strings.TrimPrefix(path, "/"), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open %s of process %d: %w", path, l.pid, err)
	}
	return &rooted{root: root, dir: os.NewFile(uintptr(fd), path)}, nil
}

func (r *rooted) close() {
	r.dir.Close()
	r.root.Close()
}

func (r *rooted) fd() int { return int(r.dir.Fd()) }
