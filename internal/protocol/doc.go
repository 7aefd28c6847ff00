// Package protocol holds the messages between a server and its agents, and the
// rules both ends check them by. It is versioned by Version; a server and an
// agent two minor versions apart understand each other, because unknown fields
// of answers are ignored and unknown fields of requests are refused only where
// they would change what is executed (the envelope).
//
// The verbs, all under mutual TLS 1.3 on port 3131:
//
//	PUT    /v1/tasks/{id}                  Submission → TaskStatus (idempotent; the same bytes again are the same task)
//	GET    /v1/tasks/{id}?after=N&wait=D   TaskStatus once its revision is above N, or after D (at most 30s)
//	GET    /v1/tasks/{id}/output?offset=N  NDJSON of Output lines, following until the end
//	GET    /v1/tasks/{id}/dumps/{n}        the capture of DumpReport n, as ContentDump
//	POST   /v1/tasks/{id}/cancel           Cancel → TaskStatus
//	DELETE /v1/tasks/{id}                  Forget → Tombstone; the id can never run again
//	POST   /v1/check                       CheckRequest → CheckReport
//	POST   /v1/probe                       ProbeRequest → ProbeReport
//	POST   /v1/evidence                    EvidenceRequest → EvidenceReport
//
// Every error is a restart.Error as JSON with a fitting status (StatusOf).
package protocol
