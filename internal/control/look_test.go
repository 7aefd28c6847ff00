package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

var (
	then  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	shelf = []restart.Scenario{
		{Name: "any-restart", Serial: 3, Digest: "d3", Services: []string{"*"}},
		{Name: "db-restart", Serial: 1, Digest: "d1", Services: []string{"postgres"}},
	}
)

func asked() look {
	return look{host: restart.Host{Name: "web1.example.com"}, sent: then, took: 10 * time.Millisecond, program: "1.4.2", shelf: shelf}
}

// sound is what a host says with which nothing is wrong.
func sound() protocol.CheckReport {
	return protocol.CheckReport{
		Version: protocol.Version, Program: "1.4.2", Host: "web1.example.com", Clock: then.Add(4 * time.Millisecond), Containment: "cgroup (below /x)", Review: "files",
		Certificate: &protocol.CertificateReport{NotAfter: then.Add(200 * 24 * time.Hour)}, Services: []string{"nginx"},
		Scenarios: []protocol.AcceptedScenario{{Name: "any-restart", Serial: 3, Digest: "d3"}},
	}
}

// TestOneStateOfEach: what is wrong with a host, what it is called, and what
// to do about it.
func TestOneStateOfEach(t *testing.T) {
	problem := *restart.Errorf(restart.CodeDiskFull, "the spool is full").WithHint("make room")
	for name, c := range map[string]struct {
		change func(r *protocol.CheckReport)
		state  wire.HostState
		code   restart.Code
		says   string
	}{
		"sound":                 {func(*protocol.CheckReport) {}, wire.HostReady, "", ""},
		"an hour ahead":         {func(r *protocol.CheckReport) { r.Clock = then.Add(time.Hour) }, wire.HostClock, restart.CodeClockSkew, "1 hour ahead of"},
		"an hour behind":        {func(r *protocol.CheckReport) { r.Clock = then.Add(-time.Hour) }, wire.HostClock, restart.CodeClockSkew, "1 hour behind"},
		"3 minor versions old":  {func(r *protocol.CheckReport) { r.Program = "1.1.9" }, wire.HostVersion, restart.CodeConflict, "upgrade the agent"},
		"3 minor versions new":  {func(r *protocol.CheckReport) { r.Program = "1.7.0" }, wire.HostVersion, restart.CodeConflict, "upgrade the server"},
		"another major version": {func(r *protocol.CheckReport) { r.Program = "2.4.2" }, wire.HostVersion, restart.CodeConflict, "newer"},
		"2 minor versions old":  {func(r *protocol.CheckReport) { r.Program = "1.2.0-dev" }, wire.HostReady, "", ""},
		"built by hand":         {func(r *protocol.CheckReport) { r.Program = "unknown" }, wire.HostReady, "", ""},
		"its own problem":       {func(r *protocol.CheckReport) { r.Problems = []restart.Error{problem} }, wire.HostProblem, restart.CodeDiskFull, "make room"},
		"another name":          {func(r *protocol.CheckReport) { r.Host = "web2" }, wire.HostProblem, restart.CodeWrongHost, `"web2"`},
		"a scenario is missing": {func(r *protocol.CheckReport) { r.Scenarios = nil }, wire.HostTrust, restart.CodeNotReviewed, "missing: any-restart"},
		"an older serial": {func(r *protocol.CheckReport) {
			r.Scenarios = []protocol.AcceptedScenario{{Name: "any-restart", Serial: 2, Digest: "d2"}}
		}, wire.HostTrust, restart.CodeNotReviewed, "older: any-restart (serial 2, the server has 3)"},
		"a newer serial": {func(r *protocol.CheckReport) {
			r.Scenarios = []protocol.AcceptedScenario{{Name: "any-restart", Serial: 4, Digest: "d4"}}
		}, wire.HostTrust, restart.CodeNotReviewed, "newer than the server's: any-restart (serial 4"},
		"other bytes": {func(r *protocol.CheckReport) {
			r.Scenarios = []protocol.AcceptedScenario{{Name: "any-restart", Serial: 3, Digest: "dx"}}
		}, wire.HostTrust, restart.CodeNotReviewed, "of other bytes: any-restart (serial 3)"},
		"older ones beside": {func(r *protocol.CheckReport) {
			r.Scenarios = append(r.Scenarios, protocol.AcceptedScenario{Name: "any-restart", Serial: 2, Digest: "d2"})
		}, wire.HostReady, "", ""},
		"no service is listed": {func(r *protocol.CheckReport) { r.Services, r.Scenarios = nil, nil }, wire.HostReady, "", ""},
		"a service of its own": {func(r *protocol.CheckReport) { r.Services = []string{"postgres"} }, wire.HostTrust, restart.CodeNotReviewed, "missing: db-restart"},
	} {
		r := sound()
		c.change(&r)
		hc := asked().judge(r, nil)
		if hc.State != c.state {
			t.Errorf("%s: %s (%v), want %s", name, hc.State, hc.Error, c.state)
			continue
		}
		if c.state == wire.HostReady {
			if hc.Error != nil {
				t.Errorf("%s: %v", name, hc.Error)
			}
			continue
		}
		if hc.Error.Code != c.code || hc.Error.Hint == "" || !strings.Contains(hc.Error.Error(), c.says) {
			t.Errorf("%s: %s %v", name, hc.Error.Code, hc.Error)
		}
	}
}

// TestTheGravestIsTheState, and nothing of the rest is lost.
func TestTheGravestIsTheState(t *testing.T) {
	r := sound()
	r.Clock, r.Program, r.Scenarios = then.Add(time.Minute), "1.0.0", nil
	r.Problems = []restart.Error{*restart.Errorf(restart.CodeDiskFull, "full"), *restart.Errorf(restart.CodeWrongGroup, "group")}
	hc := asked().judge(r, nil)
	var also []string
	for _, f := range hc.Also {
		also = append(also, string(f.State)+" "+f.Error.Message[:4])
	}
	if hc.State != wire.HostClock || !slices.Equal(also, []string{"version the ", "problem full", "problem grou", "trust scen"}) {
		t.Errorf("%s, also %q", hc.State, also)
	}
}

func TestWarnings(t *testing.T) {
	r := sound()
	r.Clock, r.Program, r.Review = then.Add(3*time.Second), "1.3.0", "by dice"
	r.Certificate.NotAfter = then.Add(9 * 24 * time.Hour)
	r.Warnings = []protocol.Warning{{Kind: protocol.WarnContainment, Message: "by process\x1b group", Hint: "set Delegate=yes"}}
	hc := asked().judge(r, nil)
	if hc.State != wire.HostReady || hc.Skew.Std() != 2995*time.Millisecond {
		t.Errorf("%s, skew %s", hc.State, hc.Skew)
	}
	var got []string
	for _, w := range hc.Warnings {
		if w.Hint == "" {
			t.Errorf("%s has no hint: %s", w.Kind, w.Message)
		}
		got = append(got, string(w.Kind)+": "+w.Message)
	}
	want := []string{
		`containment: by process\x1b group`, `review: it decides what is reviewed in a way that this server does not know: "by dice"`,
		"clock: the host's clock is 3 seconds ahead of the server's", "version: the agent is version 1.3.0, the server 1.4.2", "certificate: the agent's certificate ends in 9 days (2026-03-10 12:00 UTC)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	r.Certificate.NotAfter, r.Warnings, r.Weaker = then.Add(20*time.Hour), nil, []string{"the agent is not root: …"}
	hc = asked().judge(r, nil)
	text := fmt.Sprint(hc.Warnings)
	if !strings.Contains(text, "in 20 hours") || !strings.Contains(text, "{other the agent is not root") {
		t.Errorf("%s", text)
	}
}

func TestWhyAHostDoesNotAnswer(t *testing.T) {
	for _, c := range []struct {
		err  error
		want wire.HostState
	}{
		{dispatch.Unreached("web1", dispatch.Unresolved), wire.HostNoRoute},
		{dispatch.Unreached("web1", dispatch.NoRoute), wire.HostNoRoute},
		{dispatch.Unreached("web1", dispatch.Silent), wire.HostSilent},
		{dispatch.Unreached("web1", dispatch.Closed), wire.HostClosed},
		{dispatch.Unreached("web1", dispatch.NoAgent), wire.HostNoAgent},
		{&dispatch.NotSentError{Err: restart.Errorf(restart.CodeCertificate, "expired")}, wire.HostCertificate},
		{&dispatch.NotSentError{Err: restart.Errorf(restart.CodeRevoked, "revoked")}, wire.HostCertificate},
		{&dispatch.RefusedError{Err: restart.Errorf(restart.CodeUnauthorised, "a certificate is needed")}, wire.HostCertificate},
		{&dispatch.RefusedError{Err: restart.Errorf(restart.CodeUnknownService, "no")}, wire.HostProblem},
		{fmt.Errorf("no answer: %w", context.DeadlineExceeded), wire.HostSilent},
		{errors.New("web1 answered 404 Not Found, not as an agent does"), wire.HostNoAgent},
	} {
		hc := asked().judge(protocol.CheckReport{}, c.err)
		if hc.State != c.want || hc.Error == nil || hc.Report != nil || (c.want == wire.HostSilent || c.want == wire.HostNoAgent) && hc.Error.Hint == "" {
			t.Errorf("%v: %s, want %s", c.err, hc.State, c.want)
		}
	}
}

// TestEveryStateIsListed: the list is the order of gravity and of the API.
func TestEveryStateIsListed(t *testing.T) {
	all := wire.HostStates()
	for _, s := range []wire.HostState{
		wire.HostNoRoute, wire.HostSilent, wire.HostClosed, wire.HostNoAgent, wire.HostCertificate, wire.HostClock, wire.HostVersion, wire.HostProblem, wire.HostTrust, wire.HostReady,
	} {
		if !slices.Contains(all, s) {
			t.Errorf("%s is not listed", s)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{"1.2.3": "[1 2] true", "v0.10": "[0 10] true", "0.1.0-dev": "[0 1] true", "unknown": "[0 0] false", "1.x": "[1 0] false", "": "[0 0] false"} {
		v, ok := parseVersion(text)
		if got := fmt.Sprint(v, ok); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
