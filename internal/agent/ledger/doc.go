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
// Beside it lies a second ledger, of what servers have asked: each task that was
// taken, before it is received, and what was refused, with the code and the
// sentence that the server got (package agent bounds how many of those). Its
// source is agent:HOST/asked. No server is told where it stands, nor could take
// anything out of it: it is for the host's administrator, after a server was
// taken over. A power cut may lose its last half minute; the tasks themselves
// are in the spool.
//
// Whoever is root on the host can write another chain. That shows as soon as a
// server has seen the head of the first: it goes with every answer.
package ledger
