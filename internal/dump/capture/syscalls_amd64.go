package capture

import (
	"maps"

	"golang.org/x/sys/unix"
)

// These exist on older architectures only.
func init() {
	maps.Copy(calls, map[int]string{
		unix.SYS_POLL: "poll", unix.SYS_SELECT: "select", unix.SYS_EPOLL_WAIT: "epoll_wait", unix.SYS_OPEN: "open", unix.SYS_PAUSE: "pause",
	})
}
