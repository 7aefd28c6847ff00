// Package capture takes thread dumps on the host where the process runs: of a
// JVM, a Go program, a Python program, and of any process as the kernel sees it.
// Nothing has to be installed for it, and a process is never traced or stopped:
// its own runtime is asked, or the kernel.
//
//	Run ── Job ──► child: restartilka-agent capture
//	               Find ─► Take ─┬─► attach │ signal │ pprof │ py-spy │ proc
//	    ◄── frames ── redact ◄───┘   the first that works; what was tried before
//	                                 it stands in Header.Notes
//
// Looking at a process can hang: /proc/PID/cmdline waits for a lock that a
// process stuck on its disk never gives back. So the work is done in a child
// that can be left behind, with everything in it bounded in time and size; and
// there what needs that lock is waited for half a second, and done without.
//
// One way of taking a dump is one file, and one line in the table methods.
//
// What a process can choose is hostile: the links in its /tmp, its name, the
// socket that pretends to be its JVM. Files below its root are opened with its
// own rights, from a thread that has no others, and what answers on a socket
// must be the very process. What stands in its environment is never read.
package capture
