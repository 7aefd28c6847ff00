package health

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"pgregory.net/rapid"
)

// scene is a service that behaves as a test tells it, by the time since start.
type scene struct {
	process func(since time.Duration) Process // nil = no new_process check
	answers func(since time.Duration) error
	takes   time.Duration // how long one sample lasts
}

func (s scene) checker(h restart.Health, baseline *Process) *Checker {
	start := time.Now()
	c := &Checker{health: h, baseline: baseline}
	if s.process != nil {
		c.observe = func(context.Context) (Process, string, error) {
			return s.process(time.Since(start)), "there is no process", nil
		}
	}
	c.checks = []check{func(ctx context.Context) (string, error) {
		began := time.Since(start)
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		return "it answers", s.answers(began)
	}}
	return c
}

func always(time.Duration) error { return nil }

func seconds(n int) restart.Duration { return restart.Duration(time.Duration(n) * time.Second) }

var old = Process{PID: 10, StartTime: 1, BootID: "b", Up: true}

func life(n int) Process {
	return Process{PID: 10 + n, StartTime: uint64(1 + n), BootID: "b", Up: true}
}

func TestWait(t *testing.T) {
	steady := func(time.Duration) Process { return life(1) }
	down := errors.New("it answered 502, not 200")
	for name, c := range map[string]struct {
		scene   scene
		health  restart.Health
		takes   time.Duration // until Wait returns
		samples int
		says    string // "" = healthy
	}{
		"healthy at once": {
			scene: scene{process: steady, answers: always}, health: restart.Health{}, takes: 0, samples: 1},
		"healthy_for is waited for": {
			scene: scene{process: steady, answers: always}, health: restart.Health{HealthyFor: seconds(10)}, takes: 10 * time.Second, samples: 11},
		"a gap starts it over": {
			scene: scene{process: steady, answers: func(d time.Duration) error {
				if d == 5*time.Second {
					return down
				}
				return nil
			}},
			health: restart.Health{HealthyFor: seconds(10)}, takes: 16 * time.Second, samples: 17},
		"another process starts it over": {
			scene:  scene{process: func(d time.Duration) Process { return life(1 + int(min(d, 3*time.Second)/(3*time.Second))) }, answers: always},
			health: restart.Health{HealthyFor: seconds(5), Interval: seconds(2)}, takes: 10 * time.Second, samples: 6},
		"a crash loop never passes": {
			scene:  scene{process: func(d time.Duration) Process { return life(1 + int(d/(3*time.Second))) }, answers: always},
			health: restart.Health{HealthyFor: seconds(10), Deadline: seconds(30)}, takes: 30 * time.Second, samples: 30,
			says: "not healthy within 30 seconds: it held for the last 3 seconds only, and must hold for 10 seconds (process 20 is new; it answers); the process was replaced 9 times since the restart"},
		"the old process answers": {
			scene:  scene{process: func(time.Duration) Process { return old }, answers: always},
			health: restart.Health{Deadline: seconds(20)}, takes: 20 * time.Second, samples: 20,
			says: "not healthy within 20 seconds: for the last 20 seconds: process 10 is still the one from before the restart"},
		"no process": {
			scene:  scene{process: func(time.Duration) Process { return Process{BootID: "b"} }, answers: always},
			health: restart.Health{Deadline: seconds(3)}, takes: 3 * time.Second, samples: 3,
			says: "for the last 3 seconds: there is no process"},
		"it stops answering": {
			scene: scene{answers: func(d time.Duration) error {
				if d < 50*time.Second {
					return nil
				}
				return down
			}},
			health: restart.Health{HealthyFor: seconds(60)}, takes: DefaultDeadline, samples: 120,
			says: "not healthy within 2 minutes: for the last 70 seconds: it answered 502, not 200"},
		"slow samples count only the time between them": {
			scene:  scene{answers: always, takes: 3 * time.Second},
			health: restart.Health{HealthyFor: seconds(5)}, takes: 12 * time.Second, samples: 4},
		"the deadline cuts a sample": {
			scene:  scene{answers: func(time.Duration) error { return down }, takes: 4 * time.Second},
			health: restart.Health{Deadline: seconds(10)}, takes: 10 * time.Second, samples: 2,
			says: "for the last 10 seconds: it answered 502, not 200"},
		"the deadline cuts the first sample": {
			scene:  scene{answers: always, takes: time.Hour},
			health: restart.Health{Deadline: seconds(10)}, takes: 10 * time.Second, samples: 1,
			says: "for the last 10 seconds: context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, samples := time.Now(), 0
				err := c.scene.checker(c.health, &old).Wait(t.Context(), func(s protocol.HealthSample) {
					samples++
					if s.At.IsZero() || s.Detail == "" {
						t.Errorf("sample %+v", s)
					}
				})
				switch {
				case c.says == "" && err != nil:
					t.Errorf("not healthy: %v", err)
				case c.says != "" && (restart.CodeOf(err) != restart.CodeUnhealthy || !strings.Contains(err.Error(), c.says)):
					t.Errorf("says %v, want %q", err, c.says)
				}
				if took := time.Since(start); took != c.takes || samples != c.samples {
					t.Errorf("took %s and %d samples, want %s and %d", took, samples, c.takes, c.samples)
				}
			})
		})
	}
}

func TestWaitCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := errors.New("the person stopped it")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5500*time.Millisecond, func() { cancel(stopped) })
		c := scene{answers: func(time.Duration) error { return errors.New("no") }}.checker(restart.Health{}, nil)
		if err := c.Wait(ctx, nil); !errors.Is(err, stopped) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWaitWithoutABaseline(t *testing.T) {
	c := scene{process: func(time.Duration) Process { return life(1) }, answers: always}.checker(restart.Health{}, nil)
	if err := c.Wait(t.Context(), nil); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("an unknown process is new: %v", err)
	}
	if s := c.Sample(t.Context()); !s.Healthy || s.Detail != "process 11 runs; it answers" {
		t.Errorf("a probe alone: %+v", s)
	}
}

// Whatever a service does: healthy is said only after a row of good samples of
// one and the same process that spans healthy_for.
func TestStreakNeverPassesEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := streak{need: time.Duration(rapid.IntRange(0, 10).Draw(t, "need")) * time.Second}
		type taken struct {
			good       bool
			life       int
			begin, end time.Time
		}
		var all []taken
		now := time.Unix(1e9, 0)
		for range rapid.IntRange(1, 30).Draw(t, "samples") {
			s := taken{good: rapid.Bool().Draw(t, "good"), life: rapid.IntRange(1, 3).Draw(t, "life"), begin: now}
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "takes")) * time.Millisecond)
			s.end = now
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond)
			all = append(all, s)
			done := row.add(&protocol.HealthSample{Healthy: s.good}, life(s.life), s.begin, s.end)

			first := len(all) // of the unbroken row that ends here
			for first > 0 && all[first-1].good && all[first-1].life == s.life {
				first--
			}
			want := first < len(all) && (row.need == 0 || s.begin.Sub(all[first].end) >= row.need)
			if done != want {
				t.Fatalf("done is %v after %+v", done, all)
			}
		}
	})
}

func TestNewSince(t *testing.T) {
	const a, b = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	for name, c := range map[string]struct {
		p, baseline Process
		want        bool
	}{
		"none":                                {Process{BootID: "x"}, Process{PID: 1, BootID: "x", Up: true}, false},
		"same":                                {Process{PID: 1, StartTime: 5, BootID: "x", Up: true}, Process{PID: 1, StartTime: 5, BootID: "x", Up: true}, false},
		"other pid":                           {Process{PID: 2, StartTime: 5, BootID: "x", Up: true}, Process{PID: 1, StartTime: 5, BootID: "x", Up: true}, true},
		"same pid, given again":               {Process{PID: 1, StartTime: 6, BootID: "x", Up: true}, Process{PID: 1, StartTime: 5, BootID: "x", Up: true}, true},
		"after a reboot":                      {Process{PID: 1, StartTime: 5, BootID: "y", Up: true}, Process{PID: 1, StartTime: 5, BootID: "x", Up: true}, true},
		"it was down before":                  {Process{PID: 1, StartTime: 5, BootID: "x", Up: true}, Process{BootID: "x"}, true},
		"other invocation":                    {Process{PID: 2, InvocationID: a, BootID: "x", Up: true}, Process{PID: 1, InvocationID: b, BootID: "x", Up: true}, true},
		"main process handed over":            {Process{PID: 2, InvocationID: a, BootID: "x", Up: true}, Process{PID: 1, InvocationID: a, BootID: "x", Up: true}, false},
		"invocation without a process":        {Process{InvocationID: a, BootID: "x", Up: true}, Process{InvocationID: b, BootID: "x", Up: true}, true},
		"same invocation, no process":         {Process{InvocationID: a, BootID: "x", Up: true}, Process{InvocationID: a, BootID: "x", Up: true}, false},
		"systemd without invocation ids":      {Process{PID: 2, BootID: "x", Up: true}, Process{PID: 1, InvocationID: a, BootID: "x", Up: true}, true},
		"it was starting before, and went on": {Process{PID: 1, InvocationID: a, BootID: "x", Up: true}, Process{PID: 1, InvocationID: a, BootID: "x"}, false},
		"it had failed before":                {Process{PID: 2, InvocationID: b, BootID: "x", Up: true}, Process{InvocationID: a, BootID: "x"}, true},
	} {
		if got := c.p.NewSince(c.baseline); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
