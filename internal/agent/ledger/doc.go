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
// source is agent:HOST/asked. No server can read it, nor take anything out of
// it: it is for whoever compares it with a server's own trail. The record of a
// task is durable before the task is received, and with it everything before it.
// A power cut may lose what was noted since: half a minute of refusals and of
// looks at evidence.
//
// Whoever is root on the host can write other chains. That shows as soon as a
// server has seen the heads of the first: those of both go with every answer
// about a task, never further than a power cut would leave them, and the server
// writes them into its record of the outcome.
package ledger
