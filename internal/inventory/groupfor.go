package inventory

import (
	"context"
	"fmt"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// GroupFor finds the one group of a service in an environment, so that nobody
// types a group. The environment may be "" where the service has exactly one,
// and the project may be "" where that leaves one group. A group without a
// project belongs to the service's own.
//
// Errors are *restart.Error: CodeNotFound when no group fits, CodeInvalid when
// several do; the hint lists the candidates.
func (i *Inventory) GroupFor(ctx context.Context, service, environment, project string) (restart.Group, error) {
	v, err := i.view(ctx)
	if err != nil {
		return restart.Group{}, err
	}
	return v.groupFor(service, environment, project)
}

// Environments lists the environments in which a service has groups, in the
// inventory's order; nothing for a service without any, or an unknown one, or
// when the inventory can't be read.
func (i *Inventory) Environments(ctx context.Context, service string) []string {
	v, err := i.view(ctx)
	if err != nil {
		return nil
	}
	return environments(v.groupsOf(service))
}

func (v *view) groupFor(service, environment, project string) (restart.Group, error) {
	s, err := v.service(service)
	if err != nil {
		return restart.Group{}, err
	}
	all := v.groupsOf(service)
	if len(all) == 0 {
		return restart.Group{}, restart.Errorf(restart.CodeNotFound, "service %s has no group in the inventory", service).
			WithHint("the inventory must say which group holds its hosts")
	}
	fits := all
	if project != "" {
		fits = filter(fits, func(g restart.Group) bool { return projectOf(g, s) == project })
	}
	if environment != "" {
		fits = filter(fits, func(g restart.Group) bool { return g.Environment == environment })
	}
	switch {
	case len(fits) == 1:
		return fits[0], nil
	case len(fits) == 0:
		return restart.Group{}, restart.Errorf(restart.CodeNotFound, "service %s has no group%s", service, wanted(environment, project)).
			WithHint("its groups are: %s", describe(all, s))
	case len(environments(fits)) > 1:
		return restart.Group{}, restart.Errorf(restart.CodeInvalid, "service %s is in several environments%s: say which", service, wanted("", project)).
			WithHint("its groups are: %s", describe(fits, s))
	}
	return restart.Group{}, restart.Errorf(restart.CodeInvalid, "service %s has several groups%s: say the project or the group", service, wanted(environment, project)).
		WithHint("they are: %s", describe(fits, s))
}

func (v *view) groupsOf(service string) []restart.Group {
	return filter(v.Groups, func(g restart.Group) bool { return slices.Contains(g.Services, service) })
}

func projectOf(g restart.Group, s restart.Service) string {
	if g.Project != "" {
		return g.Project
	}
	return s.Project
}

func environments(groups []restart.Group) []string {
	var out []string
	for _, g := range groups {
		if g.Environment != "" && !slices.Contains(out, g.Environment) {
			out = append(out, g.Environment)
		}
	}
	return out
}

func wanted(environment, project string) string {
	var s string
	if environment != "" {
		s += " in environment " + restart.Quote(environment)
	}
	if project != "" {
		s += " of project " + restart.Quote(project)
	}
	return s
}

// describe lists groups with what tells them apart.
func describe(groups []restart.Group, s restart.Service) string {
	var out []string
	for _, g := range groups {
		environment, project := g.Environment, projectOf(g, s)
		if environment == "" {
			environment = "no environment"
		}
		if project == "" {
			project = "no project"
		}
		out = append(out, fmt.Sprintf("%s (%s, %s)", g.Name, environment, project))
	}
	return list(out, 10)
}

func filter[T any](all []T, keep func(T) bool) []T {
	var out []T
	for _, x := range all {
		if keep(x) {
			out = append(out, x)
		}
	}
	return out
}
