package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// api is a person's client of one server: HTTP and JSON and nothing of the
// product's own client, so that it does not hide anything.
type api struct {
	url   string
	http  *http.Client
	token *atomic.Pointer[string]
}

func newAPI(url, ca string, token *atomic.Pointer[string]) (*api, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &api{url: url, token: token, http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, MaxIdleConns: 8, IdleConnTimeout: 20 * time.Second},
	}}, nil
}

// refusal is an answer that is not 2xx.
type refusal struct {
	Status int
	Code   restart.Code `json:"code"`
	Detail string       `json:"detail"`
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Code, r.Detail) }

// call asks once, for at most a time.
func (a *api) call(ctx context.Context, most time.Duration, method, path string, key string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if token := a.token.Load(); token != nil {
		req.Header.Set("Authorization", "Bearer "+*token)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		r := &refusal{Status: resp.StatusCode}
		_ = json.Unmarshal(b, r) // what is no problem document keeps its status
		return r
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// askAny asks one server after another, from a random one on, until one has
// answered or refused for a reason that lasts.
func (l *lane) askAny(ctx context.Context, most time.Duration, method, path, key string, in, out any) error {
	deadline := time.Now().Add(most)
	var last error
	for at := rand.IntN(len(l.servers)); ; at++ { //nolint:gosec // no secret
		s := l.servers[at%len(l.servers)]
		last = s.api.call(ctx, 3*time.Second, method, path, key, in, out)
		var r *refusal
		if last == nil || errors.As(last, &r) && r.Status < 500 && r.Status != http.StatusTooManyRequests {
			return last
		}
		s.api.http.CloseIdleConnections()
		if time.Now().After(deadline) || !pause(ctx, 30*time.Millisecond) {
			return fmt.Errorf("no server has answered for %s: %w", most, last)
		}
	}
}
