package restart_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

// planOf makes a plan of hosts written as letters: h healthy, u unhealthy, ?
// unknown; H, U and ! are the same, left out.
func planOf(strategy restart.Strategy, hosts string) restart.Plan {
	p := restart.Plan{Kind: restart.KindRestart, Strategy: strategy.Defaults()}
	for i, c := range hosts {
		h := restart.PlannedHost{Host: restart.Host{Name: fmt.Sprintf("web%d", i+1)}, LeftOut: c == 'H' || c == 'U' || c == '!'}
		h.Health = map[rune]string{'h': restart.HealthHealthy, 'u': restart.HealthUnhealthy}[c|0x20]
		if h.Health == "" {
			h.Health = restart.HealthUnknown
		}
		p.Hosts = append(p.Hosts, h)
	}
	return p
}

func TestSettle(t *testing.T) {
	half := []restart.Amount{{Percent: 50}}
	all := []restart.Amount{{Percent: 100}}
	for name, c := range map[string]struct {
		strategy restart.Strategy
		hosts    string
		batches  []int
		want     restart.Resolved // Longest left out
		refused  string           // "" = not
	}{
		"no limit":                           {restart.Strategy{}, "hhh", []int{1, 1, 1}, restart.Resolved{Healthy: 3}, ""},
		"one may go":                         {restart.Strategy{MinAvailable: "N-1"}, "hhhh", []int{1, 1, 1, 1}, restart.Resolved{Healthy: 4, Keep: 3}, ""},
		"left-out hosts count":               {restart.Strategy{MinAvailable: "3"}, "hHHH", []int{1}, restart.Resolved{Healthy: 4, Keep: 3}, ""},
		"unhealthy hosts don't":              {restart.Strategy{MinAvailable: "50%"}, "uhh", []int{1, 1, 1}, restart.Resolved{Healthy: 2, Keep: 1}, ""},
		"none healthy, nothing to keep":      {restart.Strategy{MinAvailable: "3"}, "uuu", []int{1, 1, 1}, restart.Resolved{Keep: 3}, ""},
		"when_down":                          {restart.Strategy{WhenDown: all}, "uuUu", []int{3}, restart.Resolved{WhenDown: restart.WhenDownUsed}, ""},
		"when_down, a silent one left out":   {restart.Strategy{WhenDown: all}, "uu!", []int{2}, restart.Resolved{WhenDown: restart.WhenDownUsed}, ""},
		"when_down, a silent one chosen":     {restart.Strategy{WhenDown: all}, "uu?", []int{1, 1, 1}, restart.Resolved{WhenDown: restart.WhenDownSomeUnknown}, ""},
		"when_down, one left out is healthy": {restart.Strategy{WhenDown: all}, "uuH", []int{1, 1}, restart.Resolved{Healthy: 1, WhenDown: restart.WhenDownSomeHealthy}, ""},
		"nothing to hold": {restart.Strategy{HoldAfterFirst: true, Batches: all}, "hhh", []int{3},
			restart.Resolved{Healthy: 3, Warnings: []string{"hold_after_first can't hold anything: the first batch is all 3 hosts"}}, ""},
		"one host holds nothing, and needs not": {restart.Strategy{HoldAfterFirst: true}, "h", []int{1}, restart.Resolved{Healthy: 1}, ""},
		"a later batch is too wide": {restart.Strategy{MinAvailable: "N-1", Batches: []restart.Amount{{Count: 1}, {Percent: 50}}}, "hhhh", []int{1, 2, 1},
			restart.Resolved{Healthy: 4, Keep: 3, Warnings: []string{"batch 2 touches 2 healthy hosts at once, and min_available N-1 keeps 3 of 4: the run will pause before it"}}, ""},
		"a wide batch of broken ones is fine": {restart.Strategy{MinAvailable: "N-1", Batches: []restart.Amount{{Count: 2}, {Count: 1}}}, "uuhh", []int{2, 1, 1}, restart.Resolved{Healthy: 2, Keep: 1}, ""},
		"the first batch is too wide": {restart.Strategy{MinAvailable: "N-1", Batches: half}, "hhhh", nil, restart.Resolved{},
			"min_available N-1 keeps 3 of 4 healthy, and batch 1 touches 2 of them at once: it can never start (use a scenario with smaller batches or one that keeps fewer, or leave out healthy hosts (web1, web2))"},
		"the first batch of healthy ones is": {restart.Strategy{MinAvailable: "N-1", Batches: half}, "uuhh", nil, restart.Resolved{}, "batch 2 touches 2 of them at once"},
		"too few hosts": {restart.Strategy{MinAvailable: "3"}, "hhh", nil, restart.Resolved{},
			"min_available 3 keeps 3 healthy, and 3 are: no healthy host can be touched (wait until more hosts of the group are healthy, or use a scenario that keeps fewer)"},
		"some could be left out": {restart.Strategy{MinAvailable: "3"}, "huhh", nil, restart.Resolved{},
			"no healthy host can be touched (leave out the healthy hosts (web1, web3, web4), wait until more hosts of the group are healthy, or use a scenario that keeps fewer)"},
		"fewer healthy than it keeps":  {restart.Strategy{MinAvailable: "3"}, "huu", nil, restart.Resolved{}, "min_available 3 keeps 3 healthy, and 1 are"},
		"only broken ones are chosen":  {restart.Strategy{MinAvailable: "3"}, "Huu", []int{1, 1}, restart.Resolved{Healthy: 1, Keep: 3}, ""},
		"a rule that no one may break": {restart.Strategy{MinAvailable: "N"}, "hh", nil, restart.Resolved{}, "no healthy host can be touched"},
		"one healthy host of one":      {restart.Strategy{MinAvailable: "80%"}, "h", nil, restart.Resolved{}, "min_available 80% keeps 1 healthy, and 1 are"},
		"not understood":               {restart.Strategy{MinAvailable: "most"}, "h", nil, restart.Resolved{}, `min_available "most" is not understood`},
	} {
		t.Run(name, func(t *testing.T) {
			p := planOf(c.strategy, c.hosts)
			err := p.Settle(0)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%v %+v", p.Batches, *p.Resolved); got != fmt.Sprintf("%v %+v", c.batches, c.want) {
				t.Errorf("got  %s\nwant %v %+v", got, c.batches, c.want)
			}
			if again := *p.Resolved; p.Settle(0) != nil || fmt.Sprint(again) != fmt.Sprint(*p.Resolved) {
				t.Errorf("settled twice: %+v", *p.Resolved)
			}
		})
	}
}

func TestADumpTakesNoHostDown(t *testing.T) {
	p := planOf(restart.Strategy{MinAvailable: "N", WhenDown: []restart.Amount{{Count: 1}}, HoldAfterFirst: true}, strings.Repeat("h", 60))
	p.Kind = restart.KindThreadDump
	if err := p.Settle(0); err != nil || !slices.Equal(p.Batches, []int{50, 10}) || p.Strategy.MinAvailable != "" || len(p.Resolved.Warnings) > 0 {
		t.Errorf("%v, batches %v, %+v", err, p.Batches, p.Resolved)
	}
}

func TestLongest(t *testing.T) {
	minutes := func(n int) restart.Duration { return restart.Duration(n) * restart.Duration(time.Minute) }
	s := restart.Scenario{Strategy: restart.Strategy{TaskTimeout: minutes(3), PauseBetween: minutes(1)}}
	if got := s.PerHost(); got != minutes(3) {
		t.Errorf("drain and run: %s", got)
	}
	s.Health.TCP = &restart.TCPProbe{}
	if got := s.PerHost(); got != minutes(5) {
		t.Errorf("with health of no deadline: %s", got)
	}
	s.Health.Deadline = minutes(4)
	s.Steps.Undrain = &restart.Step{}
	if got := s.PerHost(); got != minutes(10) {
		t.Errorf("with undrain: %s", got)
	}
	p := planOf(s.Strategy, "hhh")
	if err := p.Settle(s.PerHost()); err != nil || p.Resolved.Longest != minutes(32) {
		t.Errorf("three hosts with a pause between: %s, %v", p.Resolved.Longest, err)
	}
}

// A plan is refused just where the gate before the first batch that touches a
// healthy host could never open: by the gate's own reckoning, with every
// healthy host still healthy and all others not.
func TestAPlanIsRefusedWhereItsGateCouldNeverOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.SampledFrom([]string{"", "N", "N-0", "N-1", "N-3", "1", "4", "50%", "80%", "100%"}).Draw(t, "rule")
		hosts := rapid.StringOfN(rapid.SampledFrom([]rune("hhhu?HU!")), 1, 12, -1).Draw(t, "hosts")
		p := planOf(restart.Strategy{MinAvailable: rule, Batches: drawSizes(t)}, hosts)
		chosen := p.Chosen()
		if len(chosen) == 0 {
			return
		}
		err := p.Settle(0)
		healthy := strings.Count(strings.ToLower(hosts), "h")
		need, ruleErr := restart.MinAvailable(rule, healthy)
		if ruleErr != nil {
			t.Fatal(ruleErr)
		}
		touched, position := 0, 0
		for _, size := range restart.ResolveBatches(p.Strategy.Batches, len(chosen)) {
			for _, h := range chosen[position : position+size] {
				if h.Health == restart.HealthHealthy {
					touched++
				}
			}
			if position += size; touched > 0 {
				break
			}
		}
		never := touched > 0 && healthy-touched < need
		if never != (err != nil) {
			t.Fatalf("%d healthy, %d kept, %d touched first: %v", healthy, need, touched, err)
		}
		if err != nil && restart.CodeOf(err) != restart.CodeConflict {
			t.Fatalf("code %s", restart.CodeOf(err))
		}
	})
}

// Naming some hosts of a group, and leaving out all others, is one plan: the
// same hosts are touched in the same batches, and as many are kept healthy.
func TestNamingHostsAndLeavingOutTheOthersIsOnePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		strategy := restart.Strategy{MinAvailable: rapid.SampledFrom([]string{"N", "N-1", "N-3", "1", "4", "50%", "80%"}).Draw(t, "rule"), Batches: drawSizes(t)}
		if rapid.Bool().Draw(t, "when_down") {
			strategy.WhenDown = []restart.Amount{{Percent: 100}}
		}
		except := planOf(strategy, rapid.StringOfN(rapid.SampledFrom([]rune("hhu?HHU!")), 1, 12, -1).Draw(t, "hosts"))
		named := except
		named.Hosts = nil
		health, group := map[string]string{}, []restart.Host{}
		for _, h := range except.Hosts {
			health[h.Name], group = h.Health, append(group, h.Host)
			if !h.LeftOut {
				named.Hosts = append(named.Hosts, h)
			}
		}
		if len(named.Hosts) == 0 {
			return
		}
		named.Hash = named.Facts(group[:1])
		before := named.Hash
		named.Count(group)
		for i, h := range named.Hosts { // as they are looked at
			named.Hosts[i].Health = health[h.Name]
		}
		if len(named.Hosts) != len(group) || (named.Hash == before) != (len(named.Chosen()) == len(group)) {
			t.Fatalf("%d of %d hosts, hash %s, was %s", len(named.Hosts), len(group), named.Hash, before)
		}
		one, other := named.Settle(0), except.Settle(0)
		got, want := fmt.Sprint(one), fmt.Sprint(other)
		if one == nil && other == nil {
			got, want = fmt.Sprintf("%v %+v", named.Batches, *named.Resolved), fmt.Sprintf("%v %+v", except.Batches, *except.Resolved)
		}
		if got != want || fmt.Sprint(touched(named)) != fmt.Sprint(touched(except)) {
			t.Fatalf("named %v: %s\nexcept %v: %s", touched(named), got, touched(except), want)
		}
		// What is beside stays so, whatever is ticked.
		for i := range named.Hosts {
			named.Hosts[i].LeftOut = false
		}
		if fmt.Sprint(touched(named)) != fmt.Sprint(touched(except)) || len(named.Asked()) != len(named.Chosen()) {
			t.Fatalf("ticked all: %v", touched(named))
		}
	})
}

func touched(p restart.Plan) (names []string) {
	for _, h := range p.Chosen() {
		names = append(names, h.Name)
	}
	return names
}
