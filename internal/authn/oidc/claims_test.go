package oidc

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Whatever an issuer signs: no crash, and an identity has a name by our rule.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{
		`{"preferred_username":"anna","sub":"1","groups":["web"],"exp":1e3,"iat":1}`, `{"sub":"1","preferred_username":"a","groups":{"x":1}}`,
		`{"realm_access":{"roles":"web"},"aud":["a","b"],"azp":7}`, `null`, `[]`, `{"a":{"a":{"a":1}}}`, `{"exp":-1}`, `{"exp":1e999}`,
	} {
		f.Add([]byte(s), "realm_access.roles")
	}
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		c, err := readClaims(b)
		if err != nil {
			return
		}
		now := time.Unix(1000, 0)
		_ = c.times(now, now)
		_ = c.party("restartilka", path)
		id, err := c.identity(Config{UsernameClaim: "preferred_username", GroupsClaim: path})
		if err != nil {
			return
		}
		if restart.CheckPerson(id.Name) != nil || id.Subject == "" || len(id.Groups) > mostGroups {
			t.Fatalf("%s: %+v", b, id)
		}
	})
}

// A cookie that was sealed with another key, or never, is nothing.
func FuzzCookie(f *testing.F) {
	ours, err := newJar([]byte("a secret of the client"))
	if err != nil {
		f.Fatal(err)
	}
	theirs, err := newJar([]byte("a secret of another client"))
	if err != nil {
		f.Fatal(err)
	}
	sealed := func(j *jar) (name, value string) {
		w := httptest.NewRecorder()
		if err := j.put(w, httptest.NewRequest(http.MethodGet, "/", nil), state{State: "state"}); err != nil {
			f.Fatal(err)
		}
		made := w.Result().Cookies()[0]
		return made.Name, made.Value
	}
	name, value := sealed(ours)
	if s, err := ours.open(name, value); err != nil || s.State != "state" {
		f.Fatalf("%+v, %v", s, err)
	}
	if _, err := ours.open(name+"0", value); err == nil {
		f.Fatal("the value of one cookie is good in another")
	}
	_, foreign := sealed(theirs)
	f.Add(foreign)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, value string) {
		if s, err := ours.open(name, value); err == nil || s != (state{}) {
			t.Fatalf("%q: %+v, %v", value, s, err)
		}
	})
}

func TestUsedIsBounded(t *testing.T) {
	t.Parallel()
	var u used
	now := time.Unix(1000, 0)
	for i := range mostUsed + 10 {
		s := state{State: string(rune('a'+i%26)) + time.Duration(i).String(), Until: now.Add(time.Minute)}
		if !u.first(s, now) || u.first(s, now) {
			t.Fatalf("%d", i)
		}
	}
	if len(u.until) > mostUsed || len(u.order) > mostUsed {
		t.Errorf("%d, %d", len(u.until), len(u.order))
	}
	u.first(state{State: "later", Until: now.Add(time.Hour)}, now.Add(2*time.Minute))
	if len(u.until) != 1 {
		t.Errorf("%d are left", len(u.until))
	}
}
