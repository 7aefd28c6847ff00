package control

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	// lookAtHosts is how often every host is asked how it is, so that admins see
	// which are silent or have an older agent without asking; the first time a
	// little after the start, when there is more urgent work.
	lookAtHosts      = 15 * time.Minute
	firstLookAtHosts = time.Minute
	// hostsPerPage is how many hosts one page of admins has.
	hostsPerPage = 50
)

// HostNote is what this server remembers of the last time it asked a host. It
// is kept in memory, and empty after a start.
type HostNote struct {
	State   wire.HostState // "" = not asked since the start
	Why     string         // it is not ready
	Asked   time.Time
	Contact time.Time // when the agent last answered; zero = not since the start
	Program string    // the agent's version
	Review  string    // files | signed
	Ends    time.Time // of the certificate that the agent shows; zero = it did not say
}

// hostBook remembers a note for each host that was asked.
type hostBook struct {
	mu    sync.Mutex
	notes map[string]HostNote
}

// note takes down how a host was found. What was asked about one service says
// nothing of the host itself, but that it answers.
func (b *hostBook) note(hc wire.HostCheck, at time.Time, ofService bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.notes == nil {
		b.notes = map[string]HostNote{}
	}
	n := b.notes[hc.Host.Name]
	n.Asked = at
	if r := hc.Report; r != nil {
		n.Contact, n.Program, n.Review = at, r.Program, r.Review
		if r.Certificate != nil {
			n.Ends = r.Certificate.NotAfter
		}
	}
	if hc.Report == nil || !ofService || n.State == "" {
		n.State, n.Why = hc.State, ""
		if hc.Error != nil {
			n.Why = hc.Error.Message
		}
	}
	b.notes[hc.Host.Name] = n
}

func (b *hostBook) of(host string) HostNote {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.notes[host]
}

// keep forgets hosts that the inventory has no more.
func (b *hostBook) keep(hosts []restart.Host) {
	known := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		known[h.Name] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range b.notes {
		if !known[name] {
			delete(b.notes, name)
		}
	}
}

// WatchHosts asks every host now and then how it is, until ctx ends.
func (c *Control) WatchHosts(ctx context.Context) {
	timer := time.NewTimer(firstLookAtHosts)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			if err := c.lookAtAllHosts(ctx); err != nil && ctx.Err() == nil {
				c.cfg.Logger.WarnContext(ctx, "hosts are not asked how they are; they are asked again", "error", err)
			}
			timer.Reset(lookAtHosts)
		}
	}
}

func (c *Control) lookAtAllHosts(ctx context.Context) error {
	now, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	folder, err := c.folder(ctx)
	if err != nil {
		return err
	}
	shelf := newest(folder)
	c.book.keep(now.Hosts)
	eachHost(now.Hosts, func(_ int, h restart.Host) {
		if ctx.Err() == nil {
			c.checkHost(ctx, c.cfg.Agents.Check, h, protocol.CheckRequest{}, shelf)
		}
	})
	return nil
}

// The hosts that a HostQuery narrows the list to.
const (
	ShowSilent      = "silent"      // their agents don't answer
	ShowTrouble     = "trouble"     // not ready, for whatever reason
	ShowVersion     = "version"     // their agents have another version than the server
	ShowCertificate = "certificate" // their certificates end within 30 days
)

// HostQuery narrows the list of hosts.
type HostQuery struct {
	Text string // in the host's name
	Show string // "" = all
	From int    // how many to leave out
}

// AdministeredHost is a host as admins see it.
type AdministeredHost struct {
	restart.Host
	Note         HostNote
	Certificates []wire.Certificate // issued by this server, those that count, the newest first
	Version      *restart.Error     // the agent's is another than the server's; nil = the same, or not known
}

// HostPage is a page of hosts.
type HostPage struct {
	Hosts   []AdministeredHost
	Total   int // that the query finds
	Next    int // where the next page begins; 0 = this is the last
	Stale   string
	HasCA   bool // this server issues certificates
	Program string
}

// AdministeredHosts lists hosts as they were found last, for admins.
func (c *Control) AdministeredHosts(ctx context.Context, actor restart.Actor, q HostQuery) (HostPage, error) {
	out := HostPage{HasCA: c.cfg.Enrol != nil && c.cfg.Enrol.CA != nil, Program: c.cfg.Program}
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return out, err
	}
	snapshot, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return out, err
	}
	if snapshot.Stale {
		out.Stale = snapshot.Problem
	}
	fits, err := c.shown(ctx, q.Show)
	if err != nil {
		return out, err
	}
	text := strings.ToLower(q.Text)
	for _, h := range snapshot.Hosts {
		if !strings.Contains(h.Name, text) || !fits(h) {
			continue
		}
		if out.Total++; out.Total > q.From && len(out.Hosts) < hostsPerPage {
			out.Hosts = append(out.Hosts, AdministeredHost{Host: h, Note: c.book.of(h.Name)})
		}
	}
	if end := q.From + len(out.Hosts); end < out.Total && len(out.Hosts) > 0 {
		out.Next = end
	}
	return out, c.withCertificates(ctx, out.Hosts)
}

// shown gives the test that a query asks for.
func (c *Control) shown(ctx context.Context, show string) (func(restart.Host) bool, error) {
	switch show {
	case "":
		return func(restart.Host) bool { return true }, nil
	case ShowSilent:
		return func(h restart.Host) bool { n := c.book.of(h.Name); return silent(n.State) }, nil
	case ShowTrouble:
		return func(h restart.Host) bool { n := c.book.of(h.Name); return n.State != "" && n.State != wire.HostReady }, nil
	case ShowVersion:
		return func(h restart.Host) bool { return c.otherVersion(c.book.of(h.Name)) != nil }, nil
	case ShowCertificate:
		soon := c.now().Add(soonOver)
		ending, err := c.cfg.Store.EndingHosts(ctx, soon, mostEnding)
		return func(h restart.Host) bool {
			n := c.book.of(h.Name)
			return slices.Contains(ending, h.Name) || !n.Ends.IsZero() && n.Ends.Before(soon)
		}, err
	}
	return nil, restart.Errorf(restart.CodeInvalid, "there is no list of hosts %s", restart.Quote(show))
}

// mostEnding bounds how many hosts are looked for whose certificates end.
const mostEnding = 1000

func silent(s wire.HostState) bool {
	return s == wire.HostNoRoute || s == wire.HostSilent || s == wire.HostClosed || s == wire.HostNoAgent
}

func (c *Control) otherVersion(n HostNote) *restart.Error {
	if n.Program == "" {
		return nil
	}
	wrong, doubt := judgeVersion(n.Program, c.cfg.Program)
	if wrong != nil {
		return wrong
	}
	return doubt
}

func (c *Control) withCertificates(ctx context.Context, hosts []AdministeredHost) error {
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	list, err := c.cfg.Store.CertificatesOf(ctx, names)
	for i := range hosts {
		hosts[i].Version = c.otherVersion(hosts[i].Note)
		for _, x := range slices.Backward(list) {
			info := c.certificateInfo(x)
			if x.Host == hosts[i].Name && (info.State == wire.CertificateGood || info.State == wire.CertificatePending || len(hosts[i].Certificates) == 0) {
				hosts[i].Certificates = append(hosts[i].Certificates, info)
			}
		}
	}
	return err
}

// AskHosts asks the hosts of a page how they are, now.
func (c *Control) AskHosts(ctx context.Context, actor restart.Actor, hosts []AdministeredHost) error {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return err
	}
	folder, err := c.folder(ctx)
	if err != nil {
		return err
	}
	plain := make([]restart.Host, len(hosts))
	for i, h := range hosts {
		plain[i] = h.Host
	}
	shelf := newest(folder)
	eachHost(plain, func(i int, h restart.Host) {
		c.checkHost(ctx, c.cfg.Agents.CheckAnew, h, protocol.CheckRequest{}, shelf)
		hosts[i].Note = c.book.of(h.Name)
		hosts[i].Version = c.otherVersion(hosts[i].Note)
	})
	return nil
}
