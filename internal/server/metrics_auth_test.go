package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// answers is a method of signing in that says what it is told to.
type answers struct {
	actor restart.Actor
	err   error
}

func (a *answers) Authenticate(context.Context, *http.Request) (restart.Actor, error) {
	return a.actor, a.err
}

func TestScraperIsKnownWhileTheDatabaseIsAway(t *testing.T) {
	good := restart.Actor{Name: "prometheus", Roles: []restart.Role{restart.RoleViewer}}
	down := restart.Errorf(restart.CodeUnavailable, "the database does not answer")
	method := &answers{}
	s := newScraper(method)
	now := time.Now()
	s.now = func() time.Time { return now }
	ask := func(path, header string) error {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		actor, err := s.Authenticate(t.Context(), req)
		if err == nil && actor.Name != good.Name {
			return errors.New("somebody else")
		}
		return err
	}
	method.err = down
	if ask("/metrics", "Bearer a") == nil {
		t.Error("an unknown token was let in")
	}
	method.actor, method.err = good, nil
	if err := ask("/metrics", "Bearer a"); err != nil {
		t.Error(err)
	}
	method.actor, method.err = restart.Actor{}, down
	if err := ask("/metrics", "Bearer a"); err != nil {
		t.Errorf("known a moment ago: %v", err)
	}
	for what, c := range map[string][2]string{"another token": {"/metrics", "Bearer b"}, "another route": {"/api/v1/runs", "Bearer a"}, "no token": {"/metrics", ""}} {
		if ask(c[0], c[1]) == nil {
			t.Errorf("%s was let in", what)
		}
	}
	now = now.Add(scraperRemembered + time.Second)
	if ask("/metrics", "Bearer a") == nil {
		t.Error("let in after too long")
	}
	// Revoked: the database's word ends it, however the header was spelt before.
	method.actor, method.err = good, nil
	if err := ask("/metrics", "Bearer a"); err != nil {
		t.Error(err)
	}
	method.actor, method.err = restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "the token is not valid")
	if ask("/metrics", "Bearer a") == nil {
		t.Error("a revoked token was let in")
	}
	method.err = down
	if ask("/metrics", "Bearer a") == nil {
		t.Error("a revoked token was let in later")
	}
	method.actor, method.err = good, nil
	for _, header := range []string{"Bearer a", "bearer a", "Bearer   a", "BEARER a "} {
		if err := ask("/metrics", header); err != nil {
			t.Error(err)
		}
	}
	if len(s.good) != 1 {
		t.Errorf("one token is remembered %d times", len(s.good))
	}
	method.actor, method.err = restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "the token is not valid")
	if ask("/metrics", "Bearer a") == nil {
		t.Error("a revoked token was let in")
	}
	method.err = down
	if ask("/metrics", "bearer a") == nil {
		t.Error("a revoked token was let in later, in another spelling")
	}
}
