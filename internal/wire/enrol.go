package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// JoinTokenRequest asks for a join token: for one host's name, which is good
// for one use within 15 minutes, or for a pattern.
type JoinTokenRequest struct {
	Host    string           `json:"host,omitempty" doc:"the one host that may join"`
	Pattern string           `json:"pattern,omitempty" doc:"or a glob over host names, such as web*.example.com"`
	Count   int              `json:"count,omitempty" doc:"with a pattern: how many hosts may join, 1 to 10000"`
	Window  restart.Duration `json:"window,omitempty" doc:"with a pattern: how long, 1m to 168h"`
}

// The states of a JoinToken.
const (
	JoinTokenGood    = "good"
	JoinTokenSpent   = "spent"
	JoinTokenOver    = "over"
	JoinTokenRevoked = "revoked"
)

// JoinToken is a join token as it is listed: never its secret.
type JoinToken struct {
	ID        string     `json:"id"`
	State     string     `json:"state" enum:"good,spent,over,revoked"`
	Host      string     `json:"host,omitempty"`
	Pattern   string     `json:"pattern,omitempty"`
	Count     int        `json:"count" doc:"how many hosts may join with it"`
	Left      int        `json:"left" doc:"how many still may"`
	CreatedBy string     `json:"created_by"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	UsedAt    *time.Time `json:"used_at"`
	RevokedAt *time.Time `json:"revoked_at"`
}

// NewJoinToken is a token just made, with its text, which is shown once.
type NewJoinToken struct {
	JoinToken
	Token string `json:"token"`
}

// The states of a Certificate.
const (
	CertificateGood    = "good"
	CertificatePending = "pending" // a renewal that the host has not confirmed
	CertificateOver    = "over"
	CertificateRevoked = "revoked"
)

// Certificate is an issued certificate as it is listed.
type Certificate struct {
	Serial         string     `json:"serial" doc:"hex"`
	Host           string     `json:"host"`
	State          string     `json:"state" enum:"good,pending,over,revoked" doc:"pending: a renewal that the host has not confirmed yet"`
	IssuedAt       time.Time  `json:"issued_at"`
	NotAfter       time.Time  `json:"not_after"`
	RevokedAt      *time.Time `json:"revoked_at"`
	Revocation     string     `json:"revocation,omitempty" doc:"why it was revoked"`
	RenewalFailure string     `json:"renewal_failure,omitempty" doc:"why the last try to renew failed"`
}

// RevocationRequest ends certificates before their time.
type RevocationRequest struct {
	Host   string `json:"host,omitempty" doc:"all certificates of this host"`
	Serial string `json:"serial,omitempty" doc:"or the one with this serial number, hex"`
	Reason string `json:"reason"`
}
