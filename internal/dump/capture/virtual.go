package capture

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// minFree is the room that the JVM's /tmp must have, in bytes: the JVM writes
// its virtual threads into a file there, and knows no bound.
const minFree = dump.MaxCapture

// virtual asks for the threads as JSON, which is the only form with virtual
// threads in it that are not on a carrier. JDK 21 and newer have it; of an older
// one it gives nothing, and no error. The JVM writes the file itself, in its own
// name space and with its own rights, into a folder that is made for it.
func (j *jvm) virtual(ctx context.Context) ([]byte, error) {
	var room unix.Statfs_t
	if err := unix.Fstatfs(j.tmp.fd(), &room); err == nil && room.Blocks > 0 && room.Bavail*uint64(room.Bsize) < minFree {
		return nil, fmt.Errorf("less than %d MiB are free in the /tmp of process %d", minFree>>20, j.pid)
	}
	folder := ".restartilka-" + j.inner + "-" + rand.Text()
	if err := j.user.as(func() error { return unix.Mkdirat(j.tmp.fd(), folder, 0o700) }); err != nil {
		return nil, fmt.Errorf("make a folder in the /tmp of process %d: %w", j.pid, err)
	}
	const name = "threads.json"
	defer j.user.as(func() error { //nolint:errcheck // a cleaner was faster
		unix.Unlinkat(j.tmp.fd(), folder+"/"+name, 0) //nolint:errcheck // it may not be there
		return unix.Unlinkat(j.tmp.fd(), folder, unix.AT_REMOVEDIR)
	})
	path := "/tmp/" + folder + "/" + name
	said, err := j.command(ctx, maxTalk, "jcmd", "Thread.dump_to_file -format=json "+path)
	if unknownCommand(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := j.read(folder, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the JVM %d wrote nothing: %s", j.pid, restart.Quote(firstWords(said)))
	}
	if err == nil && !strings.Contains(firstWords(said), "Created ") {
		err = fmt.Errorf("the JVM %d broke off: %s", j.pid, restart.Quote(firstWords(said)))
	}
	return text, err // what was written, even so
}

// maxTalk bounds what a JVM says beside a dump, in bytes.
const maxTalk = 64 << 10

// read reads what the JVM wrote, with the JVM's rights, and through no link.
func (j *jvm) read(folder, name string) (text []byte, err error) {
	err = j.user.as(func() error {
		fd, err := unix.Openat(j.tmp.fd(), folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		file, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(file), name)
		defer f.Close()
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			return errors.New("what the JVM wrote is not a regular file")
		}
		text, err = io.ReadAll(io.LimitReader(f, dump.MaxCapture+1))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what the JVM %d wrote: %w", j.pid, err)
	}
	return text, nil
}
