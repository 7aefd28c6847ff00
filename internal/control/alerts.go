package control

import (
	"context"
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// Alerts knows which alerts of monitoring stand in a run's way.
type Alerts interface {
	// Fire gives why a run that changes something must not touch its next host now,
	// and what could not be found out and is let pass; each nil where there is none.
	Fire(ctx context.Context, run restart.Run) (inWay, unsure *restart.Error)
}

// alertsFire asks Alerts about a run. What no freeze would bind, no alert does
// either; who broke the glass goes past them.
func (c *Control) alertsFire(ctx context.Context, run restart.Run) (inWay, unsure *restart.Error) {
	if c.cfg.Alerts == nil || !restart.FreezeBinds(run.Kind, run.Work) || run.Waives(restart.SafeguardMonitoring) {
		return nil, nil
	}
	return c.cfg.Alerts.Fire(ctx, run)
}

// mayPassAlerts refuses to go on with a run while alerts stand in its way.
func (c *Control) mayPassAlerts(ctx context.Context, run restart.Run) error {
	inWay, _ := c.alertsFire(ctx, run)
	if inWay == nil {
		return nil
	}
	return restart.Errorf(restart.CodeConflict, "%s", inWay.Message).
		WithHint("wait until it is over; where it can't wait: restartilka abort %s, then restartilka retry %s --break-glass --reason TEXT", run.ID, run.ID)
}

// warnOfAlerts says of a plan what fires now.
func (c *Control) warnOfAlerts(ctx context.Context, p *restart.Plan) {
	run := restart.Run{Kind: p.Kind, Work: p.Work, Service: p.Service.Name, Environment: p.Environment, Group: p.Group, Project: p.Project}
	inWay, unsure := c.alertsFire(ctx, run)
	switch {
	case inWay != nil:
		p.Warnings = append(p.Warnings, inWay.Message)
	case unsure != nil:
		p.Warnings = append(p.Warnings, unsure.Message)
	}
}

// waivedAlerts says for people what of monitoring a run that breaks the glass
// goes past; "" where nothing is in its way.
func (c *Control) waivedAlerts(ctx context.Context, run restart.Run) string {
	if !run.Waives(restart.SafeguardMonitoring) {
		return ""
	}
	run.BreakGlass = false
	if inWay, _ := c.alertsFire(ctx, run); inWay != nil {
		return inWay.Message
	}
	return ""
}

// silence names in a plan the alerts that are silent while its hosts are worked
// on, and warns of those that can't be.
func silence(p *restart.Plan, s restart.Scenario) {
	names, left := scenario.Alerts(s, scenario.Facts{
		Service: p.Service.Name, Package: p.Service.Package, Unit: p.Service.Unit, Group: p.Group, Environment: p.Environment, Project: p.Project,
	})
	p.Silence = names
	if len(left) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("alerts that can't be silenced, because what they are named after is not known: %s", strings.Join(left, ", ")))
	}
}
