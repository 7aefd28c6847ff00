package review

import (
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// Part is one piece of a scenario as a host would do it, placeholders filled in.
type Part struct {
	Name string // run_as, drain, run, undrain, health
	Text string
}

// Parts renders a scenario for an example host. What the host itself would say,
// such as the user of the service, may be missing from the facts.
func Parts(s restart.Scenario, f scenario.Facts) ([]Part, error) {
	const stand = "service-user"
	own := s.RunAs == "" && s.User == "" && f.User == ""
	if own {
		f.User = stand
	}
	r, err := scenario.Render(s, f)
	if err != nil {
		return nil, err
	}
	as := r.RunAs
	switch {
	case r.Dump != nil && as == "":
		as = "the agent's own user"
	case own:
		as = "the service's own user, as services.d of the host names it"
	}
	parts := []Part{{"run_as", as}}
	for _, step := range []struct {
		name string
		*restart.Step
	}{{"drain", r.Drain}, {"run", r.Run}, {"undrain", r.Undrain}} {
		if step.Step != nil {
			parts = append(parts, Part{step.name, step.Script})
		}
	}
	if checks := health(r.Health); len(checks) > 0 {
		parts = append(parts, Part{"health", strings.Join(checks, "\n")})
	}
	return parts, nil
}

func health(h restart.Health) []string {
	var out []string
	if p := h.NewProcess; p != nil {
		for _, x := range []struct{ what, value string }{{"unit", p.Unit}, {"pid file", p.PIDFile}, {"port", p.Port}} {
			if x.value != "" {
				out = append(out, fmt.Sprintf("a new process of %s %s", x.what, x.value))
			}
		}
	}
	if p := h.HTTP; p != nil {
		status := p.Status
		if status == 0 {
			status = 200
		}
		line := fmt.Sprintf("GET %s answers %d", p.URL, status)
		if p.Body != "" {
			line += " with " + restart.Quote(p.Body)
		}
		out = append(out, line)
	}
	if p := h.TCP; p != nil {
		out = append(out, "a connection to "+p.Address)
	}
	if p := h.Command; p != nil {
		out = append(out, "this ends with 0: "+p.Script)
	}
	if len(out) > 0 && h.HealthyFor > 0 {
		out = append(out, "without a break for "+restart.Span(h.HealthyFor.Std()))
	}
	return out
}
