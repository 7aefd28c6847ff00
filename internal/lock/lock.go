package lock

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Claim is who takes a lock: a run, and which walk of it.
type Claim struct {
	Run                         string
	Epoch                       int64 // of the run; a higher one is a later server's
	Service, Environment, Group string
	Project                     string
	Actor                       string
	Server                      string // that walks the run
	Since                       time.Time
	At                          string // the Place where it was taken, if that is not where the settings say now; "" = it is
}

// Lock is one lock of the configuration: for each service, environment or
// whatever its settings make of a claim, there is one place. All of it is safe
// for concurrent use, and returns soon after ctx ends.
//
// Errors are *restart.Error: CodeLocked, whose sentence begins with who has it;
// CodeStaleEpoch, a later server has it for this run; anything else, such as
// CodeUnavailable, is that nobody can say.
type Lock interface {
	// Place is where the lock for a claim is, for people.
	Place(c Claim) string
	// Take takes the lock, or a place in its queue (CodeLocked) where it has one. A
	// lock that the claim has already is kept.
	Take(ctx context.Context, c Claim) error
	// Held tells whether what Take took is still the claim's.
	Held(ctx context.Context, c Claim) error
	// Stands is Held by whichever server took it for the run.
	Stands(ctx context.Context, c Claim) error
	// Release gives back what the run has, whichever server took it; one that has
	// nothing has given it back.
	Release(ctx context.Context, c Claim) error
	// Check tells whether the keeper of the lock answers.
	Check(ctx context.Context) error
	// Close ends everything that is under way.
	Close()
}

func claimOf(run restart.Run, server string, now time.Time) Claim {
	return Claim{
		Run: run.ID, Epoch: run.Epoch, Service: run.Service, Environment: run.Environment, Group: run.Group, Project: run.Project,
		Actor: run.Actor, Server: server, Since: now,
	}
}
