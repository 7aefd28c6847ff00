// Package notify tells receivers outside what they should know at once, such as
// that somebody has broken the glass. Messages are stored in the transaction of
// what they tell of, so that nothing is lost when a server dies, and no run ever
// waits for a receiver:
//
//	control ──► store.Change.Messages ──► table messages, one row a receiver
//	                                           │ taken under a hold
//	                               Sender ◄────┘
//	                                 │ Channel.Deliver
//	                  taken ◄────────┼────────► not: again after 1 s, 2 s, 4 s …
//	                                 │          5 min at most, for three days
//	                                 └────────► then given up, with an audit record
//
// Each message comes at least once. It comes again where its answer was lost, or
// where a server died with it, always under the same id, by which a receiver
// tells.
//
// A kind of receiver is one file and one line in the table kinds, and passes the
// package's Exercise suite.
package notify
