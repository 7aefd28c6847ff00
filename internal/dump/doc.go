// Package dump is what a thread dump says, whatever runtime it was taken of:
// one model for a JVM, a Go program, a Python program, and any process as the
// kernel sees it. It has no I/O; who takes, reads and judges dumps is below it.
//
//	capture ── bytes with a Header ──► parse ── Dump ──► analyse ── findings, clusters, flames
//	(on the host)                      (on the server, or anywhere)
//
// What capture hands on is a plain text file: the runtime's own words, after one
// line that says where and when they were taken. Any other tool reads past that
// line; parse does without it where a dump comes from elsewhere. Several such
// files, one behind the other, are a series.
//
// Nothing is lost on the way: what parse does not understand stands in
// Dump.Rest with its line, and what a runtime says about a thread in words of its
// own stands in Thread.Detail.
//
// Every text in a Dump comes from outside: names of threads and classes are as
// hostile as anything a service prints. Who shows them escapes them.
package dump
