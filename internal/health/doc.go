// Package health decides whether a service on this host is healthy again, in a
// way that can't be talked out of the truth:
//
//   - A restart must leave a new process. The one before is remembered as a
//     Process (for a unit its invocation, for a pid file or port the pid with
//     its start time), and "it answers" does not count while that one lives.
//   - The new process must stay. When it changes again, the time to hold starts
//     over, so a crash loop never passes.
//   - All checks must hold at every sample, without a break, for healthy_for,
//     and within the deadline.
//
// System.Observe finds processes, a Checker takes samples, and Checker.Wait
// takes them until the time to hold is full. What a row of samples amounts to
// is decided by a small pure type:
//
//	                ┌── not healthy, or another process: start over ──┐
//	                ▼                                                  │
//	waiting ── healthy ──► holding ── still healthy, same process ──► held for healthy_for: healthy
//	   │                      │
//	   └──────────────────────┴── deadline ──► the error says what did not hold, and for how long
//
// Every check is one file with one line in checksOf.
package health
