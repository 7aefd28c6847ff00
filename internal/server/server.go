package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/api"
	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/hostwork"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/lock"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/renewal"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/silence"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/systemd"
	"github.com/restartilka/restartilka/internal/version"
	"github.com/restartilka/restartilka/internal/web"
)

// Server is one running server. Open it, Run it, and it closes itself.
type Server struct {
	cfg      Config
	log      *slog.Logger
	store    *store.Store
	trail    *audit.Trail
	agents   *dispatch.Client
	orch     *orchestrator.Orchestrator
	control  *control.Control
	http     *http.Server
	listener net.Listener
	revoked  pki.Revocations
	revoking sync.Mutex // held while revoked is read anew
	hostwork *hostwork.Keeper
	teller   *renewal.Teller  // nil where the envelope key is not changed
	renewer  *renewal.Renewer // nil where the company's own PKI issues certificates
	notifier *notify.Sender
	digester *notify.Digester
	locks    *lock.Locks
	archive  *archive.Archive
	keeper   *silence.Keeper
	gates    *silence.Gates
	told     []notify.Health // how the server is
	chats    *chat.Bot       // nil where the configuration names no chat

	shelf     *control.Shelf
	rules     *rulesFile
	door      door
	ssh       sshDoor
	inventory *inventoryWatch
	receivers notify.Receivers // those outside who are told
	meters    *meters
	state     *readiness
	opened    time.Time
}

// Open reads every credential, opens the database and starts to listen, so
// that whatever is wrong is told before anything runs.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, log: log, meters: newMeters(), state: newReadiness(), opened: time.Now()}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	dsn, err := s.cfg.dsn()
	if err != nil {
		return err
	}
	envelopeKeys, err := s.cfg.keys()
	if err != nil {
		return err
	}
	auditKey, err := s.cfg.auditKey()
	if err != nil {
		return err
	}
	if auditKey == nil {
		s.log.Warn("the audit trail is not sealed: nobody sees it where its end is cut off, or where it is made anew", "hint", "name a key with audit.key, and make it with: restartilka audit key new")
	}
	enrol, err := s.enrolment(envelopeKeys)
	if err != nil {
		return err
	}
	listenTLS, err := listenConfig(s.cfg.TLS.Certificate, s.cfg.TLS.Key)
	if err != nil {
		return err
	}
	if s.agents, err = dispatch.New(dispatch.Config{
		Certificate: s.cfg.Agents.Certificate, Key: s.cfg.Agents.Key, CA: s.cfg.Agents.CA, Port: s.cfg.Agents.Port,
		Observe: s.meters.called, Refuse: s.revoked.Check,
		Chain:     func(h restart.Host, head protocol.ChainHead) { s.hostwork.Seen(h, head) },
		Scenarios: signedVersions{s},
	}); err != nil {
		return err
	}
	s.cfg.Inventory.Logger = s.log
	inv, err := inventory.New(s.cfg.Inventory)
	if err != nil {
		return err
	}
	if _, err := inv.Snapshot(ctx); err != nil {
		s.log.Warn("the inventory can't be used; it is asked again", "error", err)
	}
	s.inventory = newInventoryWatch(inv)
	if s.shelf, err = control.NewShelf(s.cfg.Scenarios, s.log); err != nil {
		return err
	}
	if s.rules, err = openRules(s.cfg.Rules, s.cfg.SignIn, s.log); err != nil {
		return err
	}
	for _, sink := range s.cfg.Audit.Sinks {
		if sink.Path != "" {
			if err := os.MkdirAll(filepath.Dir(sink.Path), 0o700); err != nil {
				return fmt.Errorf("make the folder of the audit trail: %w", err)
			}
		}
	}
	if s.store, err = store.Open(ctx, store.Config{DSN: dsn, Source: s.cfg.Name, Logger: s.log}); err != nil {
		return err
	}
	sinks, err := s.cfg.Audit.Open()
	if err != nil {
		return err
	}
	need, err := s.cfg.Audit.Need()
	if err != nil {
		return err
	}
	if s.trail, err = audit.New(audit.Config{Store: s.store, Source: s.cfg.Name, Sinks: sinks, Key: auditKey, Need: need, Ledger: s.store, Keep: time.Duration(s.cfg.Audit.Keep), Expirer: s.store, Logger: s.log}); err != nil {
		return err
	}
	if s.door, err = s.newDoor(); err != nil {
		return err
	}
	if err := s.loadRevoked(ctx); err != nil {
		return err
	}
	s.renewer = s.newRenewer(enrol, inv)
	s.teller = s.newTeller(envelopeKeys, inv)
	trackers, err := s.openTickets()
	if err != nil {
		return err
	}
	receivers, err := s.openReceivers(inv)
	if err != nil {
		return err
	}
	hub := control.NewHub()
	s.hostwork = hostwork.New(hostwork.Config{
		Store: s.store, Agents: s.agents, Inventory: inv, Server: s.cfg.Name, Sweep: s.cfg.Runs.HostSweep,
		Committed: s.trail.Wake, Changed: hub.Changed, Logger: s.log,
	})
	if s.archive, err = s.newArchive(); err != nil {
		return err
	}
	systems, err := s.openMonitoring()
	if err != nil {
		return err
	}
	if s.locks, err = s.newLocks(hub.Changed); err != nil {
		return err
	}
	s.orch = orchestrator.New(orchestrator.Config{
		Owner: s.cfg.Name + "/" + restart.NewID(time.Now()), Runs: s.store, Tasks: s.store, Agents: s.agents, Dumps: s.archive, Key: envelopeKeys[0], Logger: s.log,
		Committed: s.trail.Wake, Changed: hub.Changed, Announced: s.notifier.Wake, Observer: s.meters, Trail: s.trail, Quiet: s.keeper, AutoResume: s.cfg.Runs.AfterInterruption == "go-on",
		Lease: s.cfg.Runs.Lease, ContactTimeout: s.cfg.Runs.ContactTimeout,
		Locks:   s.locks,
		MayGoOn: func(ctx context.Context, run restart.Run) (restart.Cause, string) { return s.control.MayGoOn(ctx, run) },
		Tell: func(event string, at time.Time, run restart.Run) ([]store.Message, error) {
			n := notify.About(event, at, run, strings.TrimRight(s.cfg.URL, "/"))
			message, told, err := notify.Message(n, receivers.For(n))
			if err != nil || !told {
				return nil, err
			}
			return []store.Message{message}, nil
		},
	})
	s.control = control.New(control.Config{
		Store: s.store, Inventory: inv, Scenarios: s.shelf, Agents: s.agents, Dumps: s.archive, Enrol: enrol, Hub: hub,
		Wake: s.orch.Wake, Committed: s.trail.Wake, Logger: s.log,
		Rights: s.rules.inForce, People: s.door.people, Hasher: s.door.hasher, Zone: localZone(), URL: strings.TrimRight(s.cfg.URL, "/"), Channels: receivers.For, Receivers: receivers, Announced: s.notifier.Wake,
		Review: s.cfg.review(), Lays: s.cfg.review().Signed,
		Ended: s.meters.neverBegan, Scheduled: s.meters.scheduled, Trail: s.trail, Server: self{s}, Outside: s.locks, Alerts: s.gates, Tickets: ticketsOf(trackers), Recurs: recurrencesOf(trackers),
		SecondStep: s.cfg.Runs.SecondStep,
		Windows:    s.cfg.Schedules.Windows, Grace: s.cfg.Schedules.Grace,
	})
	if err := s.ssh.listen(ctx, s.cfg.SSH); err != nil {
		return err
	}
	if s.chats, err = s.newChats(); err != nil {
		return err
	}
	s.meters.name(systems.Names(), trackers.Names(), s.locks.Names(), s.chatNames())
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return restart.Errorf(restart.CodeUnavailable, "can't listen on %s: %v", s.cfg.Listen, err).WithHint("another program may have the port; choose another with listen:").Because(err)
	}
	// Every request's context ends when the server stops, and so do the event
	// streams, which would hold up the stop for ever.
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	s.http = &http.Server{
		Handler:           s.handler(),
		TLSConfig:         listenTLS,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(endRequests)
	return s.openSSH(ctx, s.http.Handler)
}

// signedVersions are what control has to lay on hosts, for agents that are
// called before control is made.
type signedVersions struct{ s *Server }

func (v signedVersions) Signed(ctx context.Context, digest string) ([]byte, []protocol.ScenarioSignature, error) {
	return v.s.control.Signed(ctx, digest)
}

func (s *Server) handler() http.Handler {
	tokens, sessions := s.door.tokens(s), s.door.sessions(s)
	chain := authn.Chain{s.door.keys(s), newScraper(authn.Chain{tokens, sessions, s.door.proxy})}
	apiHandler := api.Handler(api.Config{
		Control: s.control, Authn: chain, Logger: s.log, Ready: s.ready, Metrics: s.metrics(),
	})
	pages := web.Handler(web.Config{
		Control: s.control, Auth: authn.Chain{sessions, s.door.proxy}, Tokens: tokens, Sessions: sessions, Logger: s.log, NoRemoteLog: s.noRemoteLog(),
		Entrance: s.door.entrance(), Redirects: s.door.redirects, People: s.door.people, SSH: s.ssh.told(s.cfg), Chats: s.chatNames(),
		Record: s.recordAtOnce,
	})
	mux := http.NewServeMux()
	for _, path := range []string{"/api/", "/ping", "/readyz", "/metrics", "/calendar.ics"} {
		mux.Handle(path, apiHandler)
	}
	if s.chats != nil {
		mux.Handle("/chat/", s.chats.Handler())
	}
	mux.Handle("/", pages)
	return s.meters.measured(securityHeaders(mux))
}

// noRemoteLog tells whether no remote log is configured, which every page must
// say.
func (s *Server) noRemoteLog() bool { return !s.cfg.Audit.Remote() }

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Flush waits until every record committed so far is in every sink, or ctx ends.
func (s *Server) Flush(ctx context.Context) error { return s.trail.Flush(ctx) }

// Run serves until ctx ends: then it takes no new requests, leaves the runs so
// that they can be taken up again, ships what is committed for a few seconds,
// and closes everything. It returns when all of that is done.
func (s *Server) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := s.note(ctx, audit.ServerStarted)
	if err == nil {
		err = s.recordConfig(ctx)
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	trailCtx, stopTrail := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTrail()
	var walking, shipping sync.WaitGroup
	shipping.Go(func() { s.trail.Run(trailCtx) })
	walking.Go(func() { s.orch.Run(ctx) })
	walking.Go(func() { s.watchRevoked(ctx) })
	walking.Go(func() { s.watchRules(ctx) })
	walking.Go(func() { s.notifier.Run(ctx) })
	walking.Go(func() { s.digester.Run(ctx) })
	walking.Go(func() { s.hostwork.Run(ctx) })
	walking.Go(func() { s.archive.Run(ctx) })
	walking.Go(func() { s.ssh.run(ctx, s) })
	walking.Go(func() { s.keeper.Run(ctx) })
	for _, to := range s.told {
		walking.Go(func() { s.tellHealth(ctx, to) })
	}
	walking.Go(func() { s.locks.Run(ctx) })
	if s.chats != nil {
		walking.Go(func() { s.chats.Run(ctx) })
	}
	if s.teller != nil {
		walking.Go(func() { s.teller.Run(ctx) })
	}
	walking.Go(func() { s.control.WatchScenarios(ctx) })
	walking.Go(func() { s.control.WatchApprovals(ctx) })
	walking.Go(func() { s.control.WatchSchedules(ctx) })
	walking.Go(func() { s.control.WatchHosts(ctx) })
	walking.Go(func() { s.control.WatchRecurrences(ctx) })
	if s.renewer != nil {
		walking.Go(func() { s.renewer.Run(ctx) })
	}

	failed := make(chan error, 1)
	go func() {
		err := s.http.Serve(tls.NewListener(s.listener, s.http.TLSConfig))
		if !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	if err := systemd.Ready(); err != nil {
		s.log.Warn("the service manager does not learn that the server is ready", "error", err)
	}
	s.log.Info("serving", "url", s.cfg.URL, "address", s.Address(), "version", version.Current().Version)

	select {
	case <-ctx.Done():
		err = s.drain(failed)
	case err = <-failed:
		stop() // who can't be asked to stop a run must not walk it
	}
	s.state.stop()
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if shutErr := s.http.Shutdown(grace); shutErr != nil {
		s.http.Close() // streams that were open for longer than the grace
	}
	walking.Wait()
	last, sealed := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // however much of the grace those who came have taken
	defer sealed()
	err = errors.Join(err, s.note(last, audit.ServerStopped))
	if flushErr := s.trail.Seal(last); flushErr != nil {
		s.log.Warn("records are left for the next start to ship", "error", flushErr)
	}
	stopTrail()
	shipping.Wait()
	return errors.Join(err, s.close())
}

// drain says on /readyz that the server is stopping, and goes on to answer for
// as long as the configuration says, so that a load balancer sees it in time.
func (s *Server) drain(failed <-chan error) error {
	s.state.stop()
	timer := time.NewTimer(s.cfg.Drain)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-failed:
		return err
	}
}

func (s *Server) note(ctx context.Context, action audit.Action) error {
	err := s.store.AppendAudit(ctx, audit.Record{
		Time: time.Now().UTC(), Actor: "server:" + s.cfg.Name, Origin: "local", Action: action, Detail: version.Current().String(),
	})
	if err == nil {
		s.trail.Wake()
	}
	return err
}

func (s *Server) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.ssh.close())
	if s.inventory != nil {
		s.inventory.close()
	}
	if s.agents != nil {
		s.agents.Close()
	}
	if s.locks != nil {
		s.locks.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// securityHeaders go with every answer, pages and API alike.
func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // pages set their own
		next.ServeHTTP(w, r)
	})
}
