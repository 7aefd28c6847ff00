package fleet

import (
	"errors"
	"sync"
)

// Kind is what a host is made of. The zero value is a host as most have it:
// Debian 12, systemd, cgroup v2 alone.
type Kind struct {
	Hierarchy Hierarchy // "" = Unified
	Release   Release   // "" = Bookworm
	Software  []string  // of its root file system; "NAME-" leaves one out; nil = the usual
	Init      Init      // "" = Systemd
}

// Hierarchy is what a host sees of control groups.
type Hierarchy string

// The hierarchies. A hybrid host can be had where the machine itself is one;
// elsewhere it is like Unified.
const (
	Unified Hierarchy = "unified" // cgroup v2 alone, as current distributions have it
	Hybrid  Hierarchy = "hybrid"  // controllers in cgroup v1, and v2 beside them for systemd's own use
	Legacy  Hierarchy = "legacy"  // cgroup v1 alone, as old hosts have it
)

// environment tells systemd-nspawn which hierarchy to mount; asked nothing, it
// gives a host what the machine has.
func (h Hierarchy) environment() []string {
	switch h {
	case Hybrid:
		return nil
	case Legacy:
		return []string{"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0"}
	}
	return []string{"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"}
}

// Init is what runs as PID 1.
type Init string

// The init systems.
const (
	Systemd  Init = "systemd"
	Sysvinit Init = "sysvinit" // its root file system needs sysvinit-core, and systemd-sysv left out
)

func (k Kind) filled() Kind {
	if k.Hierarchy == "" {
		k.Hierarchy = Unified
	}
	if k.Release == "" {
		k.Release = Bookworm
	}
	if k.Software == nil {
		k.Software = software
	}
	if k.Init == "" {
		k.Init = Systemd
	}
	return k
}

// rootsOf gives the root file system of each kind. Those that are still to be
// made are made at the same time; Root's lock makes each once.
func rootsOf(kinds []Kind) ([]string, error) {
	roots, errs := make([]string, len(kinds)), make([]error, len(kinds))
	var making sync.WaitGroup
	for i, k := range kinds {
		k = k.filled()
		making.Go(func() { roots[i], errs[i] = Root(k.Release, k.Software) })
	}
	making.Wait()
	return roots, errors.Join(errs...)
}
