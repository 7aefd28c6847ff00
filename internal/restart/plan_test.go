package restart_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func amounts(t *testing.T, texts ...string) []restart.Amount {
	t.Helper()
	var out []restart.Amount
	for _, s := range texts {
		a, err := restart.ParseAmount(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func TestResolveBatches(t *testing.T) {
	for _, c := range []struct {
		sizes []string
		total int
		want  []int
	}{
		{[]string{"1"}, 3, []int{1, 1, 1}},
		{[]string{"1", "2", "25%"}, 20, []int{1, 2, 5, 5, 5, 2}},
		{[]string{"25%"}, 3, []int{1, 1, 1}}, // rounded down to 0, at least 1
		{[]string{"50%"}, 5, []int{2, 2, 1}},
		{[]string{"100%"}, 7, []int{7}},
		{[]string{"10"}, 3, []int{3}},
		{[]string{"1"}, 0, nil},
	} {
		if got := restart.ResolveBatches(amounts(t, c.sizes...), c.total); !slices.Equal(got, c.want) {
			t.Errorf("%v of %d: %v, want %v", c.sizes, c.total, got, c.want)
		}
	}
}

func TestAmounts(t *testing.T) {
	for _, bad := range []string{"", "0", "-1", "0%", "101%", "200%", "1.5", "%", "1 ", "one", "9999999"} {
		if a, err := restart.ParseAmount(bad); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q is taken as %v", bad, a)
		}
	}
}

func drawSizes(t *rapid.T) []restart.Amount {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) restart.Amount {
		if rapid.Bool().Draw(t, "percent") {
			return restart.Amount{Percent: rapid.IntRange(1, 100).Draw(t, "n")}
		}
		return restart.Amount{Count: rapid.IntRange(1, 300).Draw(t, "n")}
	}), 1, 5).Draw(t, "sizes")
}

// Sizes are used in turn, the last one for all that is left; only the last
// batch may be smaller than its size.
func TestTheLastSizeRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := drawSizes(t)
		total := rapid.IntRange(1, 500).Draw(t, "total")
		batches := restart.ResolveBatches(sizes, total)
		for i, n := range batches {
			if want := sizes[min(i, len(sizes)-1)].Of(total); n != want && (i < len(batches)-1 || n > want) {
				t.Fatalf("batch %d of %v has %d hosts, its size says %d", i, batches, n, want)
			}
		}
		// As a person reads a percentage: rounded down, and at least 1.
		for _, a := range sizes {
			if n := a.Of(total); a.Percent > 0 && n != 1 && (n*100 > total*a.Percent || (n+1)*100 <= total*a.Percent) {
				t.Fatalf("%s of %d is %d", a, total, n)
			}
		}
	})
}

// Every host is in exactly one batch, in order, and no batch is wider than the
// reviewed scenario allows.
func TestBatchesCoverEveryHostOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := drawSizes(t)
		total := rapid.IntRange(0, 500).Draw(t, "total")
		batches := restart.ResolveBatches(sizes, total)
		sum, before := 0, 0
		for i, n := range batches {
			allowed := sizes[min(i, len(sizes)-1)]
			if n < 1 || n > allowed.Of(total) {
				t.Fatalf("batch %d has %d hosts, %s of %d allowed", i, n, allowed, total)
			}
			sum += n
		}
		if sum != total {
			t.Fatalf("batches %v hold %d of %d hosts", batches, sum, total)
		}
		for position := range total {
			b := restart.BatchOf(batches, position)
			if b < before || b >= len(batches) {
				t.Fatalf("host %d is in batch %d after %d", position, b, before)
			}
			before = b
		}
	})
}

func TestOrderKeepsEveryHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 50).Draw(t, "hosts")
		var hosts []restart.PlannedHost
		for i := range n {
			hosts = append(hosts, restart.PlannedHost{
				Host:   restart.Host{Name: fmt.Sprintf("h%02d", i), DataCentre: rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "dc")},
				Health: rapid.SampledFrom([]string{restart.HealthHealthy, restart.HealthUnhealthy, restart.HealthUnknown}).Draw(t, "health"),
			})
		}
		order := rapid.SampledFrom([]string{"inventory", "reverse", "shuffle", "by:datacenter", ""}).Draw(t, "order")
		before := slices.Clone(hosts)
		got, err := restart.Order(hosts, order, rapid.Uint64().Draw(t, "seed"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(before, hosts, func(a, b restart.PlannedHost) bool { return a.Name == b.Name }) {
			t.Fatal("the input was changed")
		}
		names := map[string]bool{}
		wellSeen := false
		for _, h := range got {
			names[h.Name] = true
			if h.Health == restart.HealthUnhealthy && wellSeen {
				t.Fatalf("unhealthy %s comes after one that is not", h.Name)
			}
			wellSeen = wellSeen || h.Health != restart.HealthUnhealthy
		}
		if len(names) != n || len(got) != n {
			t.Fatalf("%d hosts became %d", n, len(got))
		}
		if order == "inventory" || order == "" {
			for _, health := range []string{restart.HealthUnhealthy} {
				var in, out []string
				for _, h := range before {
					if h.Health == health {
						in = append(in, h.Name)
					}
				}
				for _, h := range got {
					if h.Health == health {
						out = append(out, h.Name)
					}
				}
				if !slices.Equal(in, out) {
					t.Fatalf("%s hosts %v became %v", health, in, out)
				}
			}
		}
	})
	if _, err := restart.Order(nil, "alphabetical", 0); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("unknown order: %v", err)
	}
}

// TestOrder: each order by itself, the unhealthy first within it.
func TestOrder(t *testing.T) {
	host := func(name, dc, health string) restart.PlannedHost {
		return restart.PlannedHost{Host: restart.Host{Name: name, DataCentre: dc}, Health: health}
	}
	hosts := []restart.PlannedHost{
		host("a", "east", restart.HealthHealthy), host("b", "west", restart.HealthUnhealthy), host("c", "east", restart.HealthUnknown),
		host("d", "", restart.HealthHealthy), host("e", "east", restart.HealthUnhealthy),
	}
	for order, want := range map[string]string{"": "beacd", "inventory": "beacd", "reverse": "ebdca", "by:datacenter": "ebdac"} {
		got, err := restart.Order(hosts, order, 1)
		names := ""
		for _, h := range got {
			names += h.Name
		}
		if err != nil || names != want {
			t.Errorf("%q gives %s, %v; want %s", order, names, err, want)
		}
	}
	// A shuffle is its seed's, so that the plan's order is the run's.
	seen := map[string]bool{}
	for seed := range uint64(50) {
		var twice [2]string
		for i := range twice {
			got, err := restart.Order(hosts, "shuffle", seed)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range got {
				twice[i] += h.Name
			}
		}
		if twice[0] != twice[1] {
			t.Errorf("seed %d gives %s and %s", seed, twice[0], twice[1])
		}
		seen[twice[0]] = true
	}
	if len(seen) != 12 { // 2 unhealthy before 3 others
		t.Errorf("50 shuffles give %d orders: %v", len(seen), seen)
	}
}

// What must stay is never more than there is, unless a plain count says so; it
// grows with the healthy hosts, one at most for each; a percentage is rounded up.
func TestMinAvailableProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		healthy, k, percent := rapid.IntRange(0, 500).Draw(t, "healthy"), rapid.IntRange(0, 20).Draw(t, "k"), rapid.IntRange(1, 100).Draw(t, "percent")
		need := func(rule string, healthy int) int {
			n, err := restart.MinAvailable(rule, healthy)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, rule := range []string{"N", fmt.Sprintf("N-%d", k), fmt.Sprintf("%d%%", percent)} {
			n, next := need(rule, healthy), need(rule, healthy+1)
			if n < 0 || n > healthy || next < n || next > n+1 {
				t.Fatalf("%s keeps %d of %d and %d of %d", rule, n, healthy, next, healthy+1)
			}
		}
		if n := need(fmt.Sprintf("%d%%", percent), healthy); n*100 < healthy*percent || (n > 0 && (n-1)*100 >= healthy*percent) {
			t.Fatalf("%d%% of %d is %d", percent, healthy, n)
		}
		if n := need(fmt.Sprint(k+1), healthy); n != k+1 {
			t.Fatalf("%d is %d", k+1, n)
		}
	})
}

func TestMinAvailable(t *testing.T) {
	for _, c := range []struct {
		rule          string
		healthy, want int
	}{
		{"", 5, 0}, {"N-1", 5, 4}, {"N-9", 5, 0}, {"N", 5, 5}, {"80%", 5, 4}, {"50%", 5, 3}, {"3", 5, 3}, {"N-1", 0, 0}, {"100%", 3, 3},
	} {
		if got, err := restart.MinAvailable(c.rule, c.healthy); err != nil || got != c.want {
			t.Errorf("%q of %d: %d, %v; want %d", c.rule, c.healthy, got, err, c.want)
		}
	}
	for _, bad := range []string{"N+1", "N--1", "N-", "N-01", "most", "-1", "120%", "N-1%"} {
		if _, err := restart.MinAvailable(bad, 5); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestFactsChangeWithWhatAPersonConfirms(t *testing.T) {
	hosts := []restart.Host{{Name: "a"}, {Name: "b"}}
	plan := restart.Plan{Digest: "d", Environment: "testing", Group: "g", Service: restart.Service{Name: "s"}, Params: map[string]string{"k": "v"}}
	base := plan.Facts(hosts)
	if base != plan.Facts([]restart.Host{{Name: "a", Tags: []string{"new"}}, {Name: "b"}}) {
		t.Error("a tag changed the facts")
	}
	for what, other := range map[string]string{
		"order":  plan.Facts([]restart.Host{{Name: "b"}, {Name: "a"}}),
		"hosts":  plan.Facts(hosts[:1]),
		"digest": restart.Plan{Digest: "e", Environment: "testing", Group: "g", Service: plan.Service, Params: plan.Params}.Facts(hosts),
		"params": restart.Plan{Digest: "d", Environment: "testing", Group: "g", Service: plan.Service}.Facts(hosts),
	} {
		if other == base {
			t.Errorf("another %s gives the same facts", what)
		}
	}
}
