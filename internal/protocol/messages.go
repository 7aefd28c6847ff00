package protocol

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// Port that an agent listens on (R16).
	Port = 3131
	// MaxBody bounds a request's body.
	MaxBody = 1 << 20
	// MaxWait bounds the wait of a status request.
	MaxWait = 30 * time.Second
	// ProbeTime bounds one look at the health of a service on its host: what
	// has not answered by then is not healthy.
	ProbeTime = 10 * time.Second
	// ProbeWait is how long an asker waits for the answer of a probe: a service
	// that hangs makes the agent's answer late, and is no silent host.
	ProbeWait = ProbeTime + 3*time.Second
	// Head is how much of a task's output is kept from its start, in bytes; what
	// lies between head and tail is counted and dropped.
	Head = 16 << 20
	// Tail is how much is kept from its end.
	Tail = 16 << 20
	// TombstoneLife is how long an agent remembers ids that may never run again.
	TombstoneLife = 90 * 24 * time.Hour
)

// Submission is the body of PUT /v1/tasks/{id}. The epoch travels beside the
// envelope, so that the envelope's bytes never change.
type Submission struct {
	Sealed Sealed `json:"sealed"`
	Epoch  int64  `json:"epoch"`
}

// Cancel is the body of POST /v1/tasks/{id}/cancel: end the whole process tree.
type Cancel struct {
	Run   string `json:"run"`
	Epoch int64  `json:"epoch"`
}

// Forget is the body of DELETE /v1/tasks/{id}. On a task that has not started
// it is a promise that it never will; on one that is done, the agent may drop
// what it kept. A task that is started and not done is not forgotten: 409.
type Forget struct {
	Run   string `json:"run"`
	Epoch int64  `json:"epoch"`
}

// Tombstone answers a DELETE.
type Tombstone struct {
	Task    string        `json:"task"`
	Stage   restart.Stage `json:"stage"`             // stage the task had reached; "" = never seen here
	Outcome Outcome       `json:"outcome,omitempty"` // where it was done
}

// Outcome is how a task ended on its host.
type Outcome string

// The outcomes an agent reports.
const (
	OutcomeSucceeded  Outcome = "succeeded"
	OutcomeFailed     Outcome = "failed"
	OutcomeTimedOut   Outcome = "timed_out"
	OutcomeCancelled  Outcome = "cancelled"
	OutcomeNotStarted Outcome = "not_started" // received, and its envelope was over before it could start
	OutcomeUnknown    Outcome = "unknown"     // started, and nobody saw how it ended
)

// Phase is a part of a task's work on its host.
type Phase string

// The phases, in order.
const (
	PhaseEvidence Phase = "evidence"
	PhaseDrain    Phase = "drain"
	PhaseRun      Phase = "run"
	PhaseHealth   Phase = "health"
	PhaseUndrain  Phase = "undrain"
)

// Phases lists the phases in order.
func Phases() []Phase {
	return []Phase{PhaseEvidence, PhaseDrain, PhaseRun, PhaseHealth, PhaseUndrain}
}

// PhaseReport tells how one phase went.
type PhaseReport struct {
	Phase      Phase      `json:"phase"`
	StartedAt  time.Time  `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	ExitCode   *int       `json:"exit_code,omitempty"` // of its script; 128+N where a signal N ended it
	Error      string     `json:"error,omitempty"`     // one sentence
}

// HealthSample is one look at the health section.
type HealthSample struct {
	At      time.Time `json:"at"`
	Healthy bool      `json:"healthy"`
	Detail  string    `json:"detail"` // one sentence: what held, or what did not
}

// TaskStatus is what an agent says about a task.
type TaskStatus struct {
	Task        string         `json:"task"`
	Run         string         `json:"run"`
	Service     string         `json:"service"`
	Stage       restart.Stage  `json:"stage"`
	Revision    int64          `json:"revision"` // rises with each change; for ?after=
	Phase       Phase          `json:"phase,omitempty"`
	Phases      []PhaseReport  `json:"phases,omitempty"`
	Health      []HealthSample `json:"health,omitempty"` // the newest, at most 50
	Outcome     Outcome        `json:"outcome,omitempty"`
	FailedPhase Phase          `json:"failed_phase,omitempty"`
	ExitCode    *int           `json:"exit_code,omitempty"` // of the run step
	Error       string         `json:"error,omitempty"`
	Drained     bool           `json:"drained,omitempty"` // the drain step ran, the undrain step did not
	Warnings    []string       `json:"warnings,omitempty"`
	OutputSize  int64          `json:"output_size"` // bytes produced so far, dropped ones included
	Evidence    []EvidenceItem `json:"evidence,omitempty"`
	Dumps       []DumpReport   `json:"dumps,omitempty"`       // in the order in which they were taken; at most MaxDumps
	Containment string         `json:"containment,omitempty"` // cgroup | process-group
	ReceivedAt  time.Time      `json:"received_at"`
	StartedAt   *time.Time     `json:"started_at,omitempty"`
	FinishedAt  *time.Time     `json:"finished_at,omitempty"`
	Chain       *ChainHead     `json:"chain,omitempty"` // of the host's own records; nil = it has none
	Asked       *ChainHead     `json:"asked,omitempty"` // of its record of what servers asked; nil = it has none, or is of an earlier version
}

// EvidenceItem is one thing kept from before the restart, or from after it.
type EvidenceItem struct {
	Kind      string   `json:"kind"`           // journal | process | thread-dump: its text says what was taken, the dump itself is in Dumps
	When      DumpWhen `json:"when,omitempty"` // "" = before the change; or after it, to compare
	Text      string   `json:"text,omitempty"`
	Truncated int64    `json:"truncated,omitempty"` // bytes left out
	Error     string   `json:"error,omitempty"`
}

// Output is one line of the NDJSON answer of /output.
type Output struct {
	Offset    int64  `json:"offset"`              // of the first byte of Data, in the whole output
	Data      []byte `json:"data,omitempty"`      // base64 in JSON: a script may print anything
	Truncated int64  `json:"truncated,omitempty"` // instead of Data: so many bytes were dropped here
	EOF       bool   `json:"eof,omitempty"`       // nothing follows, ever
}

// CheckRequest asks what the host says about itself (R33). Empty fields are not checked.
type CheckRequest struct {
	Service     string `json:"service,omitempty"`
	Environment string `json:"environment,omitempty"`
	Group       string `json:"group,omitempty"`
	Tag         string `json:"tag,omitempty"`    // the package must carry it
	Digest      string `json:"digest,omitempty"` // would this scenario be accepted here?
}

// CheckReport answers it. Problems are what would refuse a task now, or soon.
// An agent of an earlier version leaves out what it does not know of.
type CheckReport struct {
	Version      int                `json:"version"`
	Program      string             `json:"program"` // the agent's own version
	Host         string             `json:"host"`
	Clock        time.Time          `json:"clock"`
	BootID       string             `json:"boot_id"`
	Containment  string             `json:"containment"`             // cgroup | process-group, and why
	Memory       string             `json:"memory,omitempty"`        // where scripts run from: sealed | unnamed-file, and why
	User         string             `json:"user,omitempty"`          // whom the agent runs as
	Init         string             `json:"init,omitempty"`          // systemd | other
	Review       string             `json:"review"`                  // files | signed
	Signing      *ReviewReport      `json:"signing,omitempty"`       // where Review is signed: who may sign
	EnvelopeKeys []string           `json:"envelope_keys,omitempty"` // that are good there, by KeyID
	Certificate  *CertificateReport `json:"certificate,omitempty"`   // the agent's own
	Spool        *SpoolReport       `json:"spool,omitempty"`
	Shells       []string           `json:"shells,omitempty"` // of those that scenarios may name
	Groups       []string           `json:"groups,omitempty"`
	Services     []string           `json:"services,omitempty"` // that the host lists in its services.d
	Service      *ServiceReport     `json:"service,omitempty"`
	Scenarios    []AcceptedScenario `json:"scenarios"` // what would be accepted here
	Warnings     []Warning          `json:"warnings,omitempty"`
	Weaker       []string           `json:"weaker,omitempty"` // the warnings' messages, for servers that know no warnings
	Problems     []restart.Error    `json:"problems,omitempty"`
	Chain        *ChainHead         `json:"chain,omitempty"` // of the host's own records; nil = it has none
}

// ReviewReport says by whose signatures a host trusts scenarios.
type ReviewReport struct {
	Quorum  int            `json:"quorum"`  // people, the author not counted
	Revoked int            `json:"revoked"` // versions that were revoked there
	Signers []SignerReport `json:"signers"`
}

// MaxSigners bounds the signers of one report.
const MaxSigners = 500

// SignerReport is one line of a host's allowed_signers.
type SignerReport struct {
	Principals  []string `json:"principals"`
	Fingerprint string   `json:"fingerprint"`
	Not         string   `json:"not,omitempty"` // why the key does not count now
}

// ScenarioSignature is one signature under a scenario.
type ScenarioSignature struct {
	Principal string `json:"principal"`
	Armored   []byte `json:"armored"`
}

// MaxLaidBody bounds a scenario that is laid on a host, in bytes, so that it
// fits a request with its signatures.
const MaxLaidBody = 512 << 10

// SignedScenario is the body of PUT /v1/scenarios/{digest}: a version for a host
// that trusts signatures. The answer is an AcceptedScenario.
type SignedScenario struct {
	Body       []byte              `json:"body"`
	Signatures []ScenarioSignature `json:"signatures"`
}

// CertificateReport is the certificate that the agent shows.
type CertificateReport struct {
	NotAfter time.Time `json:"not_after"`
	Serial   string    `json:"serial"` // hex
	Issuer   string    `json:"issuer"` // the authority's subject, for people
}

// SpoolReport is the file system that the agent's spool lies on, in bytes. Free
// is what the agent's user may still take.
type SpoolReport struct {
	Path      string `json:"path"`
	Free      int64  `json:"free"`
	Total     int64  `json:"total"`
	FreeFiles int64  `json:"free_files"` // inodes; -1 where the file system has no such bound
}

// WarningKind says what a warning is about.
type WarningKind string

// The kinds of warnings, the agent's own and those that a server adds.
const (
	WarnClock       WarningKind = "clock"       // off, and still within what is allowed
	WarnCertificate WarningKind = "certificate" // ends soon
	WarnContainment WarningKind = "containment" // no cgroup for scripts
	WarnMemory      WarningKind = "memory"      // no sealed memory
	WarnUser        WarningKind = "user"        // the agent is not root
	WarnInit        WarningKind = "init"        // no systemd
	WarnReview      WarningKind = "review"      // a way of reviewing that the server does not know
	WarnSpool       WarningKind = "spool"       // nearly full
	WarnScenario    WarningKind = "scenario"    // a file in scenarios.d that is not used, or could not run
	WarnServices    WarningKind = "services"    // none is listed
	WarnKeys        WarningKind = "keys"        // envelope keys that differ from the server's
	WarnVersion     WarningKind = "version"     // not the server's, and close enough
	WarnOther       WarningKind = "other"       // said by an agent that knows no kinds
)

// Warning is something that does not stand in the way, and should be known.
type Warning struct {
	Kind    WarningKind `json:"kind"`
	Message string      `json:"message"`
	Hint    string      `json:"hint,omitempty"` // what to do
}

// ServiceReport is the host's own word about one service.
type ServiceReport struct {
	Name      string `json:"name"`
	Package   string `json:"package,omitempty"`
	Installed string `json:"installed,omitempty"` // version, "" = not installed or no package named
	Unit      string `json:"unit,omitempty"`
	UnitState string `json:"unit_state,omitempty"` // as systemd says: active, failed, …
	Active    string `json:"active,omitempty"`     // id of the task that holds the service now
}

// AcceptedScenario is one reviewed version that this host trusts.
type AcceptedScenario struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Serial int    `json:"serial"`
}

// ProbeRequest asks for the health section of a reviewed scenario alone.
type ProbeRequest struct {
	Service     string `json:"service"`
	Environment string `json:"environment,omitempty"`
	Project     string `json:"project,omitempty"`
	Group       string `json:"group,omitempty"`
	Digest      string `json:"digest"`
}

// ProbeReport answers it. new_process can't be judged without a restart; the
// probe then says only whether there is a process.
type ProbeReport struct {
	Sample HealthSample `json:"sample"`
}

// statuses is the one table from codes to HTTP statuses, for agents and servers.
var statuses = map[restart.Code]int{
	restart.CodeInvalid: http.StatusUnprocessableEntity, restart.CodeReason: http.StatusUnprocessableEntity, restart.CodeParam: http.StatusUnprocessableEntity,
	restart.CodeNotFound: http.StatusNotFound, restart.CodeUnauthorised: http.StatusUnauthorized, restart.CodeForbidden: http.StatusForbidden, restart.CodeSignInAgain: http.StatusForbidden, restart.CodeTooMany: http.StatusTooManyRequests,
	restart.CodeConflict: http.StatusConflict, restart.CodePlanChanged: http.StatusConflict, restart.CodeLocked: http.StatusConflict, restart.CodeFrozen: http.StatusConflict, restart.CodeTicket: http.StatusConflict,
	restart.CodeBusy: http.StatusConflict, restart.CodeStaleEpoch: http.StatusConflict, restart.CodeNotReviewed: http.StatusForbidden,
	restart.CodeUnavailable: http.StatusServiceUnavailable, restart.CodeStopping: http.StatusServiceUnavailable, restart.CodeAuditBacklog: http.StatusServiceUnavailable,
	restart.CodeTooLarge: http.StatusRequestEntityTooLarge, restart.CodeClockSkew: http.StatusForbidden, restart.CodeReplay: http.StatusForbidden,
	restart.CodeBadSignature: http.StatusForbidden, restart.CodeWrongHost: http.StatusForbidden, restart.CodeWrongGroup: http.StatusForbidden,
	restart.CodeUnknownService: http.StatusNotFound, restart.CodeNotInstalled: http.StatusForbidden, restart.CodeDiskFull: http.StatusInsufficientStorage,
	restart.CodeTombstone: http.StatusGone, restart.CodeUnreachable: http.StatusBadGateway, restart.CodeCertificate: http.StatusBadGateway, restart.CodeRevoked: http.StatusBadGateway, restart.CodeUnhealthy: http.StatusConflict,
	restart.CodeInternal: http.StatusInternalServerError,
}

// StatusOf gives the HTTP status of a code; 500 for one that is not listed.
func StatusOf(code restart.Code) int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// WriteError answers with a *restart.Error as JSON. Any other error is shown
// as "internal error"; the caller logs it.
func WriteError(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		e = restart.Errorf(restart.CodeInternal, "internal error")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(StatusOf(e.Code))
	json.NewEncoder(w).Encode(e) //nolint:errcheck // the peer has gone: nobody is left to tell
}
