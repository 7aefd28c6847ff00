package renewal

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

const (
	// Interval is how often due certificates are looked for, give or take a
	// fifth, so that servers that started together do not go on together.
	Interval = 10 * time.Minute
	// atOnce is how many hosts are renewed at a time.
	atOnce = 4
	// batch is how many are taken from the table at a time.
	batch = 100
	// callTime bounds the two calls to one host.
	callTime = 30 * time.Second
	// claim is how long a host is one server's; more than its calls take.
	claim = 5 * time.Minute
	// firstRetry and lastRetry bound the time after a failure, which doubles.
	firstRetry = 15 * time.Minute
	lastRetry  = 24 * time.Hour
	// foreignAgain is when a host is looked at again that shows a certificate of
	// another authority.
	foreignAgain = 24 * time.Hour
)

// Store is the part of store.Store that renewals need.
type Store interface {
	DueRenewals(ctx context.Context, now time.Time, limit int) ([]store.Certificate, error)
	ClaimRenewal(ctx context.Context, host string, now, until time.Time) (bool, error)
	PutCertificate(ctx context.Context, c store.Certificate, records ...audit.Record) error
	ConfirmRenewal(ctx context.Context, host, serial string, now, next time.Time, revoked audit.Record) error
	FailRenewal(ctx context.Context, host, why string, now time.Time, backoff func(failures int) time.Duration) error
}

// Agents is the part of dispatch.Client that renewals need.
type Agents interface {
	RequestRenewal(ctx context.Context, host restart.Host) (protocol.RenewalRequest, *x509.Certificate, error)
	Renew(ctx context.Context, host restart.Host, m protocol.Renewal) (protocol.CertificateReport, error)
}

// Hosts finds a host's address: inventory.Inventory.
type Hosts interface {
	Host(ctx context.Context, name string) (restart.Host, error)
}

// Config of a Renewer. All but Logger, Now and Committed are needed.
type Config struct {
	Store     Store
	Agents    Agents
	Hosts     Hosts
	CA        *pki.CA
	Server    string           // this server's name, for the trail
	Committed func()           // tells the audit trail that there is something to ship
	Logger    *slog.Logger     // nil = nobody listens
	Now       func() time.Time // nil = time.Now
}

// Renewer renews certificates.
type Renewer struct{ cfg Config }

// New returns a Renewer.
func New(cfg Config) *Renewer {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Committed == nil {
		cfg.Committed = func() {}
	}
	return &Renewer{cfg}
}

func (r *Renewer) now() time.Time { return r.cfg.Now().UTC().Truncate(time.Microsecond) }

// Run renews what is due, now and every Interval, until ctx ends.
func (r *Renewer) Run(ctx context.Context) {
	for {
		if _, err := r.Round(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Logger.Error("look for certificates to renew; it is tried again", "error", err)
		}
		pause := time.NewTimer(Interval*4/5 + rand.N(Interval*2/5)) //nolint:gosec // spreads load, hides nothing
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// Round renews every host that is due, and gives how many were renewed. A host
// that could not be is no error.
func (r *Renewer) Round(ctx context.Context) (renewed int, err error) {
	for ctx.Err() == nil {
		due, err := r.cfg.Store.DueRenewals(ctx, r.now(), batch)
		if err != nil || len(due) == 0 {
			return renewed, err
		}
		n, err := r.all(ctx, due)
		renewed += n
		if err != nil {
			return renewed, err
		}
	}
	return renewed, ctx.Err()
}

// all renews a batch. Each host of it has another time for its next try after
// that, or is another server's, so that a Round ends; an error that keeps that
// from being stored ends it too.
func (r *Renewer) all(ctx context.Context, due []store.Certificate) (renewed int, err error) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, c := range due {
		slots <- struct{}{}
		workers.Go(func() {
			defer func() { <-slots }()
			done, failure := r.one(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, failure)
			if done {
				renewed++
			}
		})
	}
	workers.Wait()
	return renewed, err
}

// one renews one host. Its error is that of the store alone.
func (r *Renewer) one(ctx context.Context, c store.Certificate) (renewed bool, err error) {
	now := r.now()
	mine, err := r.cfg.Store.ClaimRenewal(ctx, c.Host, now, now.Add(claim))
	if err != nil || !mine {
		return false, err
	}
	log := r.cfg.Logger.With("host", c.Host)
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	shown, err := r.renew(ctx, c)
	whole := context.WithoutCancel(ctx)
	if err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return false, nil // the server stops: nothing is said about the host, and the claim ends by itself
		}
		log.Warn("the host's certificate could not be renewed; it is tried again", "until", c.NotAfter, "error", err)
		return false, r.cfg.Store.FailRenewal(whole, c.Host, sentence(err), r.now(), backoff)
	}
	next := r.now().Add(Interval)
	if !shown.ours {
		next = r.now().Add(foreignAgain)
	}
	if err := r.cfg.Store.ConfirmRenewal(whole, c.Host, shown.serial, r.now(), next, r.record(audit.CertificateRevoked, c.Host)); err != nil {
		return false, err
	}
	r.cfg.Committed()
	if !shown.ours {
		log.Info("the host shows a certificate of another PKI; it is not renewed from here", "serial", shown.serial)
		return false, nil
	}
	log.Info("the host's certificate is renewed", "serial", shown.serial)
	return true, nil
}

// shows is which certificate a host shows after a renewal, or without one.
type shows struct {
	serial string
	ours   bool // with an identity of ours, whichever of our authorities has signed it
}

// renew does the two calls.
func (r *Renewer) renew(ctx context.Context, c store.Certificate) (shows, error) {
	if !r.cfg.CA.NotAfter().After(c.NotAfter) {
		return shows{}, restart.Errorf(restart.CodeCertificate, "the authority itself ends on %s, so that no certificate can live longer", c.NotAfter.Format(time.DateOnly)).
			WithHint("make a new authority: docs/operations.md")
	}
	host, err := r.cfg.Hosts.Host(ctx, c.Host)
	if err != nil {
		return shows{}, err
	}
	request, shown, err := r.cfg.Agents.RequestRenewal(ctx, host)
	if err != nil {
		return shows{}, err
	}
	if _, ours, err := pki.IdentityOf(shown); err != nil || !ours {
		return shows{pki.SerialOf(shown), false}, err
	}
	if shown.NotAfter.After(c.NotAfter) { // an earlier renewal: its answer was lost
		return shows{pki.SerialOf(shown), true}, nil
	}
	now := r.now()
	text, err := r.cfg.CA.SignAgentCSR([]byte(request.CSR), c.Host, now)
	if err != nil {
		return shows{}, err
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return shows{}, fmt.Errorf("read the certificate just issued: %w", err)
	}
	row := store.Certificate{Serial: pki.SerialOf(cert), Host: c.Host, IssuedAt: now, NotAfter: cert.NotAfter.UTC(), Pending: true, Renews: pki.SerialOf(shown)}
	rec := r.record(audit.CertificateIssued, c.Host)
	rec.Detail = "renewal of " + c.Serial + ": serial " + row.Serial + ", until " + row.NotAfter.Format(time.RFC3339)
	if err := r.cfg.Store.PutCertificate(ctx, row, rec); err != nil {
		return shows{}, err
	}
	r.cfg.Committed()
	report, err := r.cfg.Agents.Renew(ctx, host, protocol.Renewal{Certificate: string(text)})
	if err != nil {
		return shows{}, err
	}
	if report.Serial != row.Serial {
		return shows{}, restart.Errorf(restart.CodeCertificate, "the agent has taken the certificate %s, and shows %s", row.Serial, restart.Quote(report.Serial))
	}
	return shows{row.Serial, true}, nil
}

func (r *Renewer) record(action audit.Action, host string) audit.Record {
	return audit.Record{Time: r.now(), Actor: "server:" + r.cfg.Server, Origin: "renewal", Action: action, Host: host}
}

// backoff is how long to wait after so many failures without a break.
func backoff(failures int) time.Duration {
	return min(lastRetry, firstRetry<<min(max(failures-1, 0), 10))
}

// sentence gives what people may read of an error.
func sentence(err error) string {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e.Error()
	}
	return restart.Escape(err.Error())
}
