package oidc

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

const (
	mostAnswer = 1 << 20         // bytes, of the issuer
	mostCode   = 4 << 10         // bytes
	logoutWait = 3 * time.Second // for an issuer that is not known yet
)

// Options of the method.
type Options struct {
	Config   Config
	Callback string // URL of ours that the issuer sends the browser back to
	Home     string // URL of ours after signing out there
	Logger   *slog.Logger
	Now      func() time.Time // nil = time.Now
}

// Provider is the method of signing in by OIDC: authn.Redirect.
type Provider struct {
	cfg      Config
	callback string
	home     string
	log      *slog.Logger
	now      func() time.Time
	issuer   *issuer
	jar      *jar
	used     used
}

// Open checks the configuration and reads the files that it names. It asks the
// issuer nothing.
func Open(o Options) (*Provider, error) {
	cfg, err := o.Config.Filled()
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, callback: o.Callback, home: o.Home, log: o.Logger, now: o.Now}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	clientSecret, err := p.secret()
	if err != nil {
		return nil, err
	}
	if p.jar, err = newJar(clientSecret); err != nil {
		return nil, err
	}
	address, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("sign_in.oidc.issuer: %w", err) // checked before
	}
	client, err := outgoing.New(outgoing.Config{URL: address, CAFile: cfg.CAFile, Timeout: cfg.Timeout, AtOnce: 2})
	if err != nil {
		return nil, fmt.Errorf("sign_in.oidc.ca_file: %w", err)
	}
	client.Transport = &bounded{next: client.Transport, most: mostAnswer}
	p.issuer = &issuer{cfg: cfg, client: client, now: p.now}
	return p, nil
}

func (p *Provider) secret() ([]byte, error) {
	if p.cfg.ClientSecretFile == "" {
		return nil, nil
	}
	b, err := secret.Read(p.cfg.ClientSecretFile, 4<<10)
	if err != nil {
		return nil, fmt.Errorf("sign_in.oidc.client_secret_file: %w", err)
	}
	if b = bytes.TrimSpace(b); len(b) < minSecret {
		return nil, bad("client_secret_file", "it does not hold %d bytes", minSecret).WithHint("it holds the secret that the issuer gave to client_id")
	}
	return b, nil
}

// Method implements authn.Redirect.
func (p *Provider) Method() string { return authn.MethodOIDC }

// Try asks the issuer what it says of itself. For restartilka config check.
func (p *Provider) Try(ctx context.Context) error {
	_, err := p.issuer.metadata(ctx)
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// Begin implements authn.Redirect.
func (p *Provider) Begin(w http.ResponseWriter, r *http.Request, next string) error {
	m, err := p.issuer.metadata(r.Context())
	if err != nil {
		p.log.Warn("the issuer does not answer", "error", errors.Unwrap(err))
		return err
	}
	if len(next) > mostNext {
		next = "/"
	}
	s := state{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Next: next, Until: p.now().Add(stateLife), Again: r.URL.Query().Get("again") == "1"}
	options := []oauth2.AuthCodeOption{oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier)}
	if s.Again {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	to := p.client(m, nil).AuthCodeURL(s.State, options...)
	if err := p.jar.put(w, r, s); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (p *Provider) client(m *metadata, clientSecret []byte) *oauth2.Config {
	return &oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: string(clientSecret), Endpoint: m.endpoint, RedirectURL: p.callback, Scopes: p.cfg.Scopes}
}

// refused is what the person sees; the cause is for the log and the record.
func refused(cause error, format string, args ...any) error {
	return restart.Errorf(restart.CodeUnauthorised, format, args...).WithHint("sign in once more; if that does not help, the server's log says why").Because(brief(cause))
}

// Finish implements authn.Redirect.
func (p *Provider) Finish(w http.ResponseWriter, r *http.Request) (authn.Identity, string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*p.cfg.Timeout)
	defer cancel()
	query := r.URL.Query()
	s, err := p.jar.take(w, r, query.Get("state"), p.now())
	if err != nil {
		return p.no(refused(err, "this sign-in was not begun in this browser, or was begun more than %s ago", restart.Span(stateLife)))
	}
	if !p.used.first(s, p.now()) {
		return p.no(refused(errors.New("the state was used before"), "this sign-in is over already"))
	}
	m, err := p.issuer.metadata(ctx)
	if err != nil {
		return p.no(err)
	}
	if from := query.Get("iss"); from != p.cfg.Issuer && (from != "" || m.saysWho) {
		return p.no(refused(fmt.Errorf("iss is %s", restart.Quote(from)), "the answer is not from the issuer that was asked"))
	}
	if query.Has("error") {
		return p.no(refused(errors.New(restart.Escape(query.Get("error"))), "the issuer refuses the sign-in: %s %s", restart.Quote(query.Get("error")), restart.Quote(query.Get("error_description"))))
	}
	code := query.Get("code")
	if code == "" || len(code) > mostCode {
		return p.no(refused(errors.New("no code"), "the issuer's answer has no code"))
	}
	raw, access, err := p.exchange(ctx, m, code, s.Verifier)
	if err != nil {
		return p.no(err)
	}
	id, err := p.identify(ctx, m, s, raw, access)
	if err != nil {
		return p.no(err)
	}
	return id, s.Next, nil
}

func (p *Provider) no(err error) (authn.Identity, string, error) {
	level := slog.LevelInfo
	if restart.CodeOf(err) == restart.CodeUnavailable {
		level = slog.LevelWarn
	}
	p.log.Log(context.Background(), level, "a sign-in by oidc does not succeed", "error", err, "cause", errors.Unwrap(err))
	return authn.Identity{}, "", err
}

// exchange gives the id token and the access token that the issuer has for a code.
func (p *Provider) exchange(ctx context.Context, m *metadata, code, verifier string) (raw, access string, err error) {
	clientSecret, err := p.secret()
	if err != nil {
		return "", "", silent(err)
	}
	token, err := p.client(m, clientSecret).Exchange(oidc.ClientContext(ctx, p.issuer.client), code, oauth2.VerifierOption(verifier))
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		cause := fmt.Errorf("the token endpoint answers %s: %s %s", answer.Response.Status, restart.Quote(answer.ErrorCode), restart.Quote(answer.ErrorDescription))
		unnamed := answer.ErrorCode == "" && answer.Response.StatusCode == http.StatusUnauthorized
		if unnamed || answer.ErrorCode == "invalid_client" || answer.ErrorCode == "unauthorized_client" || answer.Response.StatusCode >= 500 || answer.Response.StatusCode/100 == 3 {
			return "", "", silent(cause)
		}
		return "", "", refused(cause, "the issuer does not take the code")
	}
	if err != nil {
		return "", "", silent(err)
	}
	raw, _ = token.Extra("id_token").(string)
	if raw == "" {
		return "", "", refused(errors.New("no id_token"), "the issuer's answer says nothing of who it is")
	}
	return raw, token.AccessToken, nil
}

// identify believes an id token that the issuer has signed, for us, for this
// sign-in, just now.
func (p *Provider) identify(ctx context.Context, m *metadata, s state, raw, access string) (authn.Identity, error) {
	const sentence = "the issuer's word can't be believed"
	token, err := m.verifier.Verify(ctx, raw)
	if err != nil && ctx.Err() != nil {
		return authn.Identity{}, silent(err)
	}
	if err != nil {
		return authn.Identity{}, refused(err, sentence)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(s.Nonce)) != 1 {
		return authn.Identity{}, refused(errors.New("the id token is of another sign-in (nonce)"), sentence)
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(access); err != nil {
			return authn.Identity{}, refused(err, sentence)
		}
	}
	var c claims
	if err := token.Claims((*rawClaims)(&c)); err != nil {
		return authn.Identity{}, refused(err, sentence)
	}
	since := time.Time{}
	if s.Again {
		since = s.Until.Add(-stateLife)
	}
	if err := errors.Join(c.times(p.now(), since), c.party(p.cfg.ClientID, p.cfg.Audience)); err != nil {
		return authn.Identity{}, refused(err, sentence)
	}
	id, err := c.identity(p.cfg)
	if err != nil {
		return authn.Identity{}, refused(err, "the issuer says who it is, but not in a way that can be used here: %s", restart.Escape(err.Error()))
	}
	id.ProvedAt = c.proved(p.now())
	return id, nil
}

// rawClaims reads claims with numbers as they stand.
type rawClaims claims

// UnmarshalJSON is for oidc.IDToken.Claims.
func (r *rawClaims) UnmarshalJSON(b []byte) error {
	c, err := readClaims(b)
	*r = rawClaims(c)
	return err
}

// Logout implements authn.Redirect. The issuer learns which of its clients it
// was, and asks the person; no session of ours is told to it.
func (p *Provider) Logout(string) string {
	if !p.cfg.Logout {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), logoutWait)
	defer cancel()
	m, err := p.issuer.metadata(ctx)
	if err != nil || m.endSession == "" {
		return ""
	}
	u, err := url.Parse(m.endSession)
	if err != nil {
		return ""
	}
	query := u.Query()
	query.Set("client_id", p.cfg.ClientID)
	query.Set("post_logout_redirect_uri", p.home)
	u.RawQuery = query.Encode()
	return u.String()
}
