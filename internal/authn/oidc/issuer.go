package oidc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	metadataLife  = time.Hour       // for how long what an issuer says of itself is good
	metadataPause = 5 * time.Second // how long an issuer that did not answer is left alone
)

// algorithms are those that an issuer signs with a key of its own: "none" is no
// signature, and HS256 is made with a secret that others have.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// metadata is what an issuer says of itself.
type metadata struct {
	verifier   *oidc.IDTokenVerifier
	endpoint   oauth2.Endpoint
	endSession string // "" = it has no page to sign out
	saysWho    bool   // every answer carries iss (RFC 9207)
}

// issuer keeps what is known of the issuer. No lock is held while it is asked.
type issuer struct {
	cfg    Config
	client *http.Client
	now    func() time.Time

	asking singleflight.Group
	mu     sync.Mutex
	known  *metadata
	at     time.Time // of known
	failed time.Time // of the last failure
	err    error     // of the last try
}

// metadata gives what the issuer says of itself, asked for again after an hour.
// While it does not answer, what it said before goes on to be good.
func (i *issuer) metadata(ctx context.Context) (*metadata, error) {
	i.mu.Lock()
	known, now := i.known, i.now()
	fresh := known != nil && now.Sub(i.at) < metadataLife
	paused, err := i.err != nil && now.Sub(i.failed) < metadataPause, i.err
	i.mu.Unlock()
	switch {
	case fresh, paused && known != nil:
		return known, nil
	case paused:
		return nil, err
	}
	answer := i.asking.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.cfg.Timeout)
		defer cancel()
		found, err := i.discover(ctx)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.err = err
		if err != nil {
			i.failed = i.now()
			if i.known != nil {
				return i.known, nil
			}
			return nil, err
		}
		i.known, i.at = found, i.now()
		return found, nil
	})
	select {
	case <-ctx.Done():
		return nil, silent(ctx.Err())
	case r := <-answer:
		found, _ := r.Val.(*metadata)
		return found, r.Err
	}
}

func (i *issuer) discover(ctx context.Context) (*metadata, error) {
	ctx = oidc.ClientContext(ctx, i.client)
	provider, err := oidc.NewProvider(ctx, i.cfg.Issuer)
	if err != nil {
		return nil, silent(err)
	}
	var says struct {
		AuthURL    string   `json:"authorization_endpoint"`
		TokenURL   string   `json:"token_endpoint"`
		KeysURL    string   `json:"jwks_uri"`
		EndSession string   `json:"end_session_endpoint"`
		Methods    []string `json:"token_endpoint_auth_methods_supported"`
		Challenges []string `json:"code_challenge_methods_supported"`
		SaysWho    bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := provider.Claims(&says); err != nil {
		return nil, silent(err)
	}
	for _, address := range []string{says.AuthURL, says.TokenURL, says.KeysURL} {
		if err := i.cfg.checkURL("issuer", address); err != nil {
			return nil, silent(err)
		}
	}
	if i.cfg.checkURL("issuer", says.EndSession) != nil {
		says.EndSession = ""
	}
	if len(says.Challenges) > 0 && !slices.Contains(says.Challenges, "S256") {
		return nil, silent(errors.New("the issuer does not know PKCE with S256"))
	}
	m := &metadata{endpoint: provider.Endpoint(), endSession: says.EndSession, saysWho: says.SaysWho}
	// Never tried by turns: a code would be sent twice.
	m.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if i.cfg.ClientSecretFile == "" || slices.Contains(says.Methods, "client_secret_post") {
		m.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	m.verifier = provider.VerifierContext(ctx, &oidc.Config{ClientID: i.cfg.ClientID, SupportedSigningAlgs: algorithms, SkipExpiryCheck: true}) // its times are checked in times
	return m, nil
}

// silent says that the issuer gave no answer that could be used.
func silent(err error) error {
	return restart.Errorf(restart.CodeUnavailable, "the issuer that knows who you are does not answer as it should").
		WithHint("the server's log says why; restartilka config check tries it").Because(brief(err))
}

// brief keeps an issuer's page out of the log.
func brief(err error) error {
	const most = 500
	text := restart.Escape(err.Error())
	if len(text) <= most {
		return err
	}
	return errors.New(restart.Escape(text[:most]) + "…")
}
