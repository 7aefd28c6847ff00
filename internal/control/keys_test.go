package control

import (
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// What a host obeys is compared with what the server signs with.
func TestEnvelopeKeysAreCompared(t *testing.T) {
	for name, c := range map[string]struct {
		there, ours []string
		state       wire.HostState
		warns       bool
	}{
		"the same":                 {[]string{"a"}, []string{"a"}, wire.HostReady, false},
		"an older agent":           {nil, []string{"a"}, wire.HostReady, false},
		"both":                     {[]string{"a", "b"}, []string{"b", "a"}, wire.HostReady, false},
		"not the one in use":       {[]string{"a"}, []string{"b", "a"}, wire.HostTrust, false},
		"not the next":             {[]string{"a"}, []string{"a", "b"}, wire.HostReady, true},
		"one that nobody here has": {[]string{"a", "c"}, []string{"a"}, wire.HostReady, true},
	} {
		l, r := asked(), sound()
		l.keys, r.EnvelopeKeys = c.ours, c.there
		hc := l.judge(r, nil)
		warned := false
		for _, w := range hc.Warnings {
			warned = warned || w.Kind == protocol.WarnKeys
		}
		if hc.State != c.state || warned != c.warns || c.state == wire.HostTrust && hc.Error.Code != restart.CodeBadSignature {
			t.Errorf("%s: %s, %v, warnings %+v", name, hc.State, hc.Error, hc.Warnings)
		}
	}
}

// A host that trusts signatures lacks nothing that its server lays, and has
// not gone back where the server has.
func TestSignedHostLacksNothing(t *testing.T) {
	for name, c := range map[string]struct {
		lays  bool
		has   []protocol.AcceptedScenario
		state wire.HostState
	}{
		"laid later":                 {true, nil, wire.HostReady},
		"an older one, laid later":   {true, []protocol.AcceptedScenario{{Name: "any-restart", Serial: 2, Digest: "d2"}}, wire.HostReady},
		"a server that lays nothing": {false, nil, wire.HostTrust},
		"a newer one":                {true, []protocol.AcceptedScenario{{Name: "any-restart", Serial: 4, Digest: "d4"}}, wire.HostTrust},
	} {
		l, r := asked(), sound()
		l.lays, r.Review, r.Scenarios = c.lays, "signed", c.has
		if hc := l.judge(r, nil); hc.State != c.state {
			t.Errorf("%s: %s, %v", name, hc.State, hc.Error)
		}
	}
}
