// Package memory is what package store promises of runs, in plain memory: the
// conditions of Apply, turns and what was seen of them, fences, leases by the
// store's own clock, the lock of a service or of a group of it, broken glass,
// one active task a service and host. It loses everything with its process.
//
// It stands in for a database where a hundred thousand histories have to be
// walked (test/simulation), and is the model that the real databases are
// compared with, change by random change: see package store's tests. So what
// holds over it holds over them.
//
// It is not safe for concurrent use.
package memory
