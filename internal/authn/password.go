package authn

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/restartilka/restartilka/internal/restart"
)

// The cost of a password: OWASP's minimum for argon2id. A stored password says
// with which cost it was made, so that these can be raised.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonKey     = 32 // bytes
)

// Bounds of what a stored password may ask for: nobody who writes to the
// database makes the server spend more than this on a sign-in.
const (
	maxArgonMemory = 256 << 10 // KiB
	maxArgonTime   = 16
	maxArgonThread = 8
)

const (
	minPassword = 12  // characters
	maxPassword = 256 // bytes; more would only be work

)

// Hasher makes and checks passwords, at most four at once: each takes 19 MiB,
// and sign-ins can't be made to take them all.
type Hasher struct {
	slots chan struct{}
	calls atomic.Int64
}

// NewHasher returns a Hasher.
func NewHasher() *Hasher { return &Hasher{slots: make(chan struct{}, 4)} }

// Calls tells how often a hash was computed.
func (h *Hasher) Calls() int64 { return h.calls.Load() }

// phc is a stored password: $argon2id$v=19$m=19456,t=2,p=1$SALT$KEY.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

var b64 = base64.RawStdEncoding.Strict()

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads, b64.EncodeToString(p.salt), b64.EncodeToString(p.key))
}

var errPHC = errors.New("not an argon2id PHC string within our bounds")

// parsePHC reads what String makes, and nothing else.
func parsePHC(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(s) > 512 || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, errPHC
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return phc{}, errPHC
	}
	var values [3]uint64
	for i, c := range []struct {
		name      string
		min, most uint64
	}{{"m=", 8, maxArgonMemory}, {"t=", 1, maxArgonTime}, {"p=", 1, maxArgonThread}} {
		digits, ok := strings.CutPrefix(costs[i], c.name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n < c.min || n > c.most || strconv.FormatUint(n, 10) != digits {
			return phc{}, errPHC
		}
		values[i] = n
	}
	p := phc{memory: uint32(values[0]), time: uint32(values[1]), threads: uint8(values[2])}
	var err error
	if p.salt, err = b64.DecodeString(parts[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return phc{}, errPHC
	}
	if p.key, err = b64.DecodeString(parts[5]); err != nil || len(p.key) < 16 || len(p.key) > 64 || p.memory < 8*uint32(p.threads) {
		return phc{}, errPHC
	}
	return p, nil
}

// Hash gives the PHC string of a password that CheckPassword accepts.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	p := phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	rand.Read(p.salt) // never fails, by its documentation
	key, err := h.compute(ctx, p, password)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

// Matches tells whether a password is the one of a PHC string. With a string
// that is none, "" for an unknown user too, it computes the same and says no.
func (h *Hasher) Matches(ctx context.Context, stored, password string) (bool, error) {
	p, err := parsePHC(stored)
	known := err == nil
	if !known {
		p = phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	}
	if len(password) > maxPassword {
		password, known = "", false
	}
	key, err := h.compute(ctx, p, password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1 && known, nil
}

func (h *Hasher) compute(ctx context.Context, p phc, password string) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.slots }()
	h.calls.Add(1)
	return argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.key))), nil
}

// CheckPassword tells why a text is no good as a new password of name.
func CheckPassword(name, password string) error {
	const hint = "a few words that have nothing to do with each other are easy to remember and hard to guess"
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password) || strings.ContainsAny(password, "\x00\r\n"):
		return restart.Errorf(restart.CodeInvalid, "the password has a line end or what is no text")
	case n < minPassword:
		return restart.Errorf(restart.CodeInvalid, "the password has %d characters, and at least %d are needed", n, minPassword).WithHint(hint)
	case len(password) > maxPassword:
		return restart.Errorf(restart.CodeInvalid, "the password has more than %d bytes", maxPassword)
	case strings.Count(password, password[:1]) == len(password), strings.Contains(strings.ToLower(password), strings.ToLower(name)) && n < len(name)+8,
		strings.Contains("123456789012345678901234567890 qwertyuiopasdfghjklzxcvbnm abcdefghijklmnopqrstuvwxyz", strings.ToLower(password)):
		return restart.Errorf(restart.CodeInvalid, "the password is easy to guess").WithHint(hint)
	}
	return nil
}

// NewPassword makes a password of 100 random bits that can be read out.
func NewPassword() string {
	var b [13]byte
	rand.Read(b[:]) // never fails, by its documentation
	text := encoding.EncodeToString(b[:])[:20]
	return text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:]
}
