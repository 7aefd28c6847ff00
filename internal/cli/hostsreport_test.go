package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// many is a company of 800 hosts: two are closed, one has a wrong clock and
// more, 12 of those that are ready have a warning.
func many() []wire.HostCheck {
	var all []wire.HostCheck
	for i := range 800 {
		name := fmt.Sprintf("web%03d.example.com", i)
		hc := wire.HostCheck{Host: restart.Host{Name: name}, State: wire.HostReady, Report: &protocol.CheckReport{Program: "1.4.2", Containment: "cgroup (below /x)", Review: "files"}}
		switch {
		case i == 17 || i == 400:
			hc = wire.HostCheck{Host: hc.Host, State: wire.HostClosed, Error: restart.Errorf(restart.CodeUnreachable, "%s: nothing listens", name).WithHint("start it on %s", name)}
		case i == 5:
			hc.State, hc.Error = wire.HostClock, restart.Errorf(restart.CodeClockSkew, "an hour ahead").WithHint("set it")
			hc.Also = []wire.HostFinding{{State: wire.HostTrust, Error: restart.Errorf(restart.CodeNotReviewed, "scenarios missing: x\x1b")}}
		case i >= 100 && i < 112:
			hc.Warnings = []protocol.Warning{{Kind: protocol.WarnCertificate, Message: fmt.Sprintf("ends in %d days", i%3), Hint: "issue one for " + name}}
		}
		all = append(all, hc)
	}
	return all
}

func TestEightHundredHostsFitAScreen(t *testing.T) {
	all := many()
	if got := tallied(all); got != "797 ready, 2 closed, 1 clock" {
		t.Error(got)
	}
	var out bytes.Buffer
	writeChecks(&out, all, false)
	const want = `
closed, 2 hosts: nothing listens
  do: start it on HOST
  web017.example.com
  web400.example.com

clock, 1 host: an hour ahead; also trust: scenarios missing: x\x1b
  do: set it
  web005.example.com

warning certificate, 12 hosts
  do: issue one for HOST
  web100.example.com  ends in 1 days
  web101.example.com  ends in 2 days
  web102.example.com  ends in 0 days
  web103.example.com  ends in 1 days
  web104.example.com  ends in 2 days
  … and 7 more (--verbose lists them)
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
	out.Reset()
	writeChecks(&out, all, true)
	if n := strings.Count(out.String(), " ready "); n != 797 || strings.Contains(out.String(), "more (") {
		t.Errorf("%d ready hosts are listed", n)
	}
}

func TestFewHostsAreListed(t *testing.T) {
	all := many()[:20]
	var out bytes.Buffer
	writeChecks(&out, all, false)
	if n := strings.Count(out.String(), " ready "); n != 18 {
		t.Errorf("%d ready hosts are listed:\n%s", n, out.String())
	}
}

// TestAStateOfANewerServer is counted and shown as it is.
func TestAStateOfANewerServer(t *testing.T) {
	all := []wire.HostCheck{{Host: restart.Host{Name: "web1"}, State: "haunted"}}
	var out bytes.Buffer
	writeChecks(&out, all, false)
	if tallied(all) != "0 ready, 1 haunted" || !strings.Contains(out.String(), "haunted, 1 host\n  web1\n") {
		t.Errorf("%s\n%s", tallied(all), out.String())
	}
}

// TestProgressIsForATerminal, and is gone at the end.
func TestProgressIsForATerminal(t *testing.T) {
	var out bytes.Buffer
	c := &count{w: &out, total: 800}
	c.add(25)
	c.add(25)
	c.clear()
	if out.String() != "\r25 of 800 hosts asked\r50 of 800 hosts asked\r\x1b[K" {
		t.Errorf("%q", out.String())
	}
	cmd := hostsCheckCommand()
	cmd.SetErr(&out)
	if newCount(cmd, 800).w != nil {
		t.Error("a pipe gets the progress, too")
	}
}
