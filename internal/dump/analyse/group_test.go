package analyse_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

func hangs() *dump.Dump {
	return jvm(0, all(many(1, 90, "http-nio-8080-exec-", dump.TimedWaiting, inHikari), many(91, 10, "http-nio-8080-exec-", dump.Running, inQuery))...)
}

func works() *dump.Dump {
	return jvm(0, all(many(1, 97, "http-nio-8080-exec-", dump.Waiting, inIdle), many(98, 3, "http-nio-8080-exec-", dump.Running, inShop))...)
}

// fleet makes n hosts, the first of which hang.
func fleet(n, hanging int) []analyse.Host {
	hosts := make([]analyse.Host, n)
	for i := range hosts {
		hosts[i] = analyse.Host{Name: fmt.Sprintf("shop%02d", i+1), Dumps: []*dump.Dump{works()}}
		if i < hanging {
			hosts[i].Dumps = []*dump.Dump{hangs()}
		}
	}
	return hosts
}

func said(findings []analyse.Finding) string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, string(f.Severity)+": "+f.String())
	}
	return strings.Join(lines, "\n")
}

func TestGroupHangs(t *testing.T) {
	t.Parallel()
	hosts := fleet(20, 17)
	slices.Reverse(hosts)
	g := analyse.Group(hosts, analyse.Options{})
	want := `alarm: 17 of 20 hosts hang in ` + "`HikariPool.getConnection`" + `: 1530 threads, each waits for a connection.
alarm: On 17 of 20 hosts: 1530 of 1700 threads wait for a connection from HikariCP in ` + "`HikariPool.getConnection`" + `: the pool has none to give. 170 threads deal with the database meanwhile: look at what takes so long there.
alarm: On 17 of 20 hosts: pool ` + "`http-nio-8080-exec`" + ` is exhausted: all its 1700 threads are busy, 1530 of them in ` + "`HikariPool.getConnection`" + `, where each waits for a connection. What comes now waits in its queue.
warning: ` + "`shop18`" + ` differs from its neighbours: 0 threads in ` + "`HikariPool.getConnection`" + `, the median of the others is 90.`
	if got := said(g.Findings); !strings.HasPrefix(got, want) {
		t.Errorf("the group's findings are\n%s\nwant\n%s", got, want)
	}
	f := g.Verdict()
	at := slices.IndexFunc(g.Clusters, func(c analyse.Cluster) bool { return c.Key == f.Key })
	if at < 0 || len(g.Clusters[at].Hosts) != 17 {
		t.Fatalf("the verdict's key %q leads to no cluster of 17 hosts", f.Key)
	}
	share := g.Clusters[at].Hosts[0]
	if share.Name != "shop01" || share.Threads != 90 || share.Of != 100 || len(share.IDs) != 90 || len(share.Groups) != 1 {
		t.Errorf("the cluster's first host is %+v", share)
	}
	if key := share.Groups[0]; !slices.ContainsFunc(g.Hosts[0].Report.Groups, func(s analyse.StackGroup) bool { return s.Key == key && s.Threads == 90 && len(s.IDs) == 90 }) {
		t.Errorf("the host has no group %q of 90 threads", key)
	}
	for i, h := range g.Hosts {
		if h.Outlier != (i >= 17) {
			t.Errorf("%s is an outlier: %v", h.Name, h.Outlier)
		}
	}
	if g.Flame.Root.Total != 2000 {
		t.Errorf("the flame is of %d threads, want 2000", g.Flame.Root.Total)
	}
}

func TestTwoCampsHaveNoOutlier(t *testing.T) {
	t.Parallel()
	for _, h := range analyse.Group(fleet(20, 10), analyse.Options{}).Hosts {
		if h.Outlier {
			t.Errorf("%s is an outlier of two camps: %v", h.Name, h.Differs)
		}
	}
}

func TestOneHostBesideOthers(t *testing.T) {
	t.Parallel()
	hosts := append(fleet(5, 0), analyse.Host{Name: "shop99", Dumps: []*dump.Dump{jvm(0, deadlocked()...)}}, analyse.Host{Name: "shop98"})
	g := analyse.Group(hosts, analyse.Options{})
	if got, want := g.Verdict().String(), "On shop99: deadlock: `transfer-1`, `transfer-2` and `transfer-3` wait for each other"; !strings.HasPrefix(got, want) {
		t.Errorf("the verdict is %q, want %q", got, want)
	}
	if !strings.Contains(said(g.Findings), "On shop98: there is no dump.") {
		t.Errorf("the host without a dump is not told of:\n%s", said(g.Findings))
	}
	beside := g.Beside("shop99")
	if len(beside) < 2 || beside[0].State != dump.Waiting || beside[0].Median != 97 || beside[1].Kind != analyse.ByThreads || beside[1].Threads != 4 || beside[1].Median != 100 || !beside[1].Far {
		t.Errorf("beside the others it is %+v", beside)
	}
	if !slices.ContainsFunc(beside, func(d analyse.Deviation) bool {
		return d.Kind == analyse.ByFinding && d.Finding == analyse.Deadlocked && d.Far
	}) {
		t.Errorf("the deadlock that the others lack is not told: %+v", beside)
	}
	if g.Beside("nowhere") != nil {
		t.Error("a host that is not there has neighbours")
	}
}

func TestGroupWithNothing(t *testing.T) {
	t.Parallel()
	for want, hosts := range map[string][]analyse.Host{
		"Nothing stands out in 400 threads on 4 hosts. Looked at: deadlocks, queues for locks,": fleet(4, 0),
		"There is no dump.":                       nil,
		"On shop1: there is no dump.":             {{Name: "shop1"}},
		"On 2 of 2 hosts: there is no dump.":      {{Name: "shop1"}, {Name: "shop2"}},
		"On shop1: there are no threads in the d": {{Name: "shop1", Dumps: []*dump.Dump{jvm(0)}}},
	} {
		g := analyse.Group(hosts, analyse.Options{})
		if got := g.Verdict().String(); !strings.HasPrefix(got, want) {
			t.Errorf("the verdict is %q, want %q", got, want)
		}
		if _, err := json.Marshal(g); err != nil {
			t.Error(err)
		}
	}
}

// What stands out on no host more than by the way is still what there is to say,
// before what could not be read.
func TestNotesOfHosts(t *testing.T) {
	t.Parallel()
	one := func(nth int) *dump.Dump {
		return changed(jvm(nth, thread(1, "sync", dump.Running, inQuery), thread(2, "main", dump.Waiting, inIdle)), func(d *dump.Dump) {
			d.Rest = []dump.Fragment{{Line: 4, Text: "one\n"}}
		})
	}
	dumps := []*dump.Dump{one(0), one(1)}
	alone := analyse.Series(dumps, analyse.Options{}).Verdict()
	if alone.Kind != analyse.StuckThreads || alone.Severity != analyse.Note {
		t.Fatalf("the series says %s", alone)
	}
	for want, hosts := range map[string][]analyse.Host{
		"On shop1: 1 of 2 threads stood on the same frame in all": {{Name: "shop1", Dumps: dumps}},
		"On 2 of 2 hosts: 2 of 4 threads stood on the same frame": {{Name: "shop1", Dumps: dumps}, {Name: "shop2", Dumps: dumps}},
		"On shop1: 1 of 2 threads stood on the same":              {{Name: "shop1", Dumps: dumps}, {Name: "shop2", Dumps: dumps[:1]}},
	} {
		g := analyse.Group(hosts, analyse.Options{})
		if got := g.Verdict().String(); !strings.HasPrefix(got, want) {
			t.Errorf("the verdict is %q, want %q", got, want)
		}
		if got := said(g.Findings); strings.Contains(got, "Nothing stands out") || !strings.Contains(got, "not understood") {
			t.Errorf("the findings are\n%s", got)
		}
	}
}

// Each process calls Jetty's pool by a hash of its own.
func TestOnePoolByManyNames(t *testing.T) {
	t.Parallel()
	var hosts []analyse.Host
	for _, hash := range []string{"1490180672", "777001234", "98765432"} {
		hosts = append(hosts, analyse.Host{Name: "shop" + hash[:1], Dumps: []*dump.Dump{jvm(0, many(31, 12, "qtp"+hash+"-", dump.Running, inQuery)...)}})
	}
	got := said(analyse.Group(hosts, analyse.Options{}).Findings)
	if want := "On 3 of 3 hosts: pool `qtp1490180672` is exhausted: all its 36 threads are busy"; !strings.Contains(got, want) || strings.Count(got, "is exhausted") != 1 {
		t.Errorf("%q is not said, once:\n%s", want, got)
	}
}

func TestQueuesOnSeveralHosts(t *testing.T) {
	t.Parallel()
	other := queue(dump.Running, inQuery)
	other[16].Name = "http-17b"
	g := analyse.Group([]analyse.Host{{Name: "a", Dumps: []*dump.Dump{jvm(0, queue(dump.Running, inQuery)...)}}, {Name: "b", Dumps: []*dump.Dump{jvm(0, other...)}}}, analyse.Options{})
	want := "On 2 of 2 hosts: 78 of 80 threads wait for one thread of their host, which waits for the database in `Cart.load` and holds the lock `Stock`."
	if !strings.Contains(said(g.Findings), want) {
		t.Errorf("%q is not said:\n%s", want, said(g.Findings))
	}
}

// What each host says by itself is counted over all who say the same, as the
// report of the group counts it.
func TestTogetherCountsAllHosts(t *testing.T) {
	t.Parallel()
	hosts := fleet(4, 3)
	g := analyse.Group(hosts, analyse.Options{})
	verdicts := map[string]analyse.Finding{}
	for _, h := range g.Hosts {
		verdicts[h.Name] = h.Verdict
	}
	f, ok := analyse.Together(verdicts)
	want := "On 3 of 4 hosts: 270 of 300 threads wait for a connection from HikariCP in `HikariPool.getConnection`"
	if !ok || !strings.HasPrefix(f.String(), want) || !strings.Contains(said(g.Findings), f.String()) || len(f.IDs) > 0 {
		t.Errorf("together they say %q, want %q, which is in what the group says:\n%s", f, want, said(g.Findings))
	}
	alone, _ := analyse.Together(map[string]analyse.Finding{"shop01": verdicts["shop01"]})
	if alone.String() != verdicts["shop01"].String() {
		t.Errorf("one host alone says %q, want %q", alone, verdicts["shop01"])
	}
	if f, ok := analyse.Together(nil); ok {
		t.Errorf("no hosts say %q", f)
	}
}
