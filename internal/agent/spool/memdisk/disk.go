package memdisk

import (
	"errors"
	"math/rand/v2"

	"github.com/restartilka/restartilka/internal/agent/spool"
)

// ErrDead is what a handle of a process that has ended gives.
var ErrDead = errors.New("the process that had this handle has ended")

// Operation is what a Fault is asked about: a system call.
type Operation string

// The operations. Only those that Changes calls so can change the disk.
const (
	OpOpen      Operation = "open" // of a directory, or of a file that is there
	OpStat      Operation = "stat"
	OpNames     Operation = "names"
	OpRead      Operation = "read"
	OpLocked    Operation = "locked"
	OpLock      Operation = "lock"
	OpMake      Operation = "make"   // of a directory
	OpCreate    Operation = "create" // of a file, by opening or locking it
	OpLink      Operation = "link"
	OpRename    Operation = "rename"
	OpRemove    Operation = "remove" // of a file or a directory
	OpWrite     Operation = "write"
	OpOverwrite Operation = "overwrite" // a write into blocks that the file has: a full disk does not fail it
	OpTruncate  Operation = "truncate"
	OpReserve   Operation = "reserve"
	OpSync      Operation = "sync"     // of a file
	OpSyncDir   Operation = "sync-dir" // of a directory
)

// Changes tells whether a crash before the operation differs from one after it.
func (o Operation) Changes() bool {
	switch o {
	case OpOpen, OpStat, OpNames, OpRead, OpLocked:
		return false
	default:
		return true
	}
}

// Grows tells whether the operation needs room: these a full disk fails with unix.ENOSPC.
func (o Operation) Grows() bool {
	switch o {
	case OpMake, OpCreate, OpLink, OpWrite, OpReserve:
		return true
	default:
		return false
	}
}

// Counters count what was done to a disk, failed operations left out.
type Counters struct {
	Operations int
	Syncs      int // of files and directories
	PowerCuts  int
}

// Disk is a file system in memory. It is not for several goroutines.
type Disk struct {
	// Fault, where it is set, is called before each operation with the path that
	// it is about. An error fails the operation; of a write that fails, some
	// beginning may have happened. It may panic.
	Fault func(op Operation, path string) error
	// Yield, where it is set, is called before Fault: other processes may go on
	// there.
	Yield func(op Operation)

	Counters Counters

	seed      rand.PCG // what a failing write has done
	root      *node
	inodes    uint64
	unique    uint64
	processes map[string]*process
}

// process is who has handles and locks. What a dead one holds is free.
type process struct{ dead bool }

// New makes an empty disk. One number is drawn from rng.
func New(rng *rand.Rand) *Disk {
	d := &Disk{seed: *rand.NewPCG(rng.Uint64(), 0), processes: map[string]*process{}}
	d.root = d.newNode(true)
	return d
}

// Root gives the folder of the spool, as the process of that name has it. After
// that was killed, panicked in Fault, or the power was cut, it is a new one of that name.
func (d *Disk) Root(owner string) spool.Folder {
	p := d.processes[owner]
	if p == nil || p.dead {
		p = &process{}
		d.processes[owner] = p
	}
	return &folder{disk: d, node: d.root, owner: p, path: "spool"}
}

// Kill ends a process: its handles are dead, its locks are free.
func (d *Disk) Kill(owner string) {
	if p := d.processes[owner]; p != nil {
		p.dead = true
		delete(d.processes, owner)
	}
}

// PowerCut ends every process and lets the disk lose what it may lose.
func (d *Disk) PowerCut(rng *rand.Rand) {
	d.Counters.PowerCuts++
	for _, p := range d.processes {
		p.dead = true
	}
	clear(d.processes)
	d.root.lose(rng, map[*node]bool{})
}

// Clone gives a copy of the disk as it is, with what is not durable yet, and
// without processes, locks, handles and Fault.
func (d *Disk) Clone() *Disk {
	c := &Disk{Counters: d.Counters, seed: d.seed, inodes: d.inodes, unique: d.unique, processes: map[string]*process{}}
	c.root = d.root.clone(map[*node]*node{})
	return c
}

// step is one operation of a process: it counts, and asks Fault.
func (d *Disk) step(p *process, op Operation, dir, name string) error {
	if d.Yield != nil && !p.dead {
		d.Yield(op)
	}
	if p.dead {
		return ErrDead
	}
	if d.Fault != nil {
		path := dir
		if name != "" {
			path += "/" + name
		}
		p.dead = true // unless Fault comes back
		err := d.Fault(op, path)
		p.dead = false
		if err != nil {
			return err
		}
	}
	d.Counters.Operations++
	if op == OpSync || op == OpSyncDir {
		d.Counters.Syncs++
	}
	return nil
}

// random gives a number below n.
func (d *Disk) random(n int) int {
	return rand.New(&d.seed).IntN(n) //nolint:gosec // nobody is to be surprised by it, but the same seed is to give the same
}
