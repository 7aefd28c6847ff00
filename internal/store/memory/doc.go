// Package memory is what package store promises of runs, in plain memory: the
// conditions of Apply, fences, leases by the store's own clock, the lock of a
// service, one active task a service and host. It loses everything with its
// process.
//
// It stands in for a database where a hundred thousand histories have to be
// walked (test/simulation), and is the model that the real databases are
// compared with, change by random change: see package store's tests. So what
// holds over it holds over them.
//
// It is not safe for concurrent use.
package memory
