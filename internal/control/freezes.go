package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// MaxFreeze bounds a freeze by date, so that a slip in the year is seen.
const MaxFreeze = 366 * 24 * time.Hour

// applied is a freeze that applies now.
type applied struct {
	restart.Freeze
	until time.Time // by the clock of its zone
}

// sentence says it of an environment: "production is frozen until …: reason".
func (a applied) sentence(environment string) string {
	what := environment
	switch {
	case len(a.Services) > 0 && environment != "":
		what = strings.Join(a.Services, ", ") + " in " + environment
	case what == "":
		what = a.Where()
	}
	return fmt.Sprintf("%s is frozen until %s: %s", what, readable(a.until), a.Reason)
}

func readable(t time.Time) string { return t.Format("Mon 2006-01-02 15:04 MST") }

// frozen refuses a run: it names the freeze, who may lift it, who may break the
// glass and how. A run that goes on already is not started past it any more:
// what it has left is.
func (c *Control) frozen(ctx context.Context, a applied, run restart.Run) *restart.Error {
	how := "--break-glass"
	if run.State != restart.RunDraft && run.State != restart.RunAwaitingApproval {
		how = fmt.Sprintf("restartilka abort %s, then restartilka retry %s --break-glass --reason TEXT", run.ID, run.ID)
	}
	return restart.Errorf(restart.CodeFrozen, "%s", a.sentence(run.Environment)).
		WithHint("wait until then; or %s lifts it: restartilka freeze remove %s --reason TEXT\nwhere it can't wait: %s, by %s; others are told, and look at it afterwards",
			c.lifts(ctx, a, run), a.ID, how, c.rights().Who(authz.BreakGlass, c.objectOf(ctx, run)))
}

// lifts names who may lift a freeze that stands in a run's way.
func (c *Control) lifts(ctx context.Context, a applied, run restart.Run) string {
	lift := authz.Object{Environment: run.Environment}
	if len(a.Services) > 0 {
		lift.Service = c.objectOf(ctx, run).Service
	}
	return c.rights().Who(authz.Freeze, lift)
}

// freezeOn gives the freeze that keeps a run, by its kind, work, service and
// environment, from starting now: of several the one that ends last. nil where
// there is none.
func (c *Control) freezeOn(ctx context.Context, run restart.Run) (*applied, error) {
	return c.freezeSince(ctx, run, time.Time{})
}

// freezeSince is freezeOn of those freezes that have begun, or were declared
// while they applied already, after some moment.
func (c *Control) freezeSince(ctx context.Context, run restart.Run, since time.Time) (*applied, error) {
	return c.freezeAt(ctx, run, since, c.now())
}

// freezeAt is freezeSince at another time than now.
func (c *Control) freezeAt(ctx context.Context, run restart.Run, since, now time.Time) (*applied, error) {
	if !restart.FreezeBinds(run.Kind, run.Work) {
		return nil, nil
	}
	list, err := c.cfg.Store.Freezes(ctx, now)
	if err != nil {
		return nil, err
	}
	var found *applied
	for _, f := range list {
		if !f.Names(run.Service, run.Environment) {
			continue
		}
		window, there, err := windowOf(f, now)
		if err != nil {
			return nil, err
		}
		late := window.From.After(since) || f.CreatedAt.After(since)
		if there && late && window.Holds(now) && (found == nil || window.To.After(found.until)) {
			found = &applied{f, window.To}
		}
	}
	return found, nil
}

// windowOf gives the window of a freeze at now or the next, by the clock of its
// zone.
func windowOf(f restart.Freeze, now time.Time) (restart.Window, bool, error) {
	zone, err := time.LoadLocation(f.Zone)
	if err != nil {
		return restart.Window{}, false, fmt.Errorf("the time zone of freeze %s: %w", f.ID, err)
	}
	w, there, err := f.Window(now, zone)
	return restart.Window{From: w.From.In(zone), To: w.To.In(zone)}, there, err
}

// mayPassFreeze refuses to go on with a run while a freeze stands in its way
// (CodeFrozen). One that its broken glass waives is passed only by who has that
// right still (otherwise CodeForbidden).
func (c *Control) mayPassFreeze(ctx context.Context, actor restart.Actor, run restart.Run) error {
	inWay, err := c.freezeInWay(ctx, run)
	if err != nil {
		return err
	}
	if inWay != nil {
		return c.frozen(ctx, *inWay, run)
	}
	if waived, err := c.freezeOn(ctx, run); err != nil || waived == nil {
		return err
	}
	return c.rights().Require(actor, authz.BreakGlass, c.objectOf(ctx, run))
}

// freezeInWay gives the freeze that applies to a run now and that its broken
// glass does not waive; nil where there is none. Who broke the glass saw the
// freezes of then: one that begins afterwards is not his to pass.
func (c *Control) freezeInWay(ctx context.Context, run restart.Run) (*applied, error) {
	if !run.Waives(restart.SafeguardFreeze) {
		return c.freezeOn(ctx, run)
	}
	glass, err := c.cfg.Store.Glass(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	return c.freezeSince(ctx, run, glass.At)
}

// FreezeOn gives the freeze that stands in a run's way now; nil where none does.
func (c *Control) FreezeOn(ctx context.Context, actor restart.Actor, run restart.Run) (*wire.Freeze, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	inWay, err := c.freezeInWay(ctx, run)
	if err != nil || inWay == nil {
		return nil, err
	}
	return &wire.Freeze{Freeze: inWay.Freeze, Applies: true, Ends: inWay.until}, nil
}

// Freezes lists the freezes that stand: those that apply now first, then by
// when they begin.
func (c *Control) Freezes(ctx context.Context, actor restart.Actor) ([]wire.Freeze, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	now := c.now()
	list, err := c.cfg.Store.Freezes(ctx, now)
	if err != nil {
		return nil, err
	}
	out := []wire.Freeze{}
	for _, f := range list {
		if w, there, err := windowOf(f, now); err != nil {
			return nil, err
		} else if there {
			out = append(out, wire.Freeze{Freeze: f, Applies: w.Holds(now), Begins: w.From, Ends: w.To})
		}
	}
	slices.SortStableFunc(out, func(a, b wire.Freeze) int { return a.Begins.Compare(b.Begins) }) // what applies has begun
	return out, nil
}

// AddFreeze makes a freeze, at once in force where it has begun.
func (c *Control) AddFreeze(ctx context.Context, actor restart.Actor, req wire.FreezeRequest) (wire.Freeze, error) {
	rec := c.record(actor, audit.FreezeAdded)
	rec.Reason, rec.Environment = clip(req.Reason), clip(strings.Join(req.Environments, " "))
	err := c.requireNow(actor, authz.Freeze)
	var f restart.Freeze
	if err == nil {
		f, err = c.freeze(ctx, actor, req)
	}
	if err == nil {
		err = c.mayFreeze(ctx, actor, f)
	}
	if err == nil {
		err = c.another(ctx, f)
	}
	if err != nil {
		return wire.Freeze{}, c.refused(ctx, rec, err)
	}
	window, _, err := windowOf(f, f.CreatedAt)
	if err != nil {
		return wire.Freeze{}, err
	}
	rec.Reason, rec.Detail = f.Reason, clip(f.ID+" on "+f.Where()+", "+whenOf(f, window))
	if err := c.cfg.Store.AddFreeze(ctx, f, rec); err != nil {
		return wire.Freeze{}, err
	}
	c.cfg.Committed()
	return wire.Freeze{Freeze: f, Applies: window.Holds(f.CreatedAt), Begins: window.From, Ends: window.To}, nil
}

// another refuses a freeze that stands already, for the same places, times and
// reason (CodeConflict): it is a slip, and lifting one of two would lift nothing.
func (c *Control) another(ctx context.Context, f restart.Freeze) error {
	list, err := c.cfg.Store.Freezes(ctx, f.CreatedAt)
	if err != nil {
		return err
	}
	for _, g := range list {
		if g.Reason == f.Reason && sameNames(g.Environments, f.Environments) && sameNames(g.Services, f.Services) && sameTimes(g, f) {
			return restart.Errorf(restart.CodeConflict, "the same freeze stands already: %s, by %s", g.ID, g.CreatedBy).
				WithHint("look at it: restartilka freeze list")
		}
	}
	return nil
}

func sameNames(a, b []string) bool {
	return maps.Equal(setOf(a), setOf(b))
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// sameTimes tells whether a new freeze keeps runs from starting when one that
// stands does: of what has begun, only the end counts.
func sameTimes(stands, f restart.Freeze) bool {
	switch {
	case stands.Weekly != "" || f.Weekly != "":
		return stands.Weekly == f.Weekly && stands.Zone == f.Zone
	case stands.From == nil || f.From == nil || stands.To == nil || f.To == nil || !stands.To.Equal(*f.To):
		return false
	}
	return stands.From.Equal(*f.From) || !stands.From.After(f.CreatedAt) && !f.From.After(f.CreatedAt)
}

// whenOf says when a freeze applies.
func whenOf(f restart.Freeze, w restart.Window) string {
	if f.Weekly != "" {
		return "weekly " + f.Weekly + " " + f.Zone
	}
	return readable(w.From) + " to " + readable(w.To)
}

// freeze checks a request, against the inventory too.
func (c *Control) freeze(ctx context.Context, actor restart.Actor, req wire.FreezeRequest) (restart.Freeze, error) {
	now := c.now()
	f := restart.Freeze{ID: restart.NewID(now), Zone: req.Zone, CreatedBy: actor.Name, CreatedAt: now}
	var err error
	if f.Reason, err = restart.CheckReason(req.Reason); err != nil {
		return f, err
	}
	if err := c.checkPlaces(ctx, req, &f); err != nil {
		return f, err
	}
	if f.Zone == "" {
		f.Zone = c.cfg.Zone
	}
	zone, err := time.LoadLocation(f.Zone)
	if err != nil || f.Zone == "Local" {
		return f, restart.InField(restart.Errorf(restart.CodeInvalid, "there is no time zone %s", restart.Quote(req.Zone)).WithHint("an IANA name, such as Europe/Berlin or UTC"), "zone")
	}
	if req.Weekly != "" {
		if req.From != "" || req.To != "" {
			return f, restart.Errorf(restart.CodeInvalid, "a freeze is either by date or weekly").WithHint("give from and to, or weekly; two freezes may stand side by side")
		}
		weekly, err := restart.ParseWeekly(req.Weekly)
		f.Weekly = weekly.String()
		return f, restart.InField(err, "weekly")
	}
	return f, dates(&f, req, now, zone)
}

// checkPlaces takes over environments and services, which the inventory knows.
func (c *Control) checkPlaces(ctx context.Context, req wire.FreezeRequest, f *restart.Freeze) error {
	if len(req.Environments) == 0 {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "no environment is named").WithHint("name some, or %s for every one", restart.EveryEnvironment), "environments")
	}
	snapshot, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	var environments, services []string
	for _, g := range snapshot.Groups {
		environments = append(environments, g.Environment)
	}
	for _, s := range snapshot.Services {
		services = append(services, s.Name)
	}
	if slices.Contains(req.Environments, restart.EveryEnvironment) {
		if len(req.Environments) > 1 {
			return restart.InField(restart.Errorf(restart.CodeInvalid, "%s names every environment: it stands alone", restart.EveryEnvironment), "environments")
		}
		f.Environments = req.Environments
	} else if f.Environments, err = known("environment", req.Environments, environments); err != nil {
		return err
	}
	f.Services, err = known("service", req.Services, services)
	return err
}

// known gives the names without repetition, each of which must be among all.
func known(what string, names, all []string) ([]string, error) {
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	slices.Sort(all)
	all = slices.Compact(all)
	var out []string
	for _, name := range names {
		if !slices.Contains(all, name) {
			e := restart.Errorf(restart.CodeInvalid, "the inventory has no %s %s", what, restart.Quote(name))
			if near := restart.Similar(name, all); len(near) > 0 {
				return nil, restart.InField(e.WithHint("did you mean %s?", strings.Join(near, " or ")), what+"s")
			}
			return nil, restart.InField(e.WithHint("it has: %s", orNone(all[:min(len(all), 20)])), what+"s")
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// dates reads the ends of a freeze by date.
func dates(f *restart.Freeze, req wire.FreezeRequest, now time.Time, zone *time.Location) error {
	if req.To == "" {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "it is not said when the freeze ends").WithHint("give to, or weekly"), "to")
	}
	to, err := instant(req.To, zone, restart.LastReading)
	if err != nil {
		return restart.InField(err, "to")
	}
	from := now
	if req.From != "" {
		if from, err = instant(req.From, zone, restart.FirstReading); err != nil {
			return restart.InField(err, "from")
		}
		if from.Before(now.Add(-time.Minute)) { // what is typed as now is not past
			return restart.InField(restart.Errorf(restart.CodeInvalid, "from is past: %s", readable(from.In(zone))).WithHint("leave it out to begin now"), "from")
		}
	}
	switch {
	case !now.Before(to):
		return restart.InField(restart.Errorf(restart.CodeInvalid, "to is past: %s", readable(to.In(zone))), "to")
	case !from.Before(to):
		return restart.InField(restart.Errorf(restart.CodeInvalid, "to (%s) does not come after from (%s)", readable(to.In(zone)), readable(from.In(zone))), "to")
	case to.Sub(now) > 2*MaxFreeze || to.Sub(from) > MaxFreeze:
		return restart.InField(restart.Errorf(restart.CodeInvalid, "a freeze of more than %d days, or that far ahead, is taken for a slip", int(MaxFreeze.Hours()/24)).WithHint("is the year right?"), "to")
	}
	from, to = from.UTC(), to.UTC()
	f.From, f.To = &from, &to
	return nil
}

// instant reads RFC 3339, or a date and a time by the clock of the zone, which
// reading makes an instant of: the clock may skip or repeat it.
func instant(text string, zone *time.Location, reading func(time.Time, *time.Location) time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return reading(t, zone), nil
		}
	}
	return time.Time{}, restart.Errorf(restart.CodeInvalid, "%s is not a date with a time", restart.Quote(text)).WithHint("such as 2026-12-24T00:00, by the clock of the zone, or 2026-12-24T00:00:00+01:00")
}

// RemoveFreeze lifts a freeze. Runs that it has paused stay so until somebody
// resumes them.
func (c *Control) RemoveFreeze(ctx context.Context, actor restart.Actor, id, reason string) error {
	rec := c.record(actor, audit.FreezeRemoved)
	rec.Reason, rec.Detail = clip(reason), clip(id)
	err := c.requireNow(actor, authz.Freeze)
	if err == nil {
		rec.Reason, err = restart.CheckReason(reason)
	}
	if err == nil {
		err = restart.CheckID(id)
	}
	if err == nil {
		err = c.mayLift(ctx, actor, id)
	}
	if err == nil {
		err = c.cfg.Store.RemoveFreeze(ctx, id, c.now(), rec)
	}
	if err != nil {
		rec.Reason = clip(reason)
		return c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return nil
}

// MayFreeze tells whether somebody may freeze anything at all, and MayLift
// whether he may lift a freeze. Pages ask, to show nobody what would be refused.
func (c *Control) MayFreeze(actor restart.Actor) bool {
	return c.rights().Decide(actor, authz.Freeze, authz.Wherever()).Allowed
}

// MayLift tells whether somebody may lift a freeze: who may make it may.
func (c *Control) MayLift(ctx context.Context, actor restart.Actor, f restart.Freeze) bool {
	return c.mayFreeze(ctx, actor, f) == nil
}

// FreezePlaces gives the environments that can be frozen, and the time zone in
// which times are meant where none is named.
func (c *Control) FreezePlaces(ctx context.Context, actor restart.Actor) (environments []string, zone string, err error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, "", err
	}
	now, err := c.cfg.Inventory.Snapshot(ctx)
	return environmentsOf(now), c.cfg.Zone, err
}
