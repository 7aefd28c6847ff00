package protocol

import (
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

const (
	// EvidenceTime bounds the taking of evidence apart from a task: see EvidenceRequest.
	EvidenceTime = 15 * time.Second
	// EvidenceWait is how long an asker waits for that answer.
	EvidenceWait = EvidenceTime + 3*time.Second
	// MaxEvidenceDump bounds the thread dump of one EvidenceReport, in bytes as it
	// is sent, that is compressed; a larger one is left out, and said so.
	MaxEvidenceDump = 24 << 20
	// MaxEvidenceReport bounds the answer to one EvidenceRequest, in bytes.
	MaxEvidenceReport = 48 << 20
	// MaxDumps bounds the thread dumps of one task: a series, and those before
	// and after.
	MaxDumps = dump.MaxSeries + 2
	// MaxStoredDump bounds one capture as it is kept and sent, that is compressed.
	MaxStoredDump = dump.MaxCapture + dump.MaxHeader + 1<<20
	// MaxDumpNotes bounds the notes of one DumpReport together, in bytes; all of
	// them stand in the capture's own header.
	MaxDumpNotes = 1000
)

// ContentDump is the media type of a capture: zstd of the file that package
// dump describes.
const ContentDump = "application/zstd"

// DumpWhen says why a thread dump was taken.
type DumpWhen string

// The reasons.
const (
	DumpRun      DumpWhen = "run"      // it is what the scenario does
	DumpEvidence DumpWhen = "evidence" // from before the process was told to stop
	DumpAfter    DumpWhen = "after"    // once it was healthy again, to compare
)

// DumpReport tells of one thread dump that a task has taken, or could not take.
// Its bytes are at GET /v1/tasks/{id}/dumps/{n} as soon as it is told of, where
// Stored is above zero.
type DumpReport struct {
	N       int           `json:"n"`      // in the task, from 1, whatever it was taken for
	Number  int           `json:"number"` // in its series, from 1
	Of      int           `json:"of"`     // how many the series was to have
	When    DumpWhen      `json:"when"`
	Runtime dump.Runtime  `json:"runtime"`
	Method  string        `json:"method,omitempty"` // as dump.Header has it
	PID     int           `json:"pid,omitempty"`
	TakenAt time.Time     `json:"taken_at"`
	Took    time.Duration `json:"took"`            // in ns
	Size    int64         `json:"size"`            // of the capture, in bytes, its header included
	Stored  int64         `json:"stored"`          // compressed; 0 = it is not kept: see Error
	Error   string        `json:"error,omitempty"` // one sentence
	Notes   []string      `json:"notes,omitempty"` // as dump.Header has them, up to MaxDumpNotes
}

// EvidenceRequest asks for the evidence of a reviewed scenario alone, without a
// task: POST /v1/evidence. A server asks all hosts of a run at once, before the
// first of them is touched.
type EvidenceRequest struct {
	Service     string `json:"service"`
	Environment string `json:"environment,omitempty"`
	Project     string `json:"project,omitempty"`
	Group       string `json:"group,omitempty"`
	Digest      string `json:"digest"`
}

// EvidenceReport answers it: one item for each kind that the scenario wants, in
// its order; none where it wants none. Nothing of it is kept on the host.
type EvidenceReport struct {
	Items   []EvidenceItem `json:"items"`
	Dump    []byte         `json:"dump,omitempty"`   // a capture, compressed (ContentDump)
	Report  *DumpReport    `json:"report,omitempty"` // what Dump is, its N being 1; nil = none was taken
	TakenAt time.Time      `json:"taken_at"`
}
