// Package trail proves the audit trail by killing the program that writes it:
// at each of the system calls by which it commits records, gives them their
// place, seals them and ships them, to every kind of sink at once.
//
// A process (write_test.go) does what the server does with its trail, by the
// server's own packages, and says of each record that it is committed. A tracer
// (tracer_test.go) kills it before its n-th call that changes anything outside
// of it. What it only reads, and what it does to its own memory, is gone with it
// either way; the memory that SQLite maps is an index which the next to open the
// database makes anew. Nothing is mended in between: the next process goes on
// with what the one before has left, and is killed one call later.
//
// At the end the stores of all receivers are held against the head of the
// database and the seals, and against what was said to be committed.
package trail
