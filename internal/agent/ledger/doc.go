// Package ledger is a host's own record of what root has begun on it without a
// server: one file of chained records (package audit has their form), each
// durable before the work that it tells of may start.
//
//	ask ──► intent, fsync ──► the task is received, and runs ──► done ──► outcome, fsync
//	          seq n                                                         seq n+1
//
// The source of the chain is agent:HOST; seq has no gaps. The file only grows:
// a torn last line, as a crash leaves one, is cut off at the next start, since
// nothing was begun on its word. A line that was changed breaks the chain; what
// stands behind it is still read, and Open says so.
//
// Whoever is root on the host can write another chain. That shows as soon as a
// server has seen the head of the first: it goes with every answer.
package ledger
