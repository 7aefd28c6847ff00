package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
)

// stopTime is how long answers in hand may take when the agent stops.
const stopTime = 10 * time.Second

// How long an agent waits for its spool: a program that one before it was killed
// in starting holds the lock until it has begun, and restartilka-agent task for as
// long as it looks.
const (
	spoolTime = 5 * time.Second
	spoolStep = 50 * time.Millisecond
)

// takeSpool opens the spool for the agent; CodeLocked where another has it for
// longer than spoolTime.
func takeSpool(ctx context.Context, dir string) (*spool.Spool, error) {
	ctx, cancel := context.WithTimeout(ctx, spoolTime)
	defer cancel()
	for {
		s, err := spool.Open(spool.Config{Dir: dir})
		if restart.CodeOf(err) != restart.CodeLocked {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(spoolStep):
		}
	}
}

// Serve runs an agent by its settings until ctx ends: recover, listen, answer.
// Supervisors are left alone when it stops; the next agent finds them. ready is
// called once both listeners take connections; nil = nobody asks.
func Serve(ctx context.Context, s Settings, log *slog.Logger, ready func(listen, status net.Addr)) error {
	if err := (pki.Pair{Cert: s.Certificate, Key: s.Key}).Recover(); err != nil {
		log.Error("an interrupted renewal of this host's certificate can't be finished", "error", err)
	}
	credentials, err := pki.LoadCredentials(s.Certificate, s.Key, s.CA)
	if err != nil {
		return err
	}
	secure, err := credentials.Listen(s.Servers)
	if err != nil {
		return err
	}
	log = log.With("host", s.Host)
	store, err := takeSpool(ctx, s.Spool)
	if err != nil {
		return err
	}
	defer store.Close()
	attendant := NewAttendant(store, log)
	a, closeLocal, err := build(s, store, attendant, NewIdentity(s, credentials.Leaf), log)
	if err != nil {
		return err
	}
	defer closeLocal()
	if _, err := a.cfg.Keys(); err != nil {
		return err
	}
	if err := a.Recover(ctx); err != nil {
		return err
	}

	var listenConfig net.ListenConfig
	listener, err := listenConfig.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen for servers: %w", err)
	}
	defer listener.Close()
	public := server(a.Handler(), log)
	public.TLSConfig = secure
	servers := []serving{{public, tls.NewListener(listener, secure)}}
	var statusAddr net.Addr
	if s.StatusListen != "" {
		status, err := listenConfig.Listen(ctx, "tcp", s.StatusListen)
		if err != nil {
			return fmt.Errorf("listen for /ping, /readyz and /metrics: %w", err)
		}
		defer status.Close()
		statusAddr = status.Addr()
		plain := server(a.StatusHandler(Gauges{
			SpoolSize: store.Size, SpoolSpace: store.Space, SpoolWritable: store.Writable, Certificate: credentials.Leaf, Credentials: credentials.Err,
		}), log)
		plain.WriteTimeout = statusTime
		servers = append(servers, serving{plain, status})
	}
	if s.Socket != "" {
		if local, err := listenLocal(ctx, s.Socket); err != nil {
			log.Warn("root can't work on this host through the agent while it runs", "socket", s.Socket, "error", err)
		} else {
			defer local.Close()
			servers = append(servers, serving{localServer(a, log), local})
		}
	}
	log.Info("agent listens", "address", listener.Addr().String(), "containment", a.cfg.Containment, "program", a.cfg.Program)
	if ready != nil {
		ready(listener.Addr(), statusAddr)
	}
	return run(ctx, a, attendant, servers, log)
}

type serving struct {
	server   *http.Server
	listener net.Listener
}

// run serves until ctx ends or a listener breaks, then stops in order: no new
// task, answers in hand, attendant.
func run(ctx context.Context, a *Agent, attendant *Attendant, servers []serving, log *slog.Logger) error {
	attend, stopAttending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAttending()
	var all sync.WaitGroup
	all.Go(func() { attendant.Run(attend, a) })
	broken := make(chan error, len(servers))
	for _, s := range servers {
		all.Go(func() {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				broken <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("agent stops; its supervisors go on")
	case err = <-broken:
		err = fmt.Errorf("serve: %w", err)
	}
	a.Stop()
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	for _, s := range servers {
		if s.server.Shutdown(finish) != nil { // output that is still followed: the server asks the next agent
			s.server.Close()
		}
	}
	stopAttending()
	all.Wait()
	return err
}

// server has the bounds that every listener needs.
func server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo), // who was turned away at the handshake, and why
	}
}

// build makes the agent of these settings. done gives up what it has opened.
func build(s Settings, store *spool.Spool, attendant *Attendant, identity *Identity, log *slog.Logger) (a *Agent, done func(), err error) {
	records, damage, err := ledger.Open(s.Spool, s.Host, time.Now(), protocol.TombstoneLife)
	if err != nil {
		return nil, nil, err
	}
	if damage != nil {
		log.Error("this host's own records were changed, or their disk is damaged", "error", damage)
	}
	asked, damage, err := ledger.OpenAsked(s.Spool, s.Host, time.Now())
	if err != nil {
		records.Close()
		return nil, nil, err
	}
	if damage != nil {
		log.Error("this host's record of what servers asked was changed, or its disk is damaged", "error", damage)
	}
	base, why := supervisor.FindCgroup(s.Cgroup)
	if base != "" {
		supervisor.SweepCgroups(base)
	}
	here := s.HostFacts()
	keys := func() (map[string]ed25519.PublicKey, error) { return LoadKeys(s.EnvelopeKeys) }
	launcher := Processes{Spool: store, Exited: attendant.Exited, Job: func(id string) (supervisor.Job, error) {
		k, err := keys()
		return supervisor.Job{Task: id, Spool: s.Spool, Host: here, Keys: k, Cgroup: base, Grace: s.Grace}, err
	}}
	a, err = New(Config{
		Host: here, Local: &Local{Key: store.LocalKey, Ledger: records}, Reviewed: store, Asked: asked, Keys: keys, Keyring: s.keyring(), Spool: store, Archive: store, Launcher: launcher, Packages: host.Packages{},
		Command: Command(base, s.Grace), Gather: Gather(base, s.Host, s.Grace), Attend: attendant.Attend,
		Containment: containment(base, why), Features: FeaturesHere(base, why), SpoolDir: s.Spool, Program: version.Current().Version, BootID: host.BootID(),
		RatePerHour: s.Rate, Identity: identity, Logger: log,
	})
	if err != nil {
		records.Close()
		asked.Close()
		return nil, nil, err
	}
	return a, func() { records.Close(); asked.Close() }, nil // what must last was synced when it was written
}

// HostFacts gives what the settings say about this host.
func (s Settings) HostFacts() host.Host {
	h := host.Host{Name: s.Host, Groups: s.Groups, Environments: s.Environments, Scenarios: s.Scenarios, Services: s.Services}
	if s.Review == reviewSigned {
		h.Review = &host.Review{
			Signers: s.Signers, Revoked: s.Revoked, Quorum: s.Quorum,
			Laid: filepath.Join(s.Spool, spool.FolderScenarios), Serials: filepath.Join(s.Spool, spool.FolderSerials),
		}
	}
	return h
}

// keyring is the file of envelope keys, where it is one.
func (s Settings) keyring() *Keyring {
	if len(s.EnvelopeKeys) != 1 {
		return nil
	}
	return &Keyring{File: s.EnvelopeKeys[0]}
}

// LoadKeys reads the public keys whose envelopes are obeyed. It is asked for
// each task, so that a key that was laid or taken away counts at once.
func LoadKeys(files []string) (map[string]ed25519.PublicKey, error) {
	all := map[string]ed25519.PublicKey{}
	for _, file := range files {
		text, err := host.ReadTrusted(file, pki.MaxFile)
		if err != nil {
			return nil, restart.Errorf(restart.CodeCertificate, "the key of a server can't be used: %v", err).
				WithHint("it decides whom this host obeys: %s and its folder belong to root, and nobody else may write to them", file).Because(err)
		}
		keys, err := pki.ParseEnvelopePublicKeys(file, text)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, keys)
	}
	return all, nil
}

// agentUnit is what the agent's package calls its unit.
const agentUnit = "restartilka-agent.service"

// CheckHere is Check without a running agent, for a person on the host: it only
// reads.
func CheckHere(ctx context.Context, s Settings, ask protocol.CheckRequest) (protocol.CheckReport, error) {
	base, why := supervisor.FindUnitCgroup(s.Cgroup, agentUnit)
	a := &Agent{cfg: Config{
		Host: s.HostFacts(), Packages: host.Packages{}, Now: time.Now, BootID: host.BootID(), Program: version.Current().Version,
		Containment: containment(base, why), Features: FeaturesHere(base, why), SpoolDir: s.Spool,
		Keys: func() (map[string]ed25519.PublicKey, error) { return LoadKeys(s.EnvelopeKeys) },
	}}
	report, err := a.Check(ctx, ask)
	if err != nil {
		return report, err
	}
	credentials, err := pki.LoadCredentials(s.Certificate, s.Key, s.CA)
	if err == nil {
		report.Certificate = protocol.ReportCertificate(credentials.Leaf())
	} else {
		e, ok := errors.AsType[*restart.Error](err)
		if !ok {
			e = restart.Errorf(restart.CodeCertificate, "%s", restart.Escape(err.Error()))
		}
		report.Problems = append(report.Problems, *e)
	}
	return report, nil
}
