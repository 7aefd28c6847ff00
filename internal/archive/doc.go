// Package archive keeps thread dumps: it fetches them from hosts as soon as
// agents tell of them, asks a run's hosts for their evidence before the first is
// touched, takes files that people put in, reads what is stored for those who
// look at it, and drops what is old.
//
//	agent ── compressed capture ──► unpack, bounded ──► redact ──► parse, judge ──► store
//	person ── file ─────────────────┘                                               │
//	                                      pages, API ◄── parsed dumps, bounded ◄────┘
//
// Everything that comes in is hostile until it was read: it is unpacked up to a
// bound and no further, parsed by at most two at once and outside of any
// transaction, and what can't be understood is kept as it is, with the reason.
// No run waits for any of this longer than it waits for output.
//
// Who may look at what is not decided here but in package control.
package archive
