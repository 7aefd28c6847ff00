package capture

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// onThread makes a system call that changes this thread alone: Go's own
// functions of these names change all threads.
func onThread(call, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(call, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// setThreadGroups gives this thread these supplementary groups.
func setThreadGroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0]) //nolint:gosec // G103: the kernel reads the list during the call
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	return nil
}
