// Package memdisk is a disk in memory that a spool can be kept on, and that
// loses what a disk may lose. It is for simulations and tests: everything
// happens in the caller's goroutine, and the same seed, operations and faults
// give the same disk.
//
// # What survives
//
// It behaves as a journaling file system may, at its worst:
//
//   - The end of a process loses nothing that was written, only its locks and handles.
//   - A power cut keeps, of each directory, what it held when it was last synced,
//     and of the entries made, renamed and removed since, in their order, the
//     first few: none, some or all. Directories know nothing of each other.
//   - What was written into a file since it was last synced is there, lost, torn
//     (its beginning new, its end old) or zeros, for each file anew. A file's
//     sync says nothing of its name, a directory's nothing of the files' content.
//   - A sync that fails made nothing durable. A later one of the same file
//     succeeds, and still makes nothing of it durable, as on Linux, where the
//     kernel has forgotten by then which pages were not written.
//
// Blocks that were reserved for a file, or that it has had before, can be
// written without room: see Operation.
//
// # Crashes
//
// Before each operation the disk calls Disk.Fault, which lets it happen, fails
// it, or panics. Where it panics, the process whose operation it was is dead:
// its deferred calls, as they unwind, find handles that do nothing. Kill drops
// its locks, and PowerCut ends every process.
package memdisk
