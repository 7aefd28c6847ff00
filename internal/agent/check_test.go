package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func kinds(r protocol.CheckReport) (out []protocol.WarningKind) {
	for _, w := range r.Warnings {
		out = append(out, w.Kind)
	}
	return out
}

func codes(r protocol.CheckReport) (out []restart.Code) {
	for _, p := range r.Problems {
		out = append(out, p.Code)
	}
	return out
}

func TestWhatAHostSaysOfItself(t *testing.T) {
	b := newBed(t)
	b.script("true")
	b.scenario("shell: /opt/no/such/shell\nsteps:\n  run: {script: \"true\"}\n")
	r := b.start()
	var report protocol.CheckReport
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, &report))
	if report.User == "" || report.Init == "" || !strings.HasPrefix(report.Memory, "sealed") || report.Spool == nil || report.Spool.Path != b.spoolDir ||
		report.Spool.Free <= 0 || report.Spool.Total < report.Spool.Free || !slices.Contains(report.Shells, "/bin/sh") || !slices.Equal(report.Services, []string{testService}) {
		t.Errorf("%+v, spool %+v", report, report.Spool)
	}
	if len(report.Problems) > 0 {
		t.Errorf("problems %+v", report.Problems)
	}
	if !slices.ContainsFunc(report.Warnings, func(w protocol.Warning) bool {
		return w.Kind == protocol.WarnScenario && strings.Contains(w.Message, "/opt/no/such/shell") && w.Hint != ""
	}) {
		t.Errorf("the shell that is not here is not told: %+v", report.Warnings)
	}
	if len(report.Weaker) != len(report.Warnings) {
		t.Errorf("an older server would see %q of %+v", report.Weaker, report.Warnings)
	}

	b.write("services.d/typo.yaml", []byte("pakage: x\n"), 0o644)
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, &report))
	if !slices.Equal(codes(report), []restart.Code{restart.CodeUnknownService}) {
		t.Errorf("problems %+v", report.Problems)
	}
	var other protocol.CheckReport
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{Service: testService}, &other))
	if len(other.Problems) > 0 {
		t.Errorf("another service's file is no problem of this one: %+v", other.Problems)
	}
	b.must(os.Remove(b.path("services.d/typo.yaml")))
	b.must(os.Remove(b.path("services.d/" + testService + ".yaml")))
	report = protocol.CheckReport{}
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, &report))
	if !slices.Contains(kinds(report), protocol.WarnServices) || len(report.Problems) > 0 {
		t.Errorf("%+v, problems %+v", report.Warnings, report.Problems)
	}
}

// TestAHostThatDoesNotSayAsWhom: a service without user: in services.d is not
// ready for what leaves that to the host.
func TestAHostThatDoesNotSayAsWhom(t *testing.T) {
	b := newBed(t)
	b.scenario("steps:\n  run: {script: \"true\"}\n")
	r := b.start()
	check := func() (report protocol.CheckReport) {
		t.Helper()
		b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{Service: testService}, &report))
		return report
	}
	if got := check(); len(got.Problems) > 0 {
		t.Fatalf("problems %+v", got.Problems)
	}
	text, err := os.ReadFile(b.path("services.d/" + testService + ".yaml"))
	b.must(err)
	for _, user := range []string{"", "user: nobody-here"} {
		b.write("services.d/"+testService+".yaml", regexp.MustCompile(`(?m)^user:.*$`).ReplaceAll(text, []byte(user)), 0o644)
		if got := check(); len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Hint, "user:") {
			t.Errorf("%q: problems %+v", user, got.Problems)
		}
	}
	// What says itself as whom it runs is not concerned, and the rest is named.
	b.write("scenarios.d/other.yaml", []byte("format: 1\nname: other\nserial: 1\nauthor: anna@example.com\nkind: custom\nservices: [shop]\ndescription: for a test\nrun_as: root\nsteps:\n  run: {script: \"true\"}\n"), 0o644)
	if got := check(); len(got.Problems) != 0 || !slices.Contains(kinds(got), protocol.WarnServices) {
		t.Errorf("problems %+v, warnings %+v", got.Problems, got.Warnings)
	}
}

// TestAPlanMeetsAShellThatIsNotThere: before the task, not in it.
func TestAPlanMeetsAShellThatIsNotThere(t *testing.T) {
	b := newBed(t)
	digest := b.scenario("shell: /opt/no/such/shell\nsteps:\n  run: {script: \"true\"}\n")
	r := b.start()
	var report protocol.CheckReport
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{Service: testService, Digest: digest}, &report))
	if !slices.Equal(codes(report), []restart.Code{restart.CodeNotInstalled}) {
		t.Errorf("problems %+v", report.Problems)
	}
}

func TestAFullSpoolIsTold(t *testing.T) {
	b := newBed(t)
	b.smallSpool("2m")
	r := b.start()
	var report protocol.CheckReport
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, &report))
	if !slices.Contains(kinds(report), protocol.WarnSpool) || len(report.Problems) > 0 {
		t.Errorf("2 MiB: %+v, problems %+v", report.Warnings, report.Problems)
	}
	release := b.fill()
	report = protocol.CheckReport{}
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{Service: testService}, &report))
	if !slices.Equal(codes(report), []restart.Code{restart.CodeDiskFull}) || slices.Contains(kinds(report), protocol.WarnSpool) {
		t.Errorf("full: %+v, problems %+v", report.Warnings, report.Problems)
	}
	release()
}

func TestDiscoverSaysThatThereIsNoSystemd(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs here: the fleet's tests look at it")
	}
	b := newBed(t)
	r := b.start()
	var report protocol.DiscoverReport
	wantCode(t, r.call(http.MethodPost, "/v1/discover", protocol.DiscoverRequest{}, &report), restart.CodeUnavailable)
}

// TestDiscoverBeforeThereAreSettings: a person looks before the host has joined.
func TestDiscoverBeforeThereAreSettings(t *testing.T) {
	_, err := agent.DiscoverHere(t.Context(), filepath.Join(t.TempDir(), "agent.yaml"), protocol.DiscoverRequest{Unit: "nginx*"})
	if code := restart.CodeOf(err); code != "" && code != restart.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestContainmentHints(t *testing.T) {
	for why, want := range map[string]string{
		"cgroup: off in agent.yaml": "take cgroup: off out",
		"the agent's cgroup is not delegated to it (Delegate=yes in its unit)": "set Delegate=yes",
		"this kernel has no cgroup v2":                                         "cgroup v2",
	} {
		f := agent.FeaturesHere("", why)
		i := slices.IndexFunc(f.Warnings, func(w protocol.Warning) bool { return w.Kind == protocol.WarnContainment })
		if i < 0 || !strings.Contains(f.Warnings[i].Hint, want) || !strings.Contains(f.Warnings[i].Message, why) {
			t.Errorf("%s: %+v", why, f.Warnings)
		}
	}
	for _, w := range agent.FeaturesHere("/sys/fs/cgroup/x", "below it").Warnings {
		if w.Kind == protocol.WarnContainment {
			t.Errorf("%+v", w)
		}
	}
}
