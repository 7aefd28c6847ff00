// Package tracker knows the tickets of the company's trackers: whether there is
// one of the key that a person has given, or has named in a reason, and how it
// stands. At the end of a run it leaves one comment there, and opens a ticket
// where the same service is restarted for the same reason again and again.
//
//	control ──► Trackers.Look ──► cache, 1 min ──► GET, 3 s at most ──► restart.Ticket
//
//	outbox ──► notify ──► Tracker.Tell ──► is our mark there? ──► POST
//
// Keys are taken apart and put together again by a strict form (see keys.go): no
// text of a person becomes a part of an address. Trackers are asked through
// package outgoing; what they answer is bounded, and escaped before it is kept.
//
// A kind of tracker is one file and one line in the table kinds, and passes the
// package's Exercise suite.
package tracker
