package notify

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// DigestSettings is when the week's digest is sent.
type DigestSettings struct {
	Weekday string `yaml:"weekday"` // "" = monday
	At      string `yaml:"at"`      // HH:MM; "" = 09:00
}

// digestTime is a time of the week in a zone.
type digestTime struct {
	day          time.Weekday
	hour, minute int
	zone         *time.Location
}

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

func (s Settings) digestTime() (digestTime, error) {
	zone, err := s.zone()
	if err != nil {
		return digestTime{}, err
	}
	out := digestTime{day: time.Monday, hour: 9, zone: zone}
	if w := s.Digest.Weekday; w != "" {
		i := slices.Index(weekdays, strings.ToLower(w))
		if i < 0 {
			return out, restart.Errorf(restart.CodeInvalid, "notify.digest.weekday: %s is no day of the week", restart.Quote(w)).WithHint("such as monday")
		}
		out.day = time.Weekday(i)
	}
	if at := s.Digest.At; at != "" {
		t, err := time.Parse("15:04", at)
		if err != nil {
			return out, restart.Errorf(restart.CodeInvalid, "notify.digest.at: %s is no time of day", restart.Quote(at)).WithHint("such as 09:00")
		}
		out.hour, out.minute = t.Hour(), t.Minute()
	}
	return out, nil
}

// last is when a digest was due last, now or before.
func (d digestTime) last(now time.Time) time.Time {
	n := now.In(d.zone)
	back := int(n.Weekday()-d.day+7) % 7
	due := time.Date(n.Year(), n.Month(), n.Day()-back, d.hour, d.minute, 0, 0, d.zone)
	if due.After(now) {
		due = time.Date(n.Year(), n.Month(), n.Day()-back-7, d.hour, d.minute, 0, 0, d.zone)
	}
	return due
}

// Weeks is the part of the store that digests are made from and kept in.
type Weeks interface {
	// EndedRuns lists the runs that had begun and ended from since on and before
	// until, the oldest first.
	EndedRuns(ctx context.Context, since, until time.Time) ([]store.EndedRun, error)
	DigestMade(ctx context.Context, channel, week string) (bool, error)
	KeepDigest(ctx context.Context, channel, week string, at time.Time, m []store.Message) (first bool, err error)
}

// DigestConfig of a Digester. All but Logger, Now and Wake are needed.
type DigestConfig struct {
	Weeks     Weeks
	Receivers Receivers
	// Owners gives those of a service; none where it is not known any more. An
	// error puts the digest off: without owners it would be nobody's.
	Owners func(ctx context.Context, service string) ([]string, error)
	URL    string // of the server
	Wake   func() // tells that there is a message to deliver
	Logger *slog.Logger
	Now    func() time.Time
}

// Digester makes the week's digest of each receiver that asks for it: once,
// whatever number of servers there is and whatever becomes of them. One that
// was not made in time, because no server ran, is made later, up to a day.
type Digester struct{ cfg DigestConfig }

const (
	digestLook = 30 * time.Second // between two looks at the clock
	digestLate = 24 * time.Hour
	mostDigest = 20 // lines of each list
)

// NewDigester returns a Digester; Run starts it.
func NewDigester(cfg DigestConfig) *Digester {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wake == nil {
		cfg.Wake = func() {}
	}
	return &Digester{cfg: cfg}
}

// Run looks at the clock until ctx ends.
func (d *Digester) Run(ctx context.Context) {
	tick := time.NewTicker(digestLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := d.Look(ctx); err != nil && ctx.Err() == nil {
			d.cfg.Logger.WarnContext(ctx, "make the week's digest", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// Look makes what is due now.
func (d *Digester) Look(ctx context.Context) error {
	now := d.cfg.Now()
	due := d.cfg.Receivers.digest.last(now)
	if now.Sub(due) > digestLate {
		return nil
	}
	week := due.Format(time.DateOnly)
	var runs []store.EndedRun
	owners := map[string][]string{}
	for _, c := range d.cfg.Receivers.all {
		if !slices.Contains(c.choice.Events, wire.EventDigest) {
			continue
		}
		made, err := d.cfg.Weeks.DigestMade(ctx, c.Channel.Name(), week)
		if err != nil {
			return err
		}
		if made {
			continue
		}
		if runs == nil {
			if runs, err = d.cfg.Weeks.EndedRuns(ctx, due.AddDate(0, 0, -7), due); err != nil {
				return err
			}
			if err := d.findOwners(ctx, runs, owners); err != nil {
				return err
			}
		}
		if err := d.make(ctx, c, week, due, runs, owners); err != nil {
			return err
		}
	}
	return nil
}

func (d *Digester) findOwners(ctx context.Context, runs []store.EndedRun, owners map[string][]string) (err error) {
	for _, r := range runs {
		if _, known := owners[r.Service]; known {
			continue
		}
		if owners[r.Service], err = d.cfg.Owners(ctx, r.Service); err != nil {
			return fmt.Errorf("look for the owners of %s: %w", r.Service, err)
		}
	}
	return nil
}

// make stores the digest of one receiver: one message, or, where it writes to
// owners, one for each owner who had runs.
func (d *Digester) make(ctx context.Context, c opened, week string, due time.Time, runs []store.EndedRun, owners map[string][]string) error {
	var wanted []store.EndedRun
	whose := map[string][]store.EndedRun{}
	for _, r := range runs {
		if !c.choice.covers(r.Service, r.Environment, owners[r.Service]) || !c.choice.sort(wire.Notification{Kind: r.Kind}) {
			continue
		}
		wanted = append(wanted, r)
		for _, o := range owners[r.Service] {
			if len(c.choice.Teams) == 0 || slices.Contains(c.choice.Teams, o) {
				whose[o] = append(whose[o], r)
			}
		}
	}
	at := d.cfg.Now().UTC().Truncate(time.Microsecond)
	var messages []store.Message
	add := func(of string, runs []store.EndedRun) error {
		k := d.week(due, runs)
		k.For = of
		n := wire.Notification{ID: restart.NewID(at), Event: wire.EventDigest, At: at, URL: d.cfg.URL + "/statistics", Owners: []string{}, Hosts: []string{}, Week: &k}
		if of != "" {
			n.Owners = []string{of}
		}
		m, _, err := Message(n, []string{c.Channel.Name()})
		messages = append(messages, m)
		return err
	}
	if c.owners {
		for _, o := range slices.Sorted(maps.Keys(whose)) {
			if err := add(o, whose[o]); err != nil {
				return err
			}
		}
	} else if err := add("", wanted); err != nil {
		return err
	}
	first, err := d.cfg.Weeks.KeepDigest(ctx, c.Channel.Name(), week, at, messages)
	if err != nil {
		return err
	}
	if first && len(messages) > 0 {
		d.cfg.Logger.InfoContext(ctx, "the week's digest is made", "receiver", c.String(), "messages", len(messages))
		d.cfg.Wake()
	}
	return nil
}

// week counts runs.
func (d *Digester) week(due time.Time, runs []store.EndedRun) wire.Week {
	k := wire.Week{From: due.AddDate(0, 0, -7).UTC(), Until: due.UTC(), Runs: len(runs), Services: []wire.WeekService{}, Again: []wire.WeekRun{}, Reasons: []wire.WeekReason{}}
	services, reasons := map[string]*wire.WeekService{}, map[string]*wire.WeekReason{}
	for _, r := range runs {
		s := services[r.Service+"\n"+r.Environment]
		if s == nil {
			s = &wire.WeekService{Service: r.Service, Environment: r.Environment}
			services[r.Service+"\n"+r.Environment] = s
		}
		s.Runs++
		if r.State != restart.RunCompleted {
			s.Failed++
			k.Failed++
		}
		if r.Again {
			s.Again++
			k.Again = append(k.Again, wire.WeekRun{
				Run: r.Run, URL: d.cfg.URL + "/runs/" + r.Run, Service: r.Service, Environment: r.Environment, Actor: r.Actor, Reason: r.Reason, At: r.At.UTC(),
			})
		}
		if r.ReasonKey == "" {
			continue
		}
		given := reasons[r.Service+"\n"+r.ReasonKey]
		if given == nil {
			given = &wire.WeekReason{Service: r.Service}
			reasons[r.Service+"\n"+r.ReasonKey] = given
		}
		given.Runs++
		given.Reason = r.Reason
	}
	for _, key := range slices.Sorted(maps.Keys(services)) {
		k.Services = append(k.Services, *services[key])
	}
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		if reasons[key].Runs > 1 {
			k.Reasons = append(k.Reasons, *reasons[key])
		}
	}
	slices.SortStableFunc(k.Services, func(a, b wire.WeekService) int { return b.Runs - a.Runs })
	slices.SortStableFunc(k.Reasons, func(a, b wire.WeekReason) int { return b.Runs - a.Runs })
	k.Services = k.Services[:min(len(k.Services), mostDigest)]
	k.Again = k.Again[:min(len(k.Again), mostDigest)]
	k.Reasons = k.Reasons[:min(len(k.Reasons), mostDigest)]
	return k
}
