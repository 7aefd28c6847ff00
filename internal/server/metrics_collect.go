package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/version"
)

const (
	// scrapeTime bounds what a scrape may ask; Prometheus waits for 10 s by default.
	scrapeTime = 5 * time.Second
	// expiringWithin is how long before its end a host's certificate counts as expiring.
	expiringWithin = 30 * 24 * time.Hour
)

// collector asks the parts for what is a state, each time it is scraped.
type collector struct{ s *Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("restartilka_"+name, help, labels, nil)
}

var (
	buildInfo  = desc("build_info", "The running build; always 1.", "version", "commit", "goversion")
	readyCheck = desc("ready", "1 while the check of /readyz holds, else 0.", "check")

	openRuns    = desc("runs_open", "Runs that are not over, by state; of the whole database.", "state")
	pausedRuns  = desc("runs_paused", "Paused runs, by cause; of the whole database.", "cause")
	pausedFor   = desc("runs_paused_oldest_seconds", "For how long the paused run that has waited longest has been waiting for a person; 0 while none is.")
	walkedRuns  = desc("leases_held", "Runs that this server walks now, each under a lease.")
	unreviewed  = desc("break_glass_unreviewed", "Runs started past their safeguards that nobody has reviewed; of the whole database.")
	messages    = desc("messages_waiting", "Messages that their receivers outside have not taken yet; of the whole database.")
	waiting     = desc("receiver_messages_waiting", "Messages that a receiver outside has not taken yet; of the whole database.", "receiver")
	undelivered = desc("receiver_failing", "1 while the last try to tell a receiver the oldest of what waits for it has failed; of the whole database.", "receiver")
	dumpBytes   = desc("dump_store_bytes", "Bytes that stored thread dumps take, compressed; of the whole database.")
	openSession = desc("sessions_open", "Sign-ins of browsers that still hold; of the whole database.")

	openSchedules = desc("schedules_open", "Runs that are planned for a time to come, by state; of the whole database.", "state")
	lateSchedule  = desc("schedules_late_seconds", "For how long the planned run that was to start first has been waiting past its time; 0 while none is.")

	silences = desc("silences", "Silences of ours in monitoring systems: held for a task in hand; due to be removed, as their task is over; ended by themselves, and not dealt with yet; of the whole database.", "system", "state")

	outsideLocks    = desc("outside_locks", "Runs by how they stand with a lock shared with others: waiting, held, lost, bypassed; left by a run that is over; of the whole database.", "lock", "state")
	lockInterrupted = desc("lock_session_interrupted", "1 while the session with the keeper of a lock shared with others is without a connection.", "lock")

	chatConnected = desc("chat_connected", "1 while the chat answers this server; of several servers one asks it.", "chat")

	backlog       = desc("audit_backlog_records", "Audit records that a sink has not settled.", "sink")
	backlogAge    = desc("audit_backlog_age_seconds", "Age of the oldest record that a sink has not settled; 0 for none.", "sink")
	sinkFailing   = desc("audit_sink_failing", "1 while the last attempt to ship to the sink failed.", "sink")
	sinkShipped   = desc("audit_last_shipped_timestamp_seconds", "When the sink last took a record, as a Unix time; 0 for not since the start.", "sink")
	auditRecords  = desc("audit_records_total", "Audit records in this server's trail, from its first on.")
	auditUnplaced = desc("audit_unplaced_records", "Audit records that have no place in a trail yet; of the whole database.")
	spoolBytes    = desc("audit_spool_bytes", "Bytes of audit records that wait in the database for the remote log; 0 where nothing is shipped.")
	spoolLimit    = desc("audit_spool_limit_bytes", "What may wait there, as audit.spool.limit says: a warning from 70 % on, no new runs from 85 % on; 0 where nothing is shipped.")
	logLate       = desc("audit_late", "1 while records wait for the remote log for longer than audit.deadline, so that no further host is touched.")
	trailFailing  = desc("audit_sequencer_failing", "1 while records can't be given their place in the trail.")

	databaseUp      = desc("database_up", "1 when the database answered this scrape.")
	databaseLatency = desc("database_latency_seconds", "How long the database took for the smallest question of this scrape.")
	databaseSize    = desc("database_size_bytes", "Bytes of the SQLite database and its journal; 0 where the database is elsewhere.")
	connections     = desc("database_connections", "Connections to the database, by state.", "state")
	maxConnections  = desc("database_connections_max", "The most connections that this server opens.")
	poolWaits       = desc("database_connection_waits_total", "How often a connection had to be waited for.")
	poolWaited      = desc("database_connection_wait_seconds_total", "How long connections were waited for in all.")
	freeBytes       = desc("storage_free_bytes", "Bytes that can still be written where the database file and the local audit trail lie.", "use")

	notAfter         = desc("certificate_not_after_timestamp_seconds", "When a certificate of this server ends, as a Unix time: of the listener, of the client of agents, and the agents' authority.", "use")
	hostCertificates = desc("host_certificates", "Hosts with a certificate of our own authority, by the end of their newest one: good, expiring within 30 days, expired.", "state")

	inventoryUp    = desc("inventory_up", "1 while the inventory's source gives good answers.")
	inventoryGood  = desc("inventory_last_success_timestamp_seconds", "When the inventory's source last gave a good answer, as a Unix time; 0 for never.")
	sourceUp       = desc("inventory_source_up", "1 while a source of an inventory of kind merged gives good answers.", "source")
	sourceGood     = desc("inventory_source_last_success_timestamp_seconds", "When a source of an inventory of kind merged last gave a good answer, as a Unix time; 0 for never.", "source")
	inventoryHosts = desc("inventory_hosts", "Hosts in the inventory in use.")

	shelfScenarios   = desc("scenarios", "Scenarios on the shelf, all versions.")
	scenarioProblems = desc("scenario_problems", "Files on the shelf that are left out or contradict each other.")
	scenarioVersions = desc("scenario_versions", "Versions of scenarios, by standing: in_force; waiting for signatures; expired or lost (their quorum), where no higher serial is there; of the whole database.", "standing")
	scenarioExpiring = desc("scenarios_expiring", "Scenarios in force that may be used for 30 more days at most.")
	scenarioExpiry   = desc("scenario_next_expiry_timestamp_seconds", "When the first of the scenarios in force is over, as a Unix time; 0 where none ends.")

	rulesGood   = desc("rules_up", "1 while the rules of rights in force are those of their file; 0 while the file can't be used and those before it hold.")
	rulesLoaded = desc("rules_loaded_timestamp_seconds", "When the rules of rights in force were read, as a Unix time.")

	descriptions = []*prometheus.Desc{
		buildInfo, readyCheck, openRuns, pausedRuns, pausedFor, walkedRuns, unreviewed, messages, waiting, undelivered, openSession, dumpBytes, openSchedules, lateSchedule, silences, outsideLocks, lockInterrupted, chatConnected, backlog, backlogAge, sinkFailing, sinkShipped, auditRecords, auditUnplaced, trailFailing, spoolBytes, spoolLimit, logLate,
		databaseUp, databaseLatency, databaseSize, connections, maxConnections, poolWaits, poolWaited, freeBytes, notAfter, hostCertificates,
		inventoryUp, inventoryGood, sourceUp, sourceGood, inventoryHosts, shelfScenarios, scenarioProblems, scenarioVersions, scenarioExpiring, scenarioExpiry, rulesGood, rulesLoaded,
	}
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
}

// scrape is one scrape's way to say things.
type scrape struct{ ch chan<- prometheus.Metric }

func (s scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s scrape) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// is gives 1 for what holds.
func is(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// unixSeconds gives a time as Prometheus has it; 0 for none.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	to := scrape{ch}
	b := version.Current()
	to.gauge(buildInfo, 1, b.Version, b.Commit, b.Go)
	for _, check := range c.s.ready(ctx) {
		to.gauge(readyCheck, is(check.Err == nil), check.Name)
	}
	standing := c.s.trail.Standing()
	to.gauge(spoolBytes, float64(standing.Used))
	to.gauge(spoolLimit, float64(standing.Limit))
	to.gauge(logLate, is(!standing.Late.IsZero()))
	to.gauge(walkedRuns, float64(c.s.orch.Walked()))
	to.gauge(databaseUp, is(c.fromDatabase(ctx, to) == nil))
	if c.s.chats != nil {
		for chat, connected := range c.s.chats.Connected() {
			to.gauge(chatConnected, is(connected), chat)
		}
	}
	c.pool(to)
	c.certificates(to)
	seen := c.s.inventory.look(ctx)
	to.gauge(inventoryUp, is(seen.err == nil))
	to.gauge(inventoryGood, unixSeconds(seen.good))
	to.gauge(inventoryHosts, float64(seen.hosts))
	for _, p := range seen.parts {
		to.gauge(sourceUp, is(!p.Stale && !p.Missing), p.Name)
		to.gauge(sourceGood, unixSeconds(p.FetchedAt), p.Name)
	}
	n, problems := c.s.shelf.Count()
	to.gauge(shelfScenarios, float64(n))
	if counts, err := c.s.control.CountScenarios(ctx); err == nil {
		problems = counts.Problems
		for standing, n := range map[review.Standing]int{review.InForce: counts.InForce, review.Waiting: counts.Waiting, review.Expired: counts.Expired, review.Lost: counts.Lost} {
			to.gauge(scenarioVersions, float64(n), string(standing))
		}
		to.gauge(scenarioExpiring, float64(counts.Expiring))
		to.gauge(scenarioExpiry, unixSeconds(counts.NextExpiry))
	}
	to.gauge(scenarioProblems, float64(problems))
	rules := c.s.rules.state()
	to.gauge(rulesGood, is(rules.refused == ""))
	to.gauge(rulesLoaded, unixSeconds(rules.loaded))
	for use, dir := range c.s.storage() {
		if free, err := freeSpace(dir); err == nil {
			to.gauge(freeBytes, float64(free), use)
		}
	}
}

// fromDatabase tells what only the database knows. After its error the rest of
// that is missing, and nothing is told that is not so.
func (c collector) fromDatabase(ctx context.Context, to scrape) error {
	began := time.Now()
	if err := c.s.store.Ping(ctx); err != nil {
		return err
	}
	to.gauge(databaseLatency, time.Since(began).Seconds())
	st, err := c.s.store.Statistics(ctx, authn.SessionIdle, expiringWithin)
	if err != nil {
		return err
	}
	for state, n := range st.OpenRuns {
		to.gauge(openRuns, float64(n), string(state))
	}
	for cause, n := range st.Paused {
		to.gauge(pausedRuns, float64(n), string(cause))
	}
	waited := 0.0
	if !st.PausedSince.IsZero() {
		waited = max(time.Since(st.PausedSince).Seconds(), 0)
	}
	to.gauge(pausedFor, waited)
	to.gauge(unreviewed, float64(st.Unreviewed))
	to.gauge(messages, float64(st.Messages))
	to.gauge(openSession, float64(st.Sessions))
	if err := c.outside(ctx, to); err != nil {
		return err
	}
	kept, err := c.s.store.DumpBytes(ctx)
	if err != nil {
		return err
	}
	to.gauge(dumpBytes, float64(kept))
	to.counter(auditRecords, float64(st.Records))
	to.gauge(auditUnplaced, float64(st.Waiting))
	for state, n := range map[string]int64{"good": st.Hosts.Good, "expiring": st.Hosts.Expiring, "expired": st.Hosts.Expired} {
		to.gauge(hostCertificates, float64(n), state)
	}
	trail, err := c.s.trail.Stats(ctx)
	if err != nil {
		return err
	}
	to.gauge(trailFailing, is(trail.Error != ""))
	for _, sink := range trail.Sinks {
		to.gauge(backlog, float64(sink.Backlog), sink.Name)
		to.gauge(backlogAge, sink.Oldest.Seconds(), sink.Name)
		to.gauge(sinkFailing, is(sink.Error != ""), sink.Name)
		to.gauge(sinkShipped, unixSeconds(sink.Shipped), sink.Name)
	}
	return nil
}

// outside tells how runs stand with what is not ours: times to come, monitoring,
// locks and receivers.
func (c collector) outside(ctx context.Context, to scrape) error {
	planned, err := c.s.store.CountSchedules(ctx)
	if err != nil {
		return err
	}
	for state, n := range planned.Open {
		to.gauge(openSchedules, float64(n), string(state))
	}
	to.gauge(lateSchedule, planned.Late.Seconds())
	silent, err := c.s.keeper.Count(ctx)
	if err != nil {
		return err
	}
	for system, n := range silent {
		to.gauge(silences, float64(n.Held), system, "held")
		to.gauge(silences, float64(n.Due), system, "due")
		to.gauge(silences, float64(n.Ended), system, "ended")
	}
	locks, err := c.s.locks.Standing(ctx)
	if err != nil {
		return err
	}
	for name, l := range locks {
		for state, n := range l.Runs {
			to.gauge(outsideLocks, float64(n), name, string(state))
		}
		to.gauge(outsideLocks, float64(l.Left), name, "left")
		to.gauge(lockInterrupted, is(l.Interrupted), name)
	}
	left, err := c.s.store.WaitingMessages(ctx)
	if err != nil {
		return err
	}
	for _, r := range c.s.receivers.List() {
		to.gauge(waiting, float64(left[r.ID].Messages), r.Name)
		to.gauge(undelivered, is(left[r.ID].Failure != ""), r.Name)
	}
	return nil
}

func (c collector) pool(to scrape) {
	pool := c.s.store.Pool()
	to.gauge(connections, float64(pool.InUse), "in_use")
	to.gauge(connections, float64(pool.Idle), "idle")
	to.gauge(maxConnections, float64(pool.Max))
	to.counter(poolWaits, float64(pool.Waits))
	to.counter(poolWaited, pool.Waited.Seconds())
	if size, err := c.s.store.Size(); err == nil {
		to.gauge(databaseSize, float64(size))
	}
}

func (c collector) certificates(to scrape) {
	if pair, err := c.s.http.TLSConfig.GetCertificate(nil); err == nil && pair.Leaf != nil {
		to.gauge(notAfter, unixSeconds(pair.Leaf.NotAfter), "listener")
	}
	for use, file := range map[string]string{"agents": c.s.cfg.Agents.Certificate, "ca": c.s.cfg.Agents.CA} {
		if end, err := endOf(file, use == "agents"); err == nil {
			to.gauge(notAfter, unixSeconds(end), use)
		}
	}
}

// endOf reads a PEM file: the end of its first certificate, or, of a file of
// several equals, of the one that ends first.
func endOf(file string, first bool) (time.Time, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, fmt.Errorf("read a certificate: %w", err)
	}
	var end time.Time
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return time.Time{}, fmt.Errorf("read %s: %w", file, err)
		}
		if end.IsZero() || cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
		if first {
			break
		}
	}
	if end.IsZero() {
		return end, errors.New("no certificate in " + file)
	}
	return end, nil
}

// storage gives the folders of what this server keeps on its own disk, by use.
func (s *Server) storage() map[string]string {
	out := map[string]string{}
	if file := s.store.File(); file != "" {
		out["database"] = filepath.Dir(file)
	}
	for _, sink := range s.cfg.Audit.Sinks {
		if sink.Path != "" {
			out["audit"] = filepath.Dir(sink.Path)
		}
	}
	return out
}

// freeSpace gives the bytes that this process may still write below dir.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // they have other sizes on other machines
}
