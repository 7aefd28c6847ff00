package server

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// scraperPatience is how long the database may take to know a scraper's token.
	scraperPatience = 2 * time.Second
	// scraperRemembered is for how long a scraper is let in that was good when
	// the database last answered.
	scraperRemembered = time.Hour
)

// scraper recognises who asks for /metrics also while the database, which has
// the tokens, does not answer: monitoring must see that moment. It lets in only
// a token that was good within the last hour, to numbers only; while the
// database answers, its word counts.
type scraper struct {
	method authn.Method
	now    func() time.Time

	mu   sync.Mutex
	good map[[sha256.Size]byte]remembered // by hash of the token
}

type remembered struct {
	actor restart.Actor
	at    time.Time
}

func newScraper(method authn.Method) *scraper {
	return &scraper{method: method, now: time.Now, good: map[[sha256.Size]byte]remembered{}}
}

// Authenticate implements authn.Method.
func (s *scraper) Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error) {
	header := r.Header.Get("Authorization")
	if r.URL.Path != "/metrics" || header == "" {
		return s.method.Authenticate(ctx, r)
	}
	brief, cancel := context.WithTimeout(ctx, scraperPatience)
	defer cancel()
	actor, err := s.method.Authenticate(brief, r)
	_, secret, _ := strings.Cut(header, " ") // one token, however the rest is spelt
	key := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch {
	case err == nil && actor.Name != "":
		for k, v := range s.good { // the few that scrape
			if now.Sub(v.at) > scraperRemembered {
				delete(s.good, k)
			}
		}
		s.good[key] = remembered{actor, now}
	case restart.CodeOf(err) == restart.CodeUnauthorised:
		delete(s.good, key)
	case err != nil:
		if v, ok := s.good[key]; ok && now.Sub(v.at) <= scraperRemembered {
			return v.actor, nil
		}
	}
	return actor, err
}
