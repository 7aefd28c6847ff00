package silence

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// freshFor is how long an answer about alerts is good: a run asks before each
	// host.
	freshFor = 2 * time.Second
	// gatePatience is how long a run waits for one answer.
	gatePatience = 3 * time.Second
	// mostAnswers bounds what is kept of one gate.
	mostAnswers = 1000
)

// gate is a Gate at work.
type gate struct {
	Gate

	system *system
	tells  teller

	mu      sync.Mutex
	answers map[string]*answer // by the labels that were asked for
}

// answer is what a system has said, or is being asked.
type answer struct {
	mu     sync.Mutex // held while it is asked
	until  time.Time  // it is good
	firing []string
	err    error
}

// Gates asks systems whether runs may go on. It is safe for concurrent use.
type Gates struct {
	gates []*gate
	log   *slog.Logger
	now   func() time.Time
}

// NewGates returns the gates of the systems; now may be nil.
func NewGates(s Systems, log *slog.Logger, now func() time.Time) *Gates {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	return &Gates{gates: s.gates, log: log, now: now}
}

// Fire tells what alerts say of a run that changes something. inWay is why it
// must not touch its next host: one of them fires, or a strict gate can't find
// out. unsure is what a lenient gate could not find out, and lets pass.
func (g *Gates) Fire(ctx context.Context, run restart.Run) (inWay, unsure *restart.Error) {
	for _, gate := range g.gates {
		if !restart.Fits(gate.Environments, run.Environment) || !restart.Fits(gate.Services, run.Service) {
			continue
		}
		firing, err := gate.ask(ctx, run, g.now)
		switch {
		case len(firing) > 0:
			return restart.Errorf(restart.CodeUnavailable, "no host is touched while this alert fires: %s, says monitoring system %s", strings.Join(firing, ", "), gate.System), nil
		case err == nil:
		case gate.WhenDown == strict:
			return restart.Errorf(restart.CodeUnavailable, "no host is touched while it is not known whether %s fires: %s", strings.Join(gate.Alerts, ", "), sentence(err)), nil
		default:
			g.log.WarnContext(ctx, "whether alerts fire is not known; the run goes on", "run_id", run.ID, "system", gate.System, "alerts", gate.Alerts, "error", err)
			unsure = restart.Errorf(restart.CodeUnavailable, "whether %s fires is not known: %s", strings.Join(gate.Alerts, ", "), sentence(err))
		}
	}
	return nil, unsure
}

// ask gives what fires of the gate's alerts, by an answer of the last seconds.
// Who asks while another does waits for the same answer.
func (g *gate) ask(ctx context.Context, run restart.Run, now func() time.Time) ([]string, error) {
	labels := map[string]string{}
	fill := strings.NewReplacer("#service#", run.Service, "#environment#", run.Environment, "#group#", run.Group, "#project#", run.Project)
	for label, value := range g.Labels {
		labels[label] = fill.Replace(value)
	}
	a := g.answerTo(labels)
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := now(); at.Before(a.until) && a.until.Sub(at) <= rest { // else a clock was set back
		return a.firing, a.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatePatience)
	defer cancel()
	var firing []string
	err := g.system.ask(ctx, VerbFiring, now, func(ctx context.Context) (err error) {
		firing, err = g.tells.Firing(ctx, g.Alerts, labels)
		return err
	})
	a.firing, a.err = firing, err
	a.until = now().Add(freshFor)
	if a.err != nil && g.WhenDown == lenient {
		a.until = now().Add(rest) // it is not waited for at each host
	}
	return a.firing, a.err
}

// answerTo gives the place of an answer.
func (g *gate) answerTo(labels map[string]string) *answer {
	var key []string
	for label, value := range labels {
		key = append(key, quoted(label)+quoted(value))
	}
	slices.Sort(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	place := strings.Join(key, " ")
	a, there := g.answers[place]
	if !there {
		if len(g.answers) >= mostAnswers {
			clear(g.answers)
		}
		a = &answer{}
		g.answers[place] = a
	}
	return a
}
