package memdisk

import "github.com/restartilka/restartilka/internal/agent/spool"

// DiskOf gives the disk of a folder.
func DiskOf(f spool.Folder) *Disk { return f.(*folder).disk }
