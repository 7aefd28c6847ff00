package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	// noticeSkew is how far a clock may be off without a word.
	noticeSkew = time.Second
	// soonOver is when a certificate's end is worth a warning.
	soonOver = 30 * 24 * time.Hour
	// apart is how many minor versions agent and server may be from each other.
	apart = 2
)

// look is one host as it was asked.
type look struct {
	host    restart.Host
	service string        // that was asked about; "" = none
	sent    time.Time     // by the server's clock
	took    time.Duration // until the answer
	program string        // the server's version
	shelf   []restart.Scenario
	lays    bool     // the server lays signed versions on hosts that trust signatures
	keys    []string // the server's envelope keys, the one in use first; nil = not compared
}

// judge makes one state of what a host says, or of its silence. It is pure.
func (l look) judge(report protocol.CheckReport, err error) wire.HostCheck {
	hc := wire.HostCheck{Host: l.host, State: wire.HostReady}
	if err != nil {
		hc.State = stateOf(err)
		hc.Error = l.whySilent(hc.State, err)
		return hc
	}
	tidy(&report)
	hc.Report = &report
	var found []wire.HostFinding
	find := func(state wire.HostState, e *restart.Error) {
		if e != nil {
			found = append(found, wire.HostFinding{State: state, Error: e})
		}
	}
	hc.Warnings = warningsOf(report)
	warn := func(kind protocol.WarningKind, e *restart.Error) {
		if e != nil {
			hc.Warnings = append(hc.Warnings, protocol.Warning{Kind: kind, Message: e.Message, Hint: e.Hint})
		}
	}
	if skew := report.Clock.Sub(l.sent.Add(l.took / 2)); skew > l.took || skew < -l.took {
		hc.Skew = restart.Duration(skew.Round(time.Millisecond))
	}
	wrong, doubt := judgeClock(hc.Skew.Std())
	find(wire.HostClock, wrong)
	warn(protocol.WarnClock, doubt)
	wrong, doubt = judgeVersion(report.Program, l.program)
	find(wire.HostVersion, wrong)
	warn(protocol.WarnVersion, doubt)
	warn(protocol.WarnCertificate, judgeEnd(report.Certificate, l.sent, l.host.Name))
	if report.Host != l.host.Name {
		find(wire.HostProblem, restart.Errorf(restart.CodeWrongHost, "the agent calls itself %s", restart.Quote(report.Host)).
			WithHint("correct host: in its agent.yaml; it would refuse every task for %s", l.host.Name))
	}
	for _, p := range report.Problems {
		find(wire.HostProblem, new(p))
	}
	find(wire.HostTrust, l.judgeTrust(report))
	wrong, doubt = judgeKeys(report.EnvelopeKeys, l.keys)
	find(wire.HostTrust, wrong)
	warn(protocol.WarnKeys, doubt)

	rank := func(f wire.HostFinding) int { return slices.Index(wire.HostStates(), f.State) }
	slices.SortStableFunc(found, func(a, b wire.HostFinding) int { return rank(a) - rank(b) })
	if len(found) > 0 {
		hc.State, hc.Error, hc.Also = found[0].State, found[0].Error, found[1:]
	}
	return hc
}

// judgeKeys compares the envelope keys that are good on the host with the
// server's. An older agent does not tell of them.
func judgeKeys(there, ours []string) (wrong, doubt *restart.Error) {
	if len(there) == 0 || len(ours) == 0 {
		return nil, nil
	}
	if !slices.Contains(there, ours[0]) {
		return restart.Errorf(restart.CodeBadSignature, "the host does not obey the envelope key that this server signs with, %s", ours[0]).
			WithHint("lay the server's key into the files that envelope_keys in its agent.yaml names, or join it again"), nil
	}
	for _, k := range ours[1:] {
		if !slices.Contains(there, k) {
			return nil, restart.Errorf(restart.CodeBadSignature, "the host does not know the server's other envelope key yet, %s", k).
				WithHint("the server tells its hosts every five minutes; do not use that key before all know it")
		}
	}
	for _, k := range there {
		if !slices.Contains(ours, k) {
			return nil, restart.Errorf(restart.CodeBadSignature, "the host obeys an envelope key that this server does not have: %s", restart.Quote(k)).
				WithHint("of another server, or one that was dropped: then take it out of the files that envelope_keys in its agent.yaml names")
		}
	}
	return nil, nil
}

// whySilent gives a sentence with what to do, also for what no sentence was
// made for.
func (l look) whySilent(state wire.HostState, err error) *restart.Error {
	_, ours := errors.AsType[*restart.Error](err)
	switch {
	case ours:
		return personal(err)
	case state == wire.HostSilent:
		return dispatch.Unreached(l.host.Name, dispatch.Silent).Err
	}
	return restart.Errorf(restart.CodeUnreachable, "%s", restart.Escape(err.Error())).
		WithHint("%s", dispatch.Unreached(l.host.Name, dispatch.NoAgent).Err.Hint)
}

// stateOf names why a host has not answered with a report.
func stateOf(err error) wire.HostState {
	switch dispatch.ReachOf(err) {
	case dispatch.Unresolved, dispatch.NoRoute:
		return wire.HostNoRoute
	case dispatch.Silent:
		return wire.HostSilent
	case dispatch.Closed:
		return wire.HostClosed
	case dispatch.NoAgent:
		return wire.HostNoAgent
	}
	e, ours := errors.AsType[*restart.Error](err)
	var timeout net.Error
	switch {
	case ours && (e.Code == restart.CodeCertificate || e.Code == restart.CodeRevoked || e.Code == restart.CodeUnauthorised):
		return wire.HostCertificate
	case ours && e.Code == restart.CodeUnreachable, errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return wire.HostSilent
	case ours:
		return wire.HostProblem // its own words
	}
	return wire.HostNoAgent
}

// tidy makes what came from the host harmless for one line each.
func tidy(r *protocol.CheckReport) {
	for _, s := range []*string{&r.Program, &r.Containment, &r.Memory, &r.User, &r.Init, &r.Review} {
		*s = clip(*s)
	}
	for i := range r.Warnings {
		w := &r.Warnings[i]
		w.Message, w.Hint = clip(w.Message), clip(w.Hint)
	}
	for i := range r.Problems {
		p := &r.Problems[i]
		p.Message, p.Hint = clip(p.Message), clip(p.Hint)
	}
	r.EnvelopeKeys = r.EnvelopeKeys[:min(len(r.EnvelopeKeys), 16)]
	if r.Signing != nil {
		r.Signing.Signers = r.Signing.Signers[:min(len(r.Signing.Signers), protocol.MaxSigners)]
		for i := range r.Signing.Signers {
			s := &r.Signing.Signers[i]
			s.Fingerprint, s.Not = clip(s.Fingerprint), clip(s.Not)
			for j := range s.Principals {
				s.Principals[j] = clip(s.Principals[j])
			}
		}
	}
	for i := range r.Weaker {
		r.Weaker[i] = clip(r.Weaker[i])
	}
}

// warningsOf gives the host's own warnings; an agent that knows none has only
// sentences about what is weaker there.
func warningsOf(r protocol.CheckReport) []protocol.Warning {
	out := slices.Clone(r.Warnings)
	if out == nil {
		for _, text := range r.Weaker {
			out = append(out, protocol.Warning{Kind: protocol.WarnOther, Message: text})
		}
	}
	if r.Review != "files" && r.Review != "signed" {
		out = append(out, protocol.Warning{
			Kind: protocol.WarnReview, Message: "it decides what is reviewed in a way that this server does not know: " + restart.Quote(r.Review), Hint: "bring server and agent to one version",
		})
	}
	return out
}

func judgeClock(skew time.Duration) (wrong, doubt *restart.Error) {
	off := func(exact time.Duration) *restart.Error {
		amount := restart.Span(skew.Abs().Round(exact))
		if skew < 0 {
			return restart.Errorf(restart.CodeClockSkew, "the host's clock is %s behind the server's", amount)
		}
		return restart.Errorf(restart.CodeClockSkew, "the host's clock is %s ahead of the server's", amount)
	}
	switch amount := skew.Abs(); {
	case amount > protocol.MaxSkew:
		return off(time.Second).WithHint("have both clocks set (chrony, systemd-timesyncd): timedatectl says which one is wrong; tasks are refused beyond %s", restart.Span(protocol.MaxSkew)), nil
	case amount > noticeSkew:
		return nil, off(100*time.Millisecond).WithHint("have both clocks set (chrony, systemd-timesyncd); tasks are refused beyond %s", restart.Span(protocol.MaxSkew))
	}
	return nil, nil
}

func judgeVersion(agent, server string) (wrong, doubt *restart.Error) {
	if agent == server {
		return nil, nil
	}
	a, okA := parseVersion(agent)
	s, okS := parseVersion(server)
	if !okA || !okS { // built by hand
		return nil, nil
	}
	older, hint := "older", "upgrade the agent: install the server's version of restartilka-agent there; its tasks go on meanwhile"
	if a[0] > s[0] || a[0] == s[0] && a[1] > s[1] {
		older, hint = "newer", "upgrade the server: it goes before its agents"
	}
	said := fmt.Sprintf("the agent is version %s, the server %s", agent, server)
	if a[0] != s[0] || a[1]-s[1] > apart || s[1]-a[1] > apart {
		return restart.Errorf(restart.CodeConflict, "%s: the agent is more than %d minor versions %s", said, apart, older).WithHint("%s", hint), nil
	}
	return nil, restart.Errorf(restart.CodeConflict, "%s", said).WithHint("they work together; %s", hint)
}

// parseVersion reads major and minor of "1.2.3", with whatever follows.
func parseVersion(s string) (v [2]int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(s, "v"), ".", 3)
	if len(parts) < 2 {
		return v, false
	}
	for i := range v {
		n, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil {
			return v, false
		}
		v[i] = int(n)
	}
	return v, true
}

func judgeEnd(c *protocol.CertificateReport, now time.Time, host string) *restart.Error {
	if c == nil || c.NotAfter.Sub(now) >= soonOver {
		return nil
	}
	const day = 24 * time.Hour
	left := c.NotAfter.Sub(now)
	if left >= 2*day {
		left = left.Truncate(day)
	}
	return restart.Errorf(restart.CodeCertificate, "the agent's certificate ends in %s (%s)", restart.Span(left.Round(time.Hour)), c.NotAfter.UTC().Format("2006-01-02 15:04 UTC")).
		WithHint("issue a new one: restartilka host issue %s; laid onto the host it is taken up without a restart", host)
}

// newest gives the newest version of each scenario on the shelf.
func newest(folder *scenario.Folder) []restart.Scenario {
	out := []restart.Scenario{}
	for _, f := range folder.Files() {
		if n, ok := folder.ByName(f.Scenario.Name); ok && n.Scenario.Digest == f.Scenario.Digest {
			out = append(out, f.Scenario)
		}
	}
	return out
}

// judgeTrust compares what the host would accept with the shelf: the newest
// version of each scenario that fits the service asked about, or else one of
// the services that the host lists.
//
// What a host that trusts signatures does not have yet, its server lays.
func (l look) judgeTrust(r protocol.CheckReport) *restart.Error {
	var missing, older, newer, other []string
	for _, s := range l.shelf {
		if !l.wanted(s, r.Services) {
			continue
		}
		highest, same := 0, false
		for _, a := range r.Scenarios {
			if a.Name == s.Name {
				highest = max(highest, a.Serial)
				same = same || a.Digest == s.Digest
			}
		}
		switch {
		case same, l.lays && r.Review == "signed" && highest < s.Serial: // it comes with the first task
		case highest == 0:
			missing = append(missing, s.Name)
		case highest < s.Serial:
			older = append(older, fmt.Sprintf("%s (serial %d, the server has %d)", s.Name, highest, s.Serial))
		case highest > s.Serial:
			newer = append(newer, fmt.Sprintf("%s (serial %d, the server has %d)", s.Name, highest, s.Serial))
		default:
			other = append(other, fmt.Sprintf("%s (serial %d)", s.Name, s.Serial))
		}
	}
	var said []string
	for _, x := range []struct {
		what string
		list []string
	}{{"missing", missing}, {"older", older}, {"newer than the server's", newer}, {"of other bytes", other}} {
		if len(x.list) > 0 {
			said = append(said, x.what+": "+strings.Join(x.list, ", "))
		}
	}
	if len(said) == 0 {
		return nil
	}
	return restart.Errorf(restart.CodeNotReviewed, "scenarios %s", strings.Join(said, "; ")).
		WithHint("lay the server's reviewed files, unchanged, into scenarios.d of the host; where the host's are the right ones, onto the server's shelf")
}

func (l look) wanted(s restart.Scenario, services []string) bool {
	if l.service != "" {
		return s.Fits(l.service)
	}
	return slices.ContainsFunc(services, s.Fits)
}
