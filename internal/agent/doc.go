// Package agent is the part of restartilka that runs on every host, as root:
// it takes tasks from the company's servers on port 3131, and lets nothing
// happen that the host's own files do not allow.
//
//	        mTLS                    one change at a time
//	server ──────► http.go ─► Agent ──────────────────────► Spool (durable files)
//	                            │                             ▲      │
//	                            └─► Launcher ─► supervisor ───┘      │ inotify
//	                                            (own process)        ▼
//	                            ▲                               Attendant
//	                            └───────────── Refresh ──────────────┘
//
// An Agent has synchronous verbs over three things that are given to it: a
// Spool, a Launcher and a clock. Its state is what is in the spool; what it
// keeps in memory can be thrown away at any moment and read again (Recover).
// After every change, and at the start, the same pure function (judge) says
// from a task's files what has to be done about it:
//
//	done is there                                  → free the service, keep the answer until DELETE
//	its supervisor lives                           → nothing: it will write done
//	started, not done, nobody lives                → unknown, with the reason
//	received, not started, envelope still good     → launch
//	received, not started, envelope over           → not_started
//
// A task runs at most once because the right to run is a file that can be made
// only once (see package spool), and because an id that was forgotten stays in
// the tombstones for longer than any envelope lives.
package agent
