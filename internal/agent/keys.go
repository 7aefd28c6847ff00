package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// learnedMark begins the line of a file of keys that says when a server has
// said so last.
const learnedMark = "# as a server said at "

// Keyring is the one file of envelope keys that a server may change, by the
// word of a key that is good already.
type Keyring struct {
	File string

	turn    sync.Mutex
	learned []time.Time // within the last hour
}

// mostLists is how many lists are learned within an hour, so that whoever has a
// server's key can't fill the disk with records of them.
const mostLists = 20

// LearnKeys takes a list of envelope keys from a server (PUT /v1/envelope-keys):
// signed by a key that is good now, and later than the last one. From then on
// the keys in it are good, and no others. The same keys again cost nothing.
// CodeForbidden where the host's keys are laid by its administrators alone,
// CodeBadSignature, CodeReplay, CodeClockSkew, CodeInvalid.
func (a *Agent) LearnKeys(_ context.Context, m protocol.SealedKeys) (protocol.KeyReport, error) {
	report, err := a.learnKeys(m)
	if err != nil {
		a.noteRefused(protocol.Envelope{}, err)
	}
	return report, err
}

func (a *Agent) learnKeys(m protocol.SealedKeys) (protocol.KeyReport, error) {
	var none protocol.KeyReport
	ring := a.cfg.Keyring
	if ring == nil {
		return none, restart.Errorf(restart.CodeForbidden, "this host's envelope keys lie in several files, and its administrators change them").
			WithHint("lay the new key by configuration management, or name one file in envelope_keys of its agent.yaml")
	}
	ring.turn.Lock()
	defer ring.turn.Unlock()
	good, err := a.cfg.Keys()
	if err != nil {
		return none, err
	}
	list, err := protocol.OpenKeys(m, good)
	if err != nil {
		return none, err
	}
	wanted := map[string]ed25519.PublicKey{}
	for _, k := range list.Keys {
		wanted[protocol.KeyID(k)] = k
	}
	report := protocol.KeyReport{Keys: slices.Sorted(maps.Keys(wanted))}
	if maps.EqualFunc(wanted, good, func(x, y ed25519.PublicKey) bool { return x.Equal(y) }) {
		return report, nil
	}
	now := a.cfg.Now()
	ring.learned = slices.DeleteFunc(ring.learned, func(at time.Time) bool { return now.Sub(at) >= time.Hour })
	last, err := ring.last(now)
	if err != nil {
		return none, fmt.Errorf("look when the envelope keys were laid: %w", err)
	}
	switch {
	case len(ring.learned) >= mostLists:
		return none, restart.Errorf(restart.CodeTooMany, "this host has learned %d lists of envelope keys within the last hour", len(ring.learned)).
			WithHint("no change-over needs so many; it learns again later")
	case list.At.After(now.Add(protocol.MaxSkew)):
		return none, restart.Errorf(restart.CodeClockSkew, "the list of envelope keys was made %s from now, by this host's clock", restart.Span(list.At.Sub(now).Round(time.Second))).
			WithHint("set the clocks (chrony, systemd-timesyncd)")
	case !list.At.After(last):
		return none, restart.Errorf(restart.CodeReplay, "the list of envelope keys is of %s, and this host's keys were learned or laid after that", list.At.UTC().Format(time.RFC3339)).
			WithHint("a server makes a new list whenever it tells hosts; if none is taken, set the clocks (chrony, systemd-timesyncd)")
	}
	if err := ring.write(list); err != nil {
		return none, diskFull(err)
	}
	ring.learned = append(ring.learned, now)
	a.noteChanged(audit.Record{Action: audit.EnvelopeKeysLearned, Detail: "good from now on: " + strings.Join(report.Keys, ", ")})
	a.cfg.Logger.Info("envelope keys learned", "keys", report.Keys)
	return report, nil
}

// last gives when the list was made by which the file was written, or else when
// an administrator has laid the file: lists that were made before that, and kept
// by somebody, say nothing about it.
func (r *Keyring) last(now time.Time) (time.Time, error) {
	f, err := os.Open(r.File)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close() // read only
	b, err := io.ReadAll(io.LimitReader(f, pki.MaxFile))
	if err != nil {
		return time.Time{}, err
	}
	for line := range bytes.Lines(b) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(string(line)), learnedMark); ok {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err == nil {
				return at, nil
			}
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return time.Time{}, err
	}
	return laidAt(time.Unix(st.Ctim.Unix()), now), nil
}

// laidAt is when a file was laid whose inode was changed then: that can't be set
// back, as the time of its contents can, which programs that copy files keep.
// One in the future is of a clock that was wrong: only a list of now is later.
func laidAt(changed, now time.Time) time.Time {
	if changed.After(now) {
		return now.Add(-protocol.MaxSkew)
	}
	return changed
}

// write replaces the file at once and durably.
func (r *Keyring) write(list protocol.KeyList) error {
	text := []byte(learnedMark + list.At.UTC().Format(time.RFC3339Nano) + "\n")
	for _, k := range list.Keys {
		b, err := pki.EnvelopePublicPEM(k)
		if err != nil {
			return err
		}
		text = append(text, b...)
	}
	return pki.WritePEM(r.File, text, 0o644)
}

// keyIDs names the envelope keys that are good now; nil where they can't be read.
func (a *Agent) keyIDs() []string {
	keys, err := a.cfg.Keys()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(keys))
}

func (a *Agent) serveLearnKeys(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, func(ctx context.Context, _ string, m protocol.SealedKeys) (protocol.KeyReport, error) {
		return a.LearnKeys(ctx, m)
	})
}
