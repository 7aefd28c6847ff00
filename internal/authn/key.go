package authn

import (
	"context"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// KeyStore keeps SSH keys; *store.Store is one.
type KeyStore interface {
	UserStore
	KeyByFingerprint(ctx context.Context, fingerprint string) (store.Key, error)
	TouchKey(ctx context.Context, id string) error
}

// Keys recognises requests that were made inside of this process for somebody
// who has proved by SSH that he holds a key: see ShownKey. The key is looked up
// anew for each, so that one that was removed is good for nothing at once.
type Keys struct {
	Store  KeyStore
	People *People          // nil = users have only the roles that an admin gave
	Now    func() time.Time // nil = time.Now
}

// ShownKey is what a way in by SSH knows of who asks.
type ShownKey struct {
	Fingerprint string
	From        string // address that he comes from
}

type shownKey struct{}

// WithKey gives a context by which Keys knows who asks. A request from the
// network never has one: it can't be written into headers.
func WithKey(ctx context.Context, shown ShownKey) context.Context {
	return context.WithValue(ctx, shownKey{}, shown)
}

var errKey = restart.Errorf(restart.CodeUnauthorised, "the SSH key is in nobody's profile").
	WithHint("it may be removed or expired, or its owner may not sign in any more; keys are put in on the profile page")

// Authenticate implements Method.
func (k Keys) Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error) {
	shown, ok := r.Context().Value(shownKey{}).(ShownKey)
	if !ok {
		return restart.Actor{}, nil
	}
	actor, key, err := k.Check(ctx, shown)
	if err != nil {
		return restart.Actor{}, err
	}
	return actor, k.Store.TouchKey(ctx, key.ID)
}

// Check gives the owner of a key as he is now, and the key: CodeUnauthorised
// where it is in nobody's profile, has expired, or its owner may not sign in.
// Other errors are the store's.
func (k Keys) Check(ctx context.Context, shown ShownKey) (restart.Actor, store.Key, error) {
	key, err := k.Store.KeyByFingerprint(ctx, shown.Fingerprint)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return restart.Actor{}, key, errKey
	}
	if err != nil {
		return restart.Actor{}, key, err
	}
	now := time.Now()
	if k.Now != nil {
		now = k.Now()
	}
	if !key.Valid(now) {
		return restart.Actor{}, key, errKey
	}
	people := People{Store: k.Store, Now: k.Now}
	if k.People != nil {
		people = *k.People
	}
	actor, err := people.Present(ctx, key.Owner)
	switch restart.CodeOf(err) {
	case "":
	case restart.CodeNotFound, restart.CodeUnauthorised:
		return restart.Actor{}, key, errKey
	default:
		return restart.Actor{}, key, err
	}
	actor.Via, actor.From, actor.Method, actor.ExpiresAt = "ssh", shown.From, MethodKey, when(key.ExpiresAt)
	return actor, key, nil
}
