// Package simulation lives through histories of restartilka that a seed
// decides, a hundred thousand of them in two minutes, and holds each against
// what was promised.
//
// What is real: the orchestrator with its decisions, drivers and takeovers
// (package orchestrator), the locks that runs share with others (package lock),
// the agent with its judgements (package agent), and the spool with every one of
// its system calls (package spool). What is put in their place:
//
//	servers ── desk ──► store/memory, which random changes hold equal to the databases
//	   │
//	   └─ calls ──► a network that loses, delays, doubles, resets and cuts off
//	                  │
//	              machines: memdisk, which crashes at any operation and loses
//	                  │     what was not synced; agents and supervisors that are
//	                  │     killed; clocks that jump; power that fails
//	                  └──► witness: which script really began, on which host
//
// # One thread
//
// A history has one event loop. Whatever would be a goroutine is a coroutine
// that runs until it waits; which of those that could go on does, and what
// every message, disk and clock does meanwhile, is drawn from the seed. So a
// seed gives the same history, to the byte, again and again:
//
//	go test ./test/simulation -run TestHistories -args -seed=N
//
// prints it, line by line.
//
// # What is held against what
//
// The ledger looks at each commit: is it allowed now, by the strategy, by the
// wishes of people, by their rights, by a lock that is shared with others, by
// whoever took the run last? Has it its
// record, one and no more? The witness looks at each script that begins: was it
// asked for, is it the first time, are not too many hosts down? At the end
// every outcome has to be what the witness saw, every run is over or waits for
// a person with a stated cause, no host has anything in hand, and nothing stays
// taken by a run that is over: neither its lease, nor its service, nor a lock that
// is shared with others.
//
// # What it can't find
//
// Whatever is below the seams: TLS and HTTP, the SQL of a database, fsync that
// lies, scripts and their processes. Those are held by the tests of the whole
// programs, by test/faults and by the fleet.
package simulation
