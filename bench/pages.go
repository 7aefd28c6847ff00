package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// pages measures servers with a long history, in either database: all pages in
// mixed order over one connection that is kept, one request after another; first
// with nothing of the database in the page cache, then with all of it there, as on
// a server whose memory holds its database. The figure is the slowest page's of
// the second round, in which each is asked for more often; that of the first is
// page_cold_p99_ms.
func (s *session) pages(b *bed) error {
	databases := []string{"SQLite", "PostgreSQL"}
	if !storetest.HavePostgres() {
		s.absent("pages_ms on PostgreSQL", "PostgreSQL is not installed")
		databases = databases[:1]
	}
	s.detail("history_runs", s.history)
	var histories errgroup.Group // each keeps a core busy for minutes
	past := make([]*pastCompany, len(databases))
	for i, database := range databases {
		past[i] = newPastCompany(b, database)
		histories.Go(func() error { return past[i].fill(b, s.history) })
	}
	if err := histories.Wait(); err != nil {
		return err
	}
	var worst, worstCold float64
	each, eachCold := map[string]map[string]Percentiles{}, map[string]map[string]Percentiles{}
	for _, p := range past {
		s.detail("history_made_in_s "+p.database, round(p.filled.Seconds(), 1))
		of, cold, err := s.pagesOf(b, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.database, err)
		}
		each[p.database], eachCold[p.database] = of, cold
		for page, p := range of {
			worst, worstCold = max(worst, p.P99), max(worstCold, cold[page].P99)
		}
	}
	s.results.PageP99 = new(worst)
	s.detail("pages_ms", each)
	s.detail("pages_cold_ms", eachCold)
	s.detail("page_cold_p99_ms", worstCold)
	return nil
}

// warmRounds is how many more requests each page has in the second round: of a
// hundred, the p99 is the worst but one, and the slowest of a hundred kinds of
// pages the one that the machine held up longest.
const warmRounds = 4

// pastCompany is a company over one kind of database, whose server stands until
// there is a history.
type pastCompany struct {
	*company.Company
	database, dsn, dir string // dir holds the database's files
	auditor            string // a token
	history            storetest.History
	filled             time.Duration
}

func newPastCompany(b *bed, database string) *pastCompany {
	p := &pastCompany{database: database}
	o := company.Options{Hosts: 1, Scenario: noop, Agent: anyRate}
	if database == "PostgreSQL" {
		postgres := storetest.StartPostgres(b)
		p.dir = postgres.Dir()
		var err error
		p.dsn, err = postgres.Schema(b.ctx)
		b.must(err)
		o.DSN = p.dsn
	}
	p.Company = company.New(b, o)
	if p.dsn == "" {
		p.dsn, p.dir = "sqlite:"+p.Database(), filepath.Dir(p.Database())
	}
	ready(b, p.Company)
	walkOnce(b, p.Company)
	auditor, err := p.Admin.CreateToken(b.ctx, wire.TokenRequest{Name: "bench", Owner: "auditor", Roles: []restart.Role{restart.RoleAuditor}})
	b.must(err)
	p.auditor = auditor.Secret
	p.StopServer()
	return p
}

// fill makes the history.
func (p *pastCompany) fill(b *bed, runs int) (err error) {
	begun := time.Now()
	p.history, err = storetest.FillHistory(b.ctx, p.dsn, runs)
	p.filled = time.Since(begun)
	return err
}

// pagesOf starts a company's server and asks for all pages.
func (s *session) pagesOf(b *bed, p *pastCompany) (warm, cold map[string]Percentiles, err error) {
	b.must(os.WriteFile(filepath.Join(p.ServerDir(), "inventory.yaml"), []byte(p.history.Inventory()), 0o600))
	s.detail("server_start_with_history_ms "+p.database, ms(startTime(b, p.Company)))
	defer p.StopServer()

	client := httpsClient(b, p.Company)
	defer client.CloseIdleConnections()
	developer, reader := signIn(b, p.Company, client), signInAs(b, p.Company, client, "auditor", p.auditor)
	ask := func(from, count int) (map[string]Percentiles, error) {
		return timePages(b, client, p.URL, requestsFor(p.history, from, count), developer, reader)
	}
	rest := warmRounds * s.requests
	for _, r := range requestsFor(p.history, s.requests+rest, 1) { // the first of each page reads its template, and is not counted
		if _, err := get(b, client, p.URL+r.path, r.cookie(developer, reader)); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", r.page, err)
		}
	}
	b.must(pageCache(p.dir, forget))
	if cold, err = ask(0, s.requests); err != nil {
		return nil, nil, err
	}
	b.must(pageCache(p.dir, load))
	warm, err = ask(s.requests, rest)
	return warm, cold, err
}

// pageRequest is one request for a page.
type pageRequest struct{ page, path string }

// cookie gives the session that may see the page.
func (r pageRequest) cookie(developer, reader *http.Cookie) *http.Cookie {
	if strings.HasPrefix(r.path, "/audit") {
		return reader
	}
	return developer
}

// requestsFor gives count requests for each page, in mixed order, the same each
// time; other values of from are for other names and ids.
func requestsFor(h storetest.History, from, count int) []pageRequest {
	var requests []pageRequest
	for _, p := range pagesOver(h) {
		for i := range count {
			requests = append(requests, pageRequest{p.name, p.path(from + i)})
		}
	}
	rand.New(rand.NewPCG(1, uint64(from))).Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] }) //nolint:gosec // no secret
	return requests
}

// timePages asks for pages, one after another.
func timePages(b *bed, client *http.Client, base string, requests []pageRequest, developer, reader *http.Cookie) (map[string]Percentiles, error) {
	samples := map[string][]time.Duration{}
	for _, r := range requests {
		took, err := get(b, client, base+r.path, r.cookie(developer, reader))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.page, err)
		}
		samples[r.page] = append(samples[r.page], took)
	}
	out := map[string]Percentiles{}
	for page, sample := range samples {
		out[page] = percentiles(sample)
	}
	return out, nil
}

// pageOver is a page with the addresses by which it is asked for: with other
// runs, hosts and names each time.
type pageOver struct {
	name string
	path func(i int) string
}

func pagesOver(h storetest.History) []pageOver {
	windows := []string{"week", "4weeks", "3months", "12months"}
	pages := []pageOver{
		{"start", func(int) string { return "/" }},
		{"profile", func(int) string { return "/profile" }},
		{"scenarios", func(int) string { return "/scenarios" }},
		{"review", func(int) string { return "/review" }},
		{"approvals", func(int) string { return "/approvals" }},
		{"freezes", func(int) string { return "/freezes" }},
		{"break-glass", func(int) string { return "/break-glass" }},
		{"runs", func(int) string { return "/runs" }},
		{"runs, older", func(i int) string { return "/runs?before=" + h.Run(i*7919) }},
		{"run", func(i int) string { return "/runs/" + h.Run(i*7910) }},
		{"host of a run", func(i int) string { return "/runs/" + h.Run(i*7920) + "/hosts/" + h.Host(i*7920) }},
		{"services", func(int) string { return "/services" }},
		{"services, searched", func(i int) string { return "/services?q=" + h.Service(i)[:9] }},
		{"service", func(i int) string { return "/services/" + h.Service(i*7883) }},
		{"hosts", func(int) string { return "/hosts" }},
		{"host", func(i int) string { return "/hosts/" + h.Host(i*7883) }},
		{"person", func(i int) string { return "/people/" + h.Actor(i) }},
		{"statistics", func(i int) string { return "/statistics?window=" + windows[i%4] }},
		{"statistics of an environment", func(i int) string {
			return "/statistics?env=" + h.Environment(i*500) + "&window=" + windows[i%4]
		}},
		{"statistics of a team", func(i int) string { return fmt.Sprintf("/statistics?team=team%02d&window=%s", i%20, windows[i%4]) }},
		{"statistics of reasons", func(i int) string { return "/statistics/reasons?window=" + windows[i%4] }},
		{"statistics of a reason", func(i int) string {
			return "/statistics/reason?service=" + h.Service(i*7) + "&reason=" + h.Reason(i*7) + "&window=" + windows[i%4]
		}},
		{"statistics of hosts", func(i int) string { return "/statistics/hosts?window=" + windows[i%4] }},
		{"statistics of a service", func(i int) string {
			return "/statistics?service=" + h.Service(i*7) + "&window=" + windows[i%4]
		}},
	}
	runs := func(name string, pairs func(i int) []string) {
		pages = append(pages, pageOver{"runs " + name, func(i int) string { return narrowed("/runs", pairs(i)...) }})
	}
	runs("of a service", func(i int) []string { return []string{"service", h.Service(i)} })
	runs("of a group", func(i int) []string { return []string{"group", h.Group(i * 7)} })
	runs("of a person and an environment", func(i int) []string { return []string{"person", h.Actor(i), "env", h.Environment(i * 500)} })
	runs("of a host and a state", func(i int) []string { return []string{"host", h.Host(i * 7883), "state", "failed"} })
	runs("of a kind and an environment", func(i int) []string { return []string{"kind", "thread-dump", "env", h.Environment(i * 500)} })
	runs("of a state, a kind and a day", func(i int) []string {
		return []string{"state", "failed,aborted", "kind", "thread-dump", "since", h.Day(i * 7919), "until", h.Day(i * 7919)}
	})
	runs("with a word", func(i int) []string {
		return []string{"q", []string{"утечка", "build 10", "configuration", "workers hours"}[i%4]}
	})
	runs("with a rare word", func(int) []string { return []string{"q", "cosmic rays"} })
	runs("with a word that is nowhere", func(i int) []string { return []string{"q", fmt.Sprintf("nowhere%d", i), "env", h.Environment(i * 500)} })
	api := func(name string, pairs func(i int) []string) {
		pages = append(pages, pageOver{"api: " + name, func(i int) string { return narrowed("/api/v1/runs", pairs(i)...) }})
	}
	api("runs of a service and environment", func(i int) []string { return []string{"service", h.Service(i), "environment", h.Environment(i)} })
	api("runs of a person", func(i int) []string { return []string{"actor", h.Actor(i)} })
	api("runs of a host", func(i int) []string { return []string{"host", h.Host(i * 7883)} })
	api("failed runs", func(int) []string { return []string{"state", "failed,aborted"} })
	api("failed runs of a service and a host", func(i int) []string {
		return []string{"state", "failed,aborted", "service", h.Service(i * 7883), "host", h.Host(i * 7883)}
	})
	api("runs of nobody", func(i int) []string { return []string{"actor", fmt.Sprintf("nobody%d", i)} })
	api("runs of no environment", func(i int) []string { return []string{"environment", fmt.Sprintf("none%d", i)} })
	return append(pages, trailOver(h)...)
}

// trailOver are the pages of the audit trail.
func trailOver(h storetest.History) []pageOver {
	pages := []pageOver{
		{"audit", func(int) string { return "/audit" }},
		{"audit: story of a run", func(i int) string { return "/audit/runs/" + h.Run(i*7910) }},
		{"audit: a record", func(i int) string { return fmt.Sprintf("/audit/records/%d", i*7919%h.Runs()+1) }},
	}
	records := func(name string, pairs func(i int) []string) {
		pages = append(pages, pageOver{"audit " + name, func(i int) string { return narrowed("/audit", pairs(i)...) }})
	}
	records("of a person", func(i int) []string { return []string{"person", h.Actor(i)} })
	records("of a host", func(i int) []string { return []string{"host", h.Host(i * 7883)} })
	records("of a service, an environment and a day", func(i int) []string {
		return []string{"service", h.Service(i), "env", h.Environment(i), "since", h.Day(i * 7919), "until", h.Day(i * 7919)}
	})
	records("of an area and a month", func(i int) []string { return []string{"area", "runs", "until", h.Day(i * 7919)} })
	records("of a person, with a word", func(i int) []string {
		return []string{"person", h.Actor(i), "q", []string{"утечка", "build 10", "workers hours"}[i%3]}
	})
	records("with a rare word", func(int) []string { return []string{"q", "cosmic rays"} })
	records("with a word that is nowhere", func(i int) []string { return []string{"q", fmt.Sprintf("nowhere%d", i), "area", "runs"} })
	records("of nobody", func(i int) []string { return []string{"person", fmt.Sprintf("nobody%d", i)} })
	return pages
}

// narrowed is the address of a list, narrowed.
func narrowed(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + q.Encode()
}

// get gives the time until the last byte of a page.
func get(b *bed, client *http.Client, address string, cookie *http.Cookie) (time.Duration, error) {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	req.AddCookie(cookie)
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusSeeOther {
		return 0, fmt.Errorf("%s: %s", address, resp.Status)
	}
	return took, nil
}

// pageCache does something with the part of the page cache that a folder's files
// have.
func pageCache(dir string, do func(*os.File) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a file that the database needs no more
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0) // to be synced
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		return do(f)
	})
}

// forget leaves nothing of a file in the page cache.
func forget(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// load puts all of a file into the page cache.
func load(f *os.File) error {
	_, err := io.Copy(io.Discard, f)
	return err
}
