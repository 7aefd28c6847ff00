package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	slotserver "github.com/restartilka/restartilka/test/foreign/fleetlock"
)

type slots struct {
	t      *testing.T
	server *slotserver.Server
	trust  time.Duration // 0 = as it is
}

func newSlots(t *testing.T, many int) *slots {
	s := slotserver.New(many)
	t.Cleanup(s.Close)
	return &slots{t: t, server: s}
}

func (s *slots) open() Lock {
	s.t.Helper()
	l, err := openFleetLock(Setting{URL: s.server.URL, Group: "#environment#"}, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.trust != 0 {
		l.(*fleetLock).trust = s.trust
	}
	s.t.Cleanup(l.Close)
	return l
}

func (s *slots) hold(c Claim) func() {
	s.t.Helper()
	if !s.server.Take(c.Environment, "host7") {
		s.t.Fatal("there is no slot")
	}
	return func() { s.server.Free(c.Environment, "host7") }
}

func (s *slots) away() func() {
	s.server.Behave(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			c.Close()
		}
	})
	return func() { s.server.Behave(nil) }
}

func (s *slots) steal(c Claim) func() {
	s.server.Free(c.Environment, "restartilka-"+c.Run)
	return s.hold(c)
}

func TestFleetLock(t *testing.T) {
	t.Parallel()
	s := newSlots(t, 1)
	s.trust = 20 * time.Millisecond
	exercise(t, s)
}

// A host that reboots and a run share the slots of a group: no more at once
// than there are.
func TestSlotsAreShared(t *testing.T) {
	t.Parallel()
	s := newSlots(t, 2)
	ours := s.open()
	if !s.server.Take("production", "host7") {
		t.Fatal("no slot for a host")
	}
	wantCode(t, "the second slot", ours.Take(soon(t), claim(1)), "")
	err := ours.Take(soon(t), claim(2))
	if wantCode(t, "a third", err, restart.CodeLocked); !strings.Contains(err.Error(), `no slot of group production is free ("failed_lock": "all 2 semaphore slots currently locked")`) {
		t.Error(err)
	}
	if s.server.Take("production", "host8") {
		t.Error("a host reboots beside a run and another host")
	}
	if got := s.server.Held("production"); !slices.Equal(got, []string{"host7", "restartilka-" + claim(1).Run}) {
		t.Error(got)
	}

	// Before each host the server is asked, but not more often than needed.
	asked := s.server.Asked()
	for range 200 {
		wantCode(t, "held", ours.Held(soon(t), claim(1)), "")
	}
	if n := s.server.Asked() - asked; n > 2 {
		t.Errorf("asked %d times within a moment", n)
	}
	ours.Close()
	if got := s.server.Held("production"); len(got) != 2 {
		t.Errorf("a server that stops gives up its slots: %v", got)
	}
}

// What a server that is none answers is no refusal, and what it says is harmless.
func TestOddSlots(t *testing.T) {
	t.Parallel()
	s := newSlots(t, 1)
	ours := s.open()
	for name, answer := range map[string]struct {
		h    http.HandlerFunc
		code restart.Code
		says string
	}{
		"a page": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>maintenance", http.StatusServiceUnavailable)
		}, restart.CodeUnavailable, "answers 503 Service Unavailable"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
		}, restart.CodeUnavailable, "answers 307"},
		"no right": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"kind":"x","value":"y"}`)
		}, restart.CodeUnavailable, "401"},
		"a bad request": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"kind":"x","value":"y"}`)
		}, restart.CodeUnavailable, "400"},
		"no end": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			for range 100 {
				w.Write(make([]byte, 64<<10))
			}
		}, restart.CodeUnavailable, "500"},
		"markup": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"kind":"failed_lock","value":"\u001b[2J<b>\nx"}`)
		}, restart.CodeLocked, `\x1b[2J<b>\nx`},
	} {
		s.server.Behave(answer.h)
		err := ours.Take(soon(t), claim(1))
		if wantCode(t, name, err, answer.code); !strings.Contains(err.Error(), answer.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Who gives a question up has no answer at once, whatever the server does.
	asked, block := make(chan struct{}), make(chan struct{})
	defer close(block)
	s.server.Behave(func(http.ResponseWriter, *http.Request) { close(asked); <-block })
	ctx, giveUp := context.WithCancel(t.Context())
	go func() { <-asked; giveUp() }()
	err := ours.Take(ctx, claim(1))
	if wantCode(t, "no answer", err, restart.CodeUnavailable); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
