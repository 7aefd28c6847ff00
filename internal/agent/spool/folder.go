package spool

import (
	"io"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Folder is a handle on a directory of the disk that a spool is kept on: the
// host's (OpenFolder), or one in memory that can lose what a disk can lose
// (package memdisk). Its methods are as small as system calls, so that a crash
// can be had between any two steps of the spool; all that is made of several is
// written once, over it.
//
// Every name is one path element; what is not, CheckElement refuses. Symlinks
// are never followed. Errors are those of the system calls, wrapped:
// fs.ErrNotExist, fs.ErrExist, unix.ENOSPC, unix.EIO and unix.EWOULDBLOCK are
// told apart by errors.Is.
type Folder interface {
	// Path is for messages.
	Path() string
	// Sub opens a directory below.
	Sub(name string) (Folder, error)
	// Make makes a directory below, with mode 0700. fs.ErrExist where the name is taken.
	Make(name string) error
	// Open opens a regular file.
	Open(name string, how Access) (File, error)
	// Stat looks at a name without following links. The zero Stat = absent.
	Stat(name string) (Stat, error)
	// Names lists what is in the directory. The host gives them in no order.
	Names() ([]string, error)
	// Link gives a file a second name, in a folder of the same disk. fs.ErrExist
	// where that is taken: of any number of callers one succeeds.
	Link(from string, to Folder, name string) error
	// Rename gives a file another name in this directory, at once; whatever has
	// that name loses it.
	Rename(from, to string) error
	// Remove removes a file, RemoveFolder an empty directory. fs.ErrNotExist
	// where it is absent.
	Remove(name string) error
	RemoveFolder(name string) error
	// Sync makes the directory's entries durable, not what is in the files.
	Sync() error
	// Lock takes the lock file of that name, which is made where it is absent.
	// unix.EWOULDBLOCK where another has it. The lock lasts until it is closed,
	// or until every process that has it is gone.
	Lock(name string) (io.Closer, error)
	// Locked asks whether somebody has the lock file of that name.
	Locked(name string) (bool, error)
	// Unique gives a text, fit for a name, that nobody gets twice.
	Unique() string
	Close() error
}

// File is an open file of a Folder.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Truncate sets its size in bytes.
	Truncate(size int64) error
	// Reserve takes so many bytes of the disk for it, from its start, so that
	// writing them later can't fail for want of room.
	Reserve(size int64) error
	// Sync makes its content durable, not its name.
	Sync() error
	Close() error
}

// Access says for what a file is opened.
type Access int

// The ways to open a file.
const (
	ToRead    Access = iota // it must be there
	ToEdit                  // it must be there, and is written
	ToCreate                // it must be absent (fs.ErrExist), and is written
	ToReplace               // it is made or emptied, and is written
)

// Stat is what is known of a name without opening it.
type Stat struct {
	Inode   uint64 // which file it is, whatever its name; 0 = absent
	Size    int64  // bytes
	Blocks  int64  // of 512 bytes, what it takes on the disk
	Regular bool   // a file: not a directory, a link, a device
}

// CheckElement refuses what is not one plain path element.
func CheckElement(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return restart.Errorf(restart.CodeInvalid, "%s is not a name in the spool", restart.Quote(name))
	}
	return nil
}
