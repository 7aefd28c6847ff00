package restart

import (
	"slices"
	"time"
)

// VersionState is how far the review of a scenario version has come. Whether an
// approved version may be used today is another question: its reviewers' keys
// may have been revoked since, or its time be over.
type VersionState string

// The states of a version. None leads back.
const (
	VersionProposed  VersionState = "proposed"
	VersionApproved  VersionState = "approved" // it has had its quorum of signatures
	VersionWithdrawn VersionState = "withdrawn"
)

// VersionStates lists the states there are.
func VersionStates() []VersionState {
	return []VersionState{VersionProposed, VersionApproved, VersionWithdrawn}
}

// versionSteps is the table of what may follow what.
var versionSteps = map[VersionState][]VersionState{
	VersionProposed: {VersionApproved, VersionWithdrawn},
	VersionApproved: {VersionWithdrawn},
}

// Transition tells whether a version may go on to another state: nil, or
// CodeConflict.
func (s VersionState) Transition(to VersionState) error {
	if slices.Contains(versionSteps[s], to) {
		return nil
	}
	return Errorf(CodeConflict, "a version that is %s does not become %s", s, to)
}

// VersionSource is where the server has a version from.
type VersionSource string

// The sources of versions.
const (
	SourceFolder VersionSource = "folder"
	SourcePush   VersionSource = "push"
)

// ScenarioVersion is one version of a scenario with what became of it. Its
// identity is the SHA-256 of its bytes, which never change.
type ScenarioVersion struct {
	Digest      string
	Name        string
	Serial      int
	Author      string // as the file says
	Source      VersionSource
	ProposedBy  string // "" = it lay in the folder
	ProposedAt  time.Time
	State       VersionState
	ApprovedAt  time.Time // when it first had its quorum; zero = never
	WithdrawnBy string
	WithdrawnAt time.Time
	Reason      string // of the withdrawal
	Body        []byte
	Signatures  []ScenarioSignature // by principal
}

// ScenarioSignature is what one reviewer has signed a version with.
type ScenarioSignature struct {
	Principal   string
	Fingerprint string // of the key
	Armored     []byte
	AddedBy     string // who sent it; "" = it lay in the folder
	AddedAt     time.Time
}
