package oidc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	cookiePrefix = "__Host-restartilka-oidc-" // and what cookieName makes of the state
	stateLife    = 10 * time.Minute
	mostTabs     = 6       // sign-ins that one browser has begun
	mostNext     = 1 << 10 // bytes
	mostUsed     = 10000   // states that are remembered
)

// state is one sign-in that a browser has begun.
type state struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // of PKCE
	Next     string    `json:"next"`
	Again    bool      `json:"again,omitempty"` // the person was to prove himself anew
	Until    time.Time `json:"until"`
}

// jar seals states into cookies. Servers that share a client secret read each
// other's; without one each has a key of its own.
type jar struct{ aead cipher.AEAD }

func newJar(secret []byte) (*jar, error) {
	if len(secret) == 0 {
		secret = []byte(rand.Text())
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "restartilka sign-in by oidc, cookie", 32)
	if err != nil {
		return nil, fmt.Errorf("make the key of cookies: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make the key of cookies: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &jar{aead}, err
}

// cookieName differs with the state, so that each tab has its own.
func cookieName(of string) string {
	sum := sha256.Sum256([]byte(of))
	return cookiePrefix + hex.EncodeToString(sum[:8])
}

// put sets the cookie of a sign-in, and drops those of others where a browser
// has begun too many.
func (j *jar) put(w http.ResponseWriter, r *http.Request, s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	var others []string
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, cookiePrefix) {
			others = append(others, c.Name)
		}
	}
	if len(others) >= mostTabs {
		for _, name := range others {
			drop(w, name)
		}
	}
	name := cookieName(s.State)
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: base64.RawURLEncoding.EncodeToString(j.aead.Seal(nil, nil, b, []byte(name))), Path: "/",
		MaxAge: int(stateLife / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}

var errState = errors.New("no cookie of this browser fits the state")

// take gives the sign-in of a state that this browser has begun, and clears
// its cookie.
func (j *jar) take(w http.ResponseWriter, r *http.Request, of string, now time.Time) (state, error) {
	if of == "" || len(of) > 128 {
		return state{}, errState
	}
	name := cookieName(of)
	cookie, err := r.Cookie(name)
	if err != nil {
		return state{}, errState
	}
	drop(w, name)
	s, err := j.open(name, cookie.Value)
	switch {
	case err != nil:
		return state{}, err
	case subtle.ConstantTimeCompare([]byte(s.State), []byte(of)) != 1:
		return state{}, errState
	case now.After(s.Until):
		return state{}, errors.New("it was begun too long ago")
	}
	return s, nil
}

func (j *jar) open(name, value string) (state, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return state{}, errState
	}
	b, err := j.aead.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return state{}, errState
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, errState
	}
	return s, nil
}

func drop(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// used remembers which states have come back, so that an answer is taken once
// even where a copy of the cookie is left.
type used struct {
	mu    sync.Mutex
	until map[string]time.Time
	order []string // the oldest first
}

// first tells whether a state comes back for the first time.
func (u *used) first(s state, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.until == nil {
		u.until = map[string]time.Time{}
	}
	for len(u.order) > 0 && (len(u.order) >= mostUsed || now.After(u.until[u.order[0]])) {
		delete(u.until, u.order[0])
		u.order = u.order[1:]
	}
	if _, ok := u.until[s.State]; ok {
		return false
	}
	u.until[s.State] = s.Until
	u.order = append(u.order, s.State)
	return true
}
