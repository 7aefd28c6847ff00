package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// ScenarioProposal pushes a version, with the signatures that it has already.
type ScenarioProposal struct {
	Body       string             `json:"body" doc:"the file, byte for byte; at most 1 MiB"`
	Signatures []SignatureRequest `json:"signatures,omitempty" doc:"of NAME.yaml.sigs"`
}

// SignatureRequest is one reviewer's signature.
type SignatureRequest struct {
	Principal string `json:"principal" doc:"as the allowed signers name who has signed" maxLength:"128"`
	Armored   string `json:"armored" doc:"as ssh-keygen -Y sign -n restartilka-scenario makes it" maxLength:"16384"`
}

// WithdrawRequest ends a version.
type WithdrawRequest struct {
	Reason string `json:"reason" doc:"why; 10 to 500 characters"`
}

// ScenarioVersion is one version of a scenario with its review.
type ScenarioVersion struct {
	Name        string                `json:"name"`
	Serial      int                   `json:"serial"`
	Digest      string                `json:"digest"`
	Author      string                `json:"author,omitempty" doc:"as the file says"`
	Source      restart.VersionSource `json:"source" doc:"folder or push"`
	ProposedBy  string                `json:"proposed_by,omitempty" doc:"empty: it lay in the folder"`
	ProposedAt  time.Time             `json:"proposed_at"`
	State       restart.VersionState  `json:"state" doc:"how far its review has come: proposed, approved, withdrawn"`
	Standing    string                `json:"standing" doc:"what it is good for now: in_force, waiting, superseded, expired, lost, revoked, withdrawn"`
	Why         string                `json:"why,omitempty"`
	ApprovedAt  *time.Time            `json:"approved_at"`
	Expires     *time.Time            `json:"expires_at" doc:"the moment from which on it is over; null: it is not"`
	WithdrawnBy string                `json:"withdrawn_by,omitempty"`
	WithdrawnAt *time.Time            `json:"withdrawn_at"`
	Reason      string                `json:"reason,omitempty" doc:"of the withdrawal"`
	Quorum      int                   `json:"quorum" doc:"how many people must sign; 0: what lies in the folder is in force"`
	Good        int                   `json:"good" doc:"how many signatures count now"`
	Signatures  []ScenarioSignature   `json:"signatures" nullable:"false"`
	Missing     []string              `json:"missing,omitempty" doc:"who could sign it still, of one version and where it waits only"`
	Mine        bool                  `json:"mine" doc:"it waits for a signature of the one who asks"`
	Body        string                `json:"body,omitempty" doc:"of one version only"`
}

// ScenarioSignature is one signature under a version.
type ScenarioSignature struct {
	Principal   string    `json:"principal"`
	Fingerprint string    `json:"fingerprint"`
	Counts      bool      `json:"counts"`
	Why         string    `json:"why,omitempty" doc:"it does not count"`
	AddedBy     string    `json:"added_by,omitempty" doc:"empty: it lay in the folder"`
	AddedAt     time.Time `json:"added_at"`
	Armored     string    `json:"armored,omitempty" doc:"of one version only"`
}

// ScenarioReview is what a reviewer needs to read a version.
type ScenarioReview struct {
	Version ScenarioVersion  `json:"version"`
	InForce *ScenarioVersion `json:"in_force" doc:"of the same name; null: none is"`
	Example ScenarioExample  `json:"example"`
}

// ScenarioExample is a host for which a scenario can be rendered, as the
// inventory knows it. What a host says of itself may differ.
type ScenarioExample struct {
	Service     string   `json:"service,omitempty" doc:"empty: the inventory has none that the scenario fits"`
	Host        string   `json:"host,omitempty"`
	Group       string   `json:"group,omitempty"`
	Environment string   `json:"environment,omitempty"`
	Project     string   `json:"project,omitempty"`
	Package     string   `json:"package,omitempty"`
	Unit        string   `json:"unit,omitempty"`
	User        string   `json:"user,omitempty"`
	Services    []string `json:"services" nullable:"false" doc:"others to choose from; at most 200"`
	Hosts       []string `json:"hosts" nullable:"false" doc:"of the service; at most 200"`
}

// ScenarioCoverage is a version in force, and how it would stand without a key.
type ScenarioCoverage struct {
	Name   string `json:"name"`
	Serial int    `json:"serial"`
	Digest string `json:"digest"`
	Quorum int    `json:"quorum"`
	Good   int    `json:"good" doc:"signatures that count now"`
	Left   int    `json:"left" doc:"that would count without the key"`
	Loses  bool   `json:"loses" doc:"it would be in force no more"`
}

// ScenarioProblem is a file of the folder that is not used, and why.
type ScenarioProblem struct {
	File string `json:"file"`
	Why  string `json:"why"`
}
