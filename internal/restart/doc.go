// Package restart is the domain of restartilka: what a service, a scenario, a
// plan, a run and a task are, which states they pass through, and which names
// and reasons are acceptable. It imports the standard library only and does no
// I/O, so every rule here can be tested without a host, a database or a clock.
//
// # A run, as the server keeps it
//
//	draft ──► awaiting_approval ──► rejected
//	  │              ├────────────► aborted (withdrawn, or nobody has decided in time)
//	  └──────► queued ──► running ◄──► paused(cause)
//	                        │             │
//	                        ├─► completed │
//	                        ├─► failed ◄──┤
//	                        └─► aborted ◄─┘
//
// # A task, one host of a run, as the server keeps it
//
//	planned ─► intent_logged ─► dispatching ─► accepted ─► running ─► succeeded
//	   │             │               │            │           ├─────► failed
//	   │             │               │            │           ├─────► timed_out
//	   │             │               │            │           ├─────► cancelled
//	   │             ├───────────────┼────────────┼───────────┴─────► unknown
//	   │             │               ├─► refused ◄┤
//	   │             │               ├─► unreachable (nothing was sent)
//	   └─────────────┴───────────────┴────────────┴─► not_started (known so)
//
// # The same task, as the agent keeps it (one durable file a stage)
//
//	received ─► started ─► done ─► reported
//
// "unknown" is an honest answer: whether the script ran could not be found
// out. It is never retried by the program; a person decides. The task stays
// unknown: the decision (Decision) stands beside it, and "again" makes another
// task with the next attempt number.
//
// What a run that is over has left undone is done by another run, its child
// (Run.Parent): a retry, or the undrain step alone (Run.Work). A rehearsal is a
// run whose hosts run none of the scenario's scripts.
package restart
