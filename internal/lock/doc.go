// Package lock takes the locks that runs share with others than us: with who
// deploys, migrates a database or reboots hosts, and holds ZooKeeper or a
// FleetLock server for the one who says whose turn it is.
//
//	run's gates pass → our own lock of the service → these, in the order of
//	the configuration → hosts, each asked about just before → the run is over:
//	given back
//
// # What is promised
//
// No host is touched by a run that does not have its locks: Held asks who keeps
// them, each time. A session with ZooKeeper that is interrupted is as good as
// none, as nobody knows how it will end; the host in hand is finished. A run that
// goes on without a lock, because nobody answers, asks for it again each time.
//
// Nothing stays taken by a run that is over. Before a lock is asked for, that is
// stored (Ledger), and dropped when it has been given back; Run looks for what
// crashes have left. Whatever ZooKeeper keeps ends with the session anyway; a
// slot of FleetLock would stay for ever.
//
// A server that takes a run over takes its locks anew, beside the node of the
// server that had it, which it removes then: whoever has waited longer may be
// first, and the run is paused.
//
// # Kinds
//
// A kind is one file here, one line in kinds, and passes Exercise.
package lock
