// Package orchestrator walks runs over their hosts: one after another, the
// next only when the last is healthy again, each asked at most once.
//
//	       claim (lease, epoch+1)
//	              │
//	┌─────────────▼──────────────┐
//	│ loop (one goroutine a run) │◄── wake: a task changed, a person asked
//	│   snapshot from the store  │
//	│   decide(snapshot, now)    │   pure, decide.go
//	│   carry out the commands   │
//	└──────┬───────────────┬─────┘
//	       │ start         │ pause, end
//	┌──────▼──────────┐    ▼
//	│ driver (a task) │  store.Apply: transition, audit record and lock
//	│ intent → PUT →  │  in one transaction, fenced by owner and epoch
//	│ follow → outcome│
//	└─────────────────┘
//
// What a person wants of a run that stands still, or of a host that is unknown,
// is a change as well: Wish makes it, purely, for whoever has checked the rights.
//
// What survives a crash is in the store before it is done: the intent with the
// task's fixed id and its signed envelope, and "dispatching", and only then is
// the agent called. A server that takes a run over never sends such a task
// again: it asks the agent, and where the agent has not heard of the id, makes
// it forget the id for ever before calling the task not started.
package orchestrator
