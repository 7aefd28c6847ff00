package browser

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// A person comes in with a password, sees what is his, makes a token, changes
// his password and signs a command line in; every page of it fits a phone.
func TestPeople(t *testing.T) {
	f := newFixture(t)
	const password = "correct horse battery"
	_, err := f.Admin.CreateUser(t.Context(), wire.UserRequest{Name: "vera", Password: password, Roles: []restart.Role{restart.RoleDeveloper, restart.RoleAuditor}})
	must(t, err)
	b := open(f.browser, t, f.URL)
	b.visit("/profile")
	f.fits(b, "sign-in")
	b.press(".fold summary")
	f.fits(b, "sign-in-token")
	b.fill("#name", "vera")
	b.fill("#secret", "wrong horse battery")
	b.press("form button.main")
	b.until("document.querySelector('#password-secret-wrong') !== null && document.readyState === 'complete'")
	b.until("document.activeElement.id === 'secret'") // the field that is wrong; browsers move there once they have drawn
	f.fits(b, "sign-in-failed")
	b.fill("#secret", password)
	b.press("form button.main")
	b.until("location.pathname === '/profile' && document.readyState === 'complete'")
	f.fits(b, "profile")

	b.press("form[action='/profile/chat-code'] button")
	b.until("document.querySelector('section[aria-labelledby=chats] .callout code') !== null && document.readyState === 'complete'")
	f.fits(b, "profile-chat-code")
	b.visit("/profile")
	b.press("section[aria-labelledby=tokens] summary")
	f.fits(b, "profile-token")
	b.fill("#token-name", "laptop "+strings.Repeat("x", 40))
	b.fill("#services", "shop-*, nginx")
	b.press("form[action='/profile/token'] button.main")
	b.until("document.querySelector('#new-token') !== null && document.readyState === 'complete'")
	f.fits(b, "profile-new-token")
	c, err := client.New(client.Config{URL: f.URL, CAFile: f.CA, Token: eval[string](b, "document.querySelector('#new-token').textContent")})
	must(t, err)
	if who, err := c.Whoami(t.Context()); err != nil || who.Name != "vera" || who.Scope.String() != "services shop-*, nginx" {
		t.Errorf("the token's owner: %+v, %v", who, err)
	}

	b.press("section[aria-labelledby=keys] summary")
	b.fill("#ssh-key", "ssh-ed25519 AAAA"+strings.Repeat("x", 400))
	b.press("form[action='/profile/key'] button.main")
	b.until("document.querySelector('#key-key-wrong') !== null && document.readyState === 'complete'")
	b.until("document.activeElement.id === 'ssh-key'")
	f.fits(b, "profile-key-wrong")
	b.fill("#ssh-key", publicLine(t)+" "+strings.Repeat("vera", 15))
	b.press("form[action='/profile/key'] button.main")
	b.until("location.search === '?done=key' && document.readyState === 'complete'")
	f.fits(b, "profile-new-key")
	b.press("form[action='/profile/remove-key'] button")
	b.until("location.search === '' && document.readyState === 'complete' && document.querySelector('form[action=\"/profile/remove-key\"]') === null")

	b.press("section[aria-labelledby=password] summary")
	b.fill("#old", "not this one")
	b.fill("#new", "a different horse")
	b.press("form[action='/profile/password'] button.main")
	b.until("document.querySelector('#password-old-wrong') !== null && document.readyState === 'complete'")
	b.until("document.activeElement.id === 'old'")
	f.fits(b, "profile-password-wrong")
	b.fill("#old", password)
	b.fill("#new", "a different horse")
	b.press("form[action='/profile/password'] button.main")
	b.until("location.search === '?done=password' && document.readyState === 'complete'")

	started, err := c.BeginLogin(t.Context(), wire.LoginRequest{Client: "restartilka 0.9.0 on a-laptop-with-a-long-name.example.com"})
	must(t, err)
	b.visit("/login")
	f.fits(b, "login")
	b.fill("#code", "nonsense")
	b.press("form button.main")
	b.until("document.querySelector('#find-code-wrong') !== null && document.readyState === 'complete'")
	f.fits(b, "login-failed")
	b.retype("#code", strings.ToUpper(started.Code))
	b.press("form button.main")
	b.until("location.pathname === '/login/" + started.Code + "' && document.readyState === 'complete'")
	f.fits(b, "login-confirm")
	b.press("form[action='/login/confirm'] button")
	b.until("document.querySelector('[role=status]') !== null && document.readyState === 'complete'")
	f.fits(b, "login-confirmed")
	if a, err := c.ClaimLogin(t.Context(), started.Secret); err != nil || !a.Done || time.Until(*a.Token.ExpiresAt) > 31*24*time.Hour {
		t.Errorf("%+v, %v", a, err)
	}
	b.visit("/sign-in?again=1&next=/profile")
	f.fits(b, "sign-in-again")
	b.quiet("status of 401", "status of 404", "status of 422")
}

// publicLine is a line of a .pub file.
func publicLine(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}
