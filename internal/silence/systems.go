package silence

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

// wanted is a silence that is to be placed.
type wanted struct {
	restart.Silence
	HostName string    // as the system calls the host
	From     time.Time //
	Comment  string    // for people there; names run and task
}

// monitor is a kind of system.
type monitor interface {
	// Place asks for one silence and gives its id there; "" = there may be two, or
	// come to be, as the system has several addresses and one of them has not
	// answered. An error that inDoubt knows means that it may be there all the same.
	Place(ctx context.Context, w wanted) (id string, err error)
	// Lift ends the silence of that id or, where none is known, whatever there is
	// of the task. nil means that nothing of it is there any more.
	Lift(ctx context.Context, s restart.Silence) error
	// Fades tells whether a silence whose time is over leaves nothing behind.
	Fades() bool
}

// teller is a monitor that can say which alerts fire.
type teller interface {
	// Firing gives those of the alerts that fire, are not silent, and have the
	// labels; each with where, for people. At most a few.
	Firing(ctx context.Context, alerts []string, labels map[string]string) ([]string, error)
}

// kinds is the table of the kinds of systems.
var kinds = map[string]func(System, *caller) monitor{
	"alertmanager": newAlertmanager,
	"zabbix":       newZabbix,
}

// Kinds lists the values of System.Kind.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// Systems are all that the settings name.
type Systems struct {
	all   []*system
	gates []*gate
}

func (s Systems) named(name string) *system {
	for _, sys := range s.all {
		if sys.Name == name {
			return sys
		}
	}
	return nil
}

// Verb is what a system is asked to do.
type Verb string

// The verbs.
const (
	VerbPlace  Verb = "place"
	VerbLift   Verb = "lift"
	VerbFiring Verb = "firing" // which alerts are
)

// Verbs lists them all.
func Verbs() []Verb { return []Verb{VerbPlace, VerbLift, VerbFiring} }

// Result is how a question to a system ended.
type Result string

// The results of questions.
const (
	ResultOK         Result = "ok"
	ResultRefused    Result = "refused"    // it has said no
	ResultUnanswered Result = "unanswered" // it was not reached, or nothing came that can be believed
	ResultSkipped    Result = "skipped"    // it was not asked, as it did not answer a moment ago
)

// Results lists them all.
func Results() []Result {
	return []Result{ResultOK, ResultRefused, ResultUnanswered, ResultSkipped}
}

// Call is one question to a system, as observers are told of it.
type Call struct {
	System string
	Verb   Verb
	Result Result
}

// Names lists the systems, in the order of the settings.
func (s Systems) Names() []string {
	out := make([]string, 0, len(s.all))
	for _, sys := range s.all {
		out = append(out, sys.Name)
	}
	return out
}

// Observe has by told of every question from now on. It is called before the
// systems are used.
func (s Systems) Observe(by func(Call)) {
	for _, sys := range s.all {
		sys.observe = by
	}
}

// Silent tells whether any of them is ever told to be silent.
func (s Systems) Silent() bool {
	return slices.ContainsFunc(s.all, func(sys *system) bool { return sys.Silence != silenceNone })
}

const (
	// atOnce is how many questions one system is asked at the same time.
	atOnce = 16
	// rest is how long a system that did not answer is not asked where its answer
	// is not needed: else each host of a run would wait for it anew.
	rest = 30 * time.Second
)

// system is one of them at work.
type system struct {
	System

	monitor monitor
	slots   chan struct{}
	observe func(Call) // nil = nobody is told

	mu   sync.Mutex
	down error     // why it did not answer the last time; nil = it did
	till time.Time // it rests
}

// about tells whether the system watches a run's hosts.
func (s *system) about(run restart.Run) bool {
	return restart.Fits(s.Environments, run.Environment) && restart.Fits(s.Services, run.Service)
}

// nameOf is how the system calls a host; "" where it can't be known.
func (s *system) nameOf(h restart.Host) string {
	switch s.HostNames {
	case namesShort:
		return shortName(h.Name)
	case namesAddress:
		return h.Address
	}
	return h.Name
}

// ask does something with the system, when it has a slot free, and notes whether
// it answered.
func (s *system) ask(ctx context.Context, verb Verb, now func() time.Time, do func(context.Context) error) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		s.tell(verb, ResultUnanswered)
		return s.notInTime()
	}
	defer func() { <-s.slots }()
	err := do(ctx)
	s.tell(verb, resultOf(err))
	s.mu.Lock()
	defer s.mu.Unlock()
	if silent(err) {
		s.down, s.till = err, now().Add(rest)
	} else {
		s.down = nil
	}
	return err
}

func resultOf(err error) Result {
	switch {
	case err == nil:
		return ResultOK
	case silent(err):
		return ResultUnanswered
	}
	return ResultRefused
}

func (s *system) tell(verb Verb, r Result) {
	if s.observe != nil {
		s.observe(Call{System: s.Name, Verb: verb, Result: r})
	}
}

// resting gives why the system did not answer a moment ago and is not asked now;
// nil where it is.
func (s *system) resting(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil || now.After(s.till) || s.till.Sub(now) > rest { // a clock was set back
		return nil
	}
	e, _ := errors.AsType[*restart.Error](s.down) // of a question that is not this one
	return e
}

// notInTime says that the system had no time for us.
func (s *system) notInTime() error {
	return &callError{kind: unreached, Err: restart.Errorf(restart.CodeUnavailable, "monitoring system %s does not answer: %s", s.Name, outgoing.TookTooLong)}
}
