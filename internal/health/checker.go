package health

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// DefaultDeadline stands in for a zero of restart.Health.
	DefaultDeadline = time.Duration(restart.DefaultDeadline)
	// DefaultInterval does too.
	DefaultInterval = time.Second

	// longest a detail may be, in bytes
	maxDetail = 500
)

// Runner runs a reviewed script as the scenario's user and gives its exit
// status and what it printed. An error means that it did not run, or was ended.
type Runner func(ctx context.Context, script string) (exit int, output string, err error)

// Config is what a Checker goes by.
type Config struct {
	Health   restart.Health // rendered: no placeholders left
	Baseline *Process       // the process before the restart; nil = a probe alone: any process will do
	Run      Runner         // for command checks; nil = they can't be made
	System   System
}

// Checker looks whether one service on this host is healthy. It is not for
// several goroutines at once.
type Checker struct {
	health   restart.Health
	baseline *Process
	observe  func(context.Context) (p Process, absent string, err error) // nil = no new_process check
	checks   []check
}

// check is one thing that must hold. It gives a few words for people: what
// holds, or, as the error, what does not.
type check func(ctx context.Context) (held string, err error)

// New makes a Checker.
func New(config Config) *Checker {
	c := &Checker{health: config.Health, baseline: config.Baseline, checks: checksOf(config)}
	if ref := config.Health.NewProcess; ref != nil {
		c.observe = func(ctx context.Context) (Process, string, error) { return config.System.Explain(ctx, *ref) }
	}
	return c
}

// checksOf is the table of the kinds of check, new_process aside.
func checksOf(config Config) []check {
	var checks []check
	if probe := config.Health.TCP; probe != nil {
		checks = append(checks, tcpCheck(*probe))
	}
	if probe := config.Health.HTTP; probe != nil {
		checks = append(checks, httpCheck(*probe))
	}
	if probe := config.Health.Command; probe != nil {
		checks = append(checks, commandCheck(*probe, config.Run))
	}
	return checks
}

// Sample looks once: at the process first, then at the other checks in turn
// until one does not hold. Its detail is one escaped sentence.
func (c *Checker) Sample(ctx context.Context) protocol.HealthSample {
	sample, _ := c.sample(ctx)
	return sample
}

// sample also gives the new process that it saw, if it saw one.
func (c *Checker) sample(ctx context.Context) (protocol.HealthSample, Process) {
	sample := protocol.HealthSample{At: time.Now().UTC()}
	var held []string
	unhealthy := func(err error) protocol.HealthSample {
		sample.Detail = sentence(err.Error())
		return sample
	}
	process, words, err := c.process(ctx)
	if err != nil {
		return unhealthy(err), process
	}
	if words != "" {
		held = append(held, words)
	}
	for _, check := range c.checks {
		words, err := check(ctx)
		if err != nil {
			return unhealthy(err), process
		}
		held = append(held, words)
	}
	if len(held) == 0 {
		held = []string{"the scenario checks nothing"}
	}
	sample.Healthy, sample.Detail = true, sentence(strings.Join(held, "; "))
	return sample, process
}

// process makes the new_process check, and gives the process only if it holds.
func (c *Checker) process(ctx context.Context) (p Process, held string, err error) {
	if c.observe == nil {
		return Process{}, "", nil
	}
	p, absent, err := c.observe(ctx)
	switch {
	case err != nil:
		return Process{}, "", err
	case !p.Exists():
		return Process{}, "", errors.New(absent)
	case c.baseline == nil:
		return p, p.String() + " runs", nil
	case !p.NewSince(*c.baseline):
		return Process{}, "", errors.New(p.String() + " is still the one from before the restart")
	}
	return p, p.String() + " is new", nil
}

// sentence makes foreign text fit for one line, at most maxDetail bytes.
func sentence(s string) string {
	s = restart.Escape(strings.TrimSpace(s))
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}
