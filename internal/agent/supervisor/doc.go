// Package supervisor is the process that does one task's work on its host. It
// is a process of its own, outside the agent's life, so that an agent that dies
// or is upgraded in mid-run loses nothing: the supervisor goes on, writes how
// the task ended into the spool, and the next agent finds it there.
//
//	agent ── fork ──► supervisor ID ──► evidence ─► drain ─► run ─► health ─► undrain ──► done
//	                      │   ▲             │
//	                      │   └─ the lock ID/alive, inherited: the kernel says whether it lives
//	                      └── verifies again: signature, time, the reviewed bytes; then takes ID/started,
//	                          once and for ever, and only then runs anything
//
// # A script
//
// The reviewed text, with its placeholders filled in, goes into a sealed memfd
// and is read from there by its interpreter: /bin/sh -eu /proc/self/fd/3. There
// is no file that could be changed between check and use. The process gets
// exactly four descriptors (0 is /dev/null, 1 and 2 one pipe, 3 the script), an
// exact environment, umask 077, / as its directory, and the user that the
// reviewed scenario or the host's own services.d names; unless that is root, it
// can gain no privileges by set-user-id programs.
//
// A script is done when its main process has exited; whatever holds its output
// after that has one second. Processes that a successful script leaves behind
// live on: a restart may well start a daemon. On time-out or cancel the whole
// tree goes: TERM, a grace, KILL.
//
// # Containment
//
// With a cgroup v2 that systemd has delegated, or that agent.yaml names, each
// script gets a cgroup of its own, and nothing leaves it unseen. Otherwise the script gets a process
// group, and the supervisor is the reaper of its orphans (child subreaper), so
// that what daemonises is still found below it. That is weaker: a daemon of an
// earlier step that is orphaned while a later step is being killed can be taken
// for one of the later step.
package supervisor
