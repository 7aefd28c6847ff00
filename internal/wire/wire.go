package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// MaxPage bounds the items of one page of a list.
const MaxPage = 200

// List is one page of anything.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next" doc:"cursor of the following page; empty at the end"`
	// Of lists from the inventory only: when it was read, and whether it is
	// an older answer because the source gives none now.
	FetchedAt *time.Time `json:"fetched_at,omitempty"`
	Stale     bool       `json:"stale,omitempty"`
}

// ListOf makes a page; nil items become an empty list.
func ListOf[T any](items []T, next string) List[T] {
	if items == nil {
		items = []T{}
	}
	return List[T]{Items: items, Next: next}
}

// RunRequest asks for a run. Without Start it is kept as a draft, to be looked
// at and confirmed within 15 minutes.
type RunRequest struct {
	restart.Request
	Start      bool `json:"start,omitempty" doc:"start at once, without the look at the plan"`
	BreakGlass bool `json:"break_glass,omitempty" doc:"with start: start past a freeze; needs a right of its own, and is told to others"`
}

// StartRequest confirms a draft.
type StartRequest struct {
	// Hosts are those to touch: a subset of the plan's, in any order. Empty
	// means those that the plan does not leave out.
	Hosts      []string `json:"hosts,omitempty" doc:"the hosts to touch; empty: all that the plan does not leave out" maxItems:"10000"`
	BreakGlass bool     `json:"break_glass,omitempty" doc:"start past a freeze; needs a right of its own, and is told to others"`
	Seen
}

// Seen says upon which version of a run somebody acts. Where the run has taken
// another turn since (its state, what was asked of it, a decision, a host that
// failed), the request is refused as a conflict that says how it stands now.
type Seen struct {
	Version int64 `json:"version,omitempty" minimum:"0" doc:"version of the run that was looked at; 0 or nothing: whatever it is now"`
}

// VerbRequest asks to pause, resume, abort or force-abort a run.
type VerbRequest struct{ Seen }

// DecideRequest says what became of a host whose task is unknown.
type DecideRequest struct {
	Host    string          `json:"host" doc:"as the run names it"`
	Verdict restart.Verdict `json:"verdict" enum:"happened,did-not,again" doc:"happened: the script ran and the host is well; did-not: it did not; again: run it once more"`
	Reason  string          `json:"reason" doc:"how that was found out"`
	Seen
}

// RetryRequest asks for a run over what another has left undone. Without Start
// it is kept as a draft, like RunRequest.
type RetryRequest struct {
	Reason string `json:"reason"`
	Ticket string `json:"ticket,omitempty"`
	Start  bool   `json:"start,omitempty" doc:"start at once, without the look at the plan"`
	Seen
}

// UndrainRequest asks for a run that does nothing but put hosts back that
// another has left drained. Without Start it is kept as a draft.
type UndrainRequest struct {
	Hosts []string `json:"hosts,omitempty" doc:"those to put back; empty: all that are drained" maxItems:"10000"`
	RetryRequest
}

// TaskDetail is one host of a run with what its agent last said: phases,
// samples of health, evidence and warnings.
type TaskDetail struct {
	Task     restart.Task        `json:"task"`
	Status   protocol.TaskStatus `json:"status"`
	Withheld bool                `json:"evidence_withheld,omitempty" doc:"the text of the evidence is left out: it is for those who may view the service's dumps"`
}

// Scenario is a scenario as people list it.
type Scenario struct {
	Name        string          `json:"name"`
	Serial      int             `json:"serial"`
	Digest      string          `json:"digest"`
	Kind        restart.Kind    `json:"kind"`
	Author      string          `json:"author,omitempty"`
	Services    []string        `json:"services"`
	Description string          `json:"description,omitempty"`
	Params      []restart.Param `json:"params,omitempty"`
	Expires     *time.Time      `json:"expires_at" doc:"the moment from which on it is over; null: it is not"`
	Body        string          `json:"body,omitempty" doc:"the reviewed bytes; of one scenario only"`
}

// Lock is one service held by one run.
type Lock struct {
	Service     string           `json:"service"`
	Environment string           `json:"environment"`
	Group       string           `json:"group,omitempty" doc:"the group that is held; empty: the whole environment"`
	Run         string           `json:"run"`
	Actor       string           `json:"actor" doc:"who asked for the run"`
	State       restart.RunState `json:"state" doc:"of the run: one that is paused keeps what it holds"`
	Since       time.Time        `json:"since"`
	// Outside are the locks that are shared with others.
	Outside []OutsideLock `json:"outside,omitempty" doc:"locks that are shared with others, as the run has them or waits for them"`
}

// OutsideLock is a lock that is shared with others, as a run stands with it.
type OutsideLock struct {
	Name   string    `json:"name" doc:"of the lock, in the configuration"`
	Kind   string    `json:"kind" enum:"zookeeper,fleetlock"`
	Place  string    `json:"place" doc:"where it is"`
	State  string    `json:"state" enum:"waiting,held,lost,bypassed,released,left" doc:"released and left are of an answer to a release: left could not be given back yet, which is tried again"`
	Note   string    `json:"note,omitempty" doc:"who has it meanwhile, or why it is lost or gone without"`
	Server string    `json:"server" doc:"which server says so"`
	Since  time.Time `json:"since"`
}

// What became of a lock that is shared with others, in the answer to a release.
const (
	OutsideReleased = "released"
	OutsideLeft     = "left" // not yet: it is tried again and again
)

// TokenRequest asks for an API token.
type TokenRequest struct {
	Name  string           `json:"name" doc:"what it is for" maxLength:"64"`
	Owner string           `json:"owner,omitempty" doc:"empty: oneself"`
	Roles []restart.Role   `json:"roles,omitempty" doc:"empty: one's own"`
	Scope *restart.Scope   `json:"scope,omitempty" doc:"what it is good for; empty: whatever its roles allow"`
	Life  restart.Duration `json:"life,omitempty" doc:"such as 720h; empty: 90 days"`
}

// Token is a token as it is listed: never its secret.
type Token struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	Owner      string         `json:"owner"`
	Roles      []restart.Role `json:"roles"`
	Scope      *restart.Scope `json:"scope,omitempty" doc:"what it is good for; empty: whatever its roles allow"`
	CreatedAt  time.Time      `json:"created_at"`
	ExpiresAt  *time.Time     `json:"expires_at"`
	LastUsedAt *time.Time     `json:"last_used_at"`
	RevokedAt  *time.Time     `json:"revoked_at"`
}

// NewToken is a token just made, with its secret, which is shown once.
type NewToken struct {
	Token
	Secret string `json:"secret"`
}

// CertificateRequest asks for a host's certificate.
type CertificateRequest struct {
	Host string `json:"host"`
	CSR  string `json:"csr" doc:"PKCS #10 request, PEM; its key never leaves whoever made it" maxLength:"16384"`
}

// HostCredentials is the answer to a host's certificate request.
type HostCredentials struct {
	Certificate string `json:"certificate" doc:"PEM"`
	CA          string `json:"ca" doc:"PEM"`
	Server      string `json:"server" doc:"for agent.yaml's servers"`
	EnvelopeKey string `json:"envelope_key" doc:"PEM, for agent.yaml's envelope_keys"`
}

// AuditList is a page of the audit trail, in the order in which it was stored.
type AuditList = List[audit.Record]
