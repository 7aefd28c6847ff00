package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// SSH is what the profile tells of the way in by SSH.
type SSH struct {
	Command  string   // how people call it: ssh -p 2222 restartilka@restartilka.example.com
	HostKeys []string // fingerprints of the server's own keys, to compare at the first time
}

type (
	// keysView is the section of SSH keys in the profile.
	keysView struct {
		Command  string
		HostKeys []string
		Keys     []keyLine
		Added    bool
		Lives    []int
		Sent     filled
	}
	// keyLine is one SSH key of the profile.
	keyLine struct {
		ID, Name, Kind, Fingerprint string
		Over                        bool
		Ends                        *moment // nil = never
		Used                        *moment // nil = never
	}
)

// keyLives are what the form offers, in days; 0 = for good.
func keyLives() []int { return []int{0, 30, 90, 365} }

// keysOf gives the section of somebody's keys; nil = there is no way in by SSH,
// and he has none that he could want to remove.
func (s *site) keysOf(v *visit, now time.Time) (*keysView, error) {
	keys, _, err := s.cfg.Control.Keys(v.Context(), v.actor, false, "")
	if err != nil || s.cfg.SSH == nil && len(keys) == 0 {
		return nil, err
	}
	view := &keysView{Lives: keyLives(), Added: v.URL.Query().Get("done") == "key"}
	if s.cfg.SSH != nil {
		view.Command, view.HostKeys = s.cfg.SSH.Command, s.cfg.SSH.HostKeys
	}
	for _, k := range slices.Backward(keys) {
		view.Keys = append(view.Keys, keyLine{
			ID: k.ID, Name: restart.Escape(k.Name), Kind: k.Kind, Fingerprint: k.Fingerprint, Over: k.ExpiresAt != nil && !now.Before(*k.ExpiresAt),
			Ends: maybeMoment(k.ExpiresAt, now), Used: maybeMoment(k.LastUsedAt, now),
		})
	}
	return view, nil
}

func (s *site) addKey(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	days, err := strconv.Atoi(v.PostForm.Get("days"))
	if err != nil || !slices.Contains(keyLives(), days) {
		return restart.Errorf(restart.CodeInvalid, "that is no life of a key")
	}
	_, err = s.cfg.Control.AddKey(v.Context(), v.actor, wire.KeyRequest{
		Name: v.PostForm.Get("name"), Key: v.PostForm.Get("key"), Life: restart.Duration(time.Duration(days) * 24 * time.Hour),
	})
	if err != nil {
		if _, bad := authn.ParsePublicKey(v.PostForm.Get("key")); bad != nil {
			v.PostForm.Set("key", "") // it may be the private half
		}
		return s.profileRefused(w, v, "key", err)
	}
	http.Redirect(w, v.Request, "/profile?done=key#keys", http.StatusSeeOther)
	return nil
}

func (s *site) removeKey(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.RemoveKey(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/profile#keys", http.StatusSeeOther)
	return nil
}
