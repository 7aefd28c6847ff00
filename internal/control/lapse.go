package control

import (
	"context"
	"slices"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// warnOfLapse gives the warnings of a plan that is to be kept for later, with one
// more where the person will not have the right any more at its time, unless he
// signs in again: it comes from groups that nobody can be asked for.
func (c *Control) warnOfLapse(ctx context.Context, actor restart.Actor, run restart.Run, s restart.Schedule) ([]string, error) {
	warnings := run.Plan.Warnings
	person, err := c.cfg.People.Person(ctx, actor.Name)
	if err != nil || person.TeamsEnd.IsZero() || s.At.Before(person.TeamsEnd) || c.mayWith(ctx, person, nil, run) {
		return warnings, err
	}
	warning := restart.Errorf(restart.CodeSignInAgain, "your right to this comes from groups that are known until %s, 12 hours after your sign-in: sign in again after that and before it starts, or it will not", readable(inZone(person.TeamsEnd, s.Zone)))
	return append(slices.Clone(warnings), warning.Message), nil
}

// orLapsed gives the reason why a planned run may not start, where that is over
// with the next sign-in of who planned it.
func (c *Control) orLapsed(ctx context.Context, person restart.Actor, s restart.Schedule, err error) error {
	if restart.CodeOf(err) != restart.CodeForbidden || len(person.Former) == 0 || !c.mayWith(ctx, person, person.Former, runOf(s)) {
		return err
	}
	return restart.Errorf(restart.CodeSignInAgain, "the right to this comes from groups of %s that count for 12 hours after a sign-in", person.Name).WithHint("%s signs in again", person.Name)
}

// mayWith tells whether a person of those teams, instead of those he has, may
// start a run.
func (c *Control) mayWith(ctx context.Context, person restart.Actor, teams []string, run restart.Run) bool {
	had := c.rights().Roles(person.Name, person.Teams)
	of := restart.Actor{Name: person.Name, Teams: teams, Roles: c.rights().Roles(person.Name, teams)}
	for _, role := range person.Roles { // those that an admin gave
		if !slices.Contains(had, role) {
			of.Roles = append(of.Roles, role)
		}
	}
	return c.mayControl(ctx, of, run, authz.ActionFor(run.Kind)) == nil
}
