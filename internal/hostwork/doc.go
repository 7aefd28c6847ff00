// Package hostwork takes over what root has done on hosts themselves while no
// server could be asked, so that it is in the history and in the audit trail
// like everything else.
//
//	host                                      server
//	ledger, spool   ◄── GET /v1/local?after ──  Keeper: at a look at the host, and
//	                ──  chain, tasks  ──►       by a sweep over the inventory
//	                                            │ verify the chain behind the head seen before
//	                ◄── GET status, output  ──  │ of each task that is done
//	                                            ▼
//	                                     one transaction: run, task, output, audit records
//	tombstone       ◄── DELETE  ──────────────  only then
//
// A task is taken over once: the transaction knows it by host and id, and until
// the DELETE has arrived the host goes on telling of it. A server that is killed
// at any moment, or two that ask at once, change nothing about that.
//
// A host is believed about itself and nothing else. Whatever it says, the run is
// of that host alone; the actor carries the host's name, so that it can't pass
// for somebody who is signed in here; an id that stands for something here is
// refused; text is escaped, lists and output are bounded, and so is the number
// of tasks in a day. A chain that does not go on behind the head that was seen
// before is noted in the audit trail as such: the host was set up anew, its
// disk is damaged, or somebody has rewritten what was done there.
package hostwork
