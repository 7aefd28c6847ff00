package web

import (
	"crypto/ed25519"
	"crypto/rand"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

func publicLine(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// TestProfileKeys: somebody puts an SSH key into his profile and takes it out;
// what is wrong is said beside the field, and a private half is not shown again.
func TestProfileKeys(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.SSH = &SSH{Command: "ssh -p 2222 restartilka@restartilka.example.com", HostKeys: []string{"SHA256:ofTheServer"}}
	})
	f.user("anna", developer)
	cookie := f.enter("anna")
	page := f.do("GET", "/profile", "", "Cookie", cookie)
	if !strings.Contains(page.body, "ssh -p 2222 restartilka@restartilka.example.com whoami") || !strings.Contains(page.body, "SHA256:ofTheServer") || !strings.Contains(page.body, "You have no SSH keys here.") {
		t.Errorf("%s", page.body)
	}
	line := publicLine(t)
	if res := f.post("/profile/key", url.Values{"key": {line + " <b>anna</b>@laptop"}, "days": {"90"}}, "Cookie", cookie); res.Header.Get("Location") != "/profile?done=key#keys" {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	keys, err := f.store.Keys(t.Context(), store.KeyFilter{Owner: "anna", Limit: 10})
	if err != nil || len(keys) != 1 || time.Until(keys[0].ExpiresAt) < 89*24*time.Hour || keys[0].Name != "<b>anna</b>@laptop" {
		t.Fatalf("%+v, %v", keys, err)
	}
	page = f.do("GET", "/profile?done=key", "", "Cookie", cookie, "Accept-Language", "ru")
	if !strings.Contains(page.body, "Ключ добавлен.") || !strings.Contains(html.UnescapeString(page.body), keys[0].Fingerprint[:12]) || strings.Contains(page.body, "<b>anna") || strings.Contains(page.body, line) {
		t.Errorf("%s", page.body)
	}
	besideField(t, f.post("/profile/key", url.Values{"key": {line}, "days": {"0"}}, "Cookie", cookie), "key-key-wrong", "in a profile already", "")
	private := "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"
	res := f.post("/profile/key", url.Values{"key": {private}, "days": {"0"}, "name": {"mine"}}, "Cookie", cookie)
	besideField(t, res, "key-key-wrong", "private half", "mine")
	if strings.Contains(res.body, "b3BlbnNzaC1rZXk") {
		t.Error("the private half is shown again")
	}
	if res := f.post("/profile/key", url.Values{"key": {publicLine(t)}, "days": {"7"}}, "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a life of its own: %s", res.Status)
	}
	late := f.agedCookie("anna", time.Hour)
	if res := f.post("/profile/key", url.Values{"key": {publicLine(t)}, "days": {"0"}}, "Cookie", late); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Location"), "/sign-in?again=1") {
		t.Errorf("an hour after the sign-in: %s to %s", res.Status, res.Header.Get("Location"))
	}
	f.user("boris", developer)
	if res := f.post("/profile/remove-key", url.Values{"id": {keys[0].ID}}, "Cookie", f.enter("boris")); res.StatusCode != http.StatusNotFound {
		t.Errorf("another's: %s", res.Status)
	}
	if res := f.post("/profile/remove-key", url.Values{"id": {keys[0].ID}}, "Cookie", late); res.Header.Get("Location") != "/profile#keys" {
		t.Errorf("%s", res.Status)
	}
	if _, err := f.store.KeyByID(t.Context(), keys[0].ID); restart.CodeOf(err) != restart.CodeNotFound {
		t.Error(err)
	}
}

// TestProfileWithoutSSH: where nobody comes by SSH, there is nothing of it; but
// keys of before can be removed.
func TestProfileWithoutSSH(t *testing.T) {
	f := newFixture(t)
	f.user("anna", developer)
	cookie := f.enter("anna")
	if page := f.do("GET", "/profile", "", "Cookie", cookie); strings.Contains(page.body, "SSH") {
		t.Errorf("%s", page.body)
	}
	if err := f.store.AddKey(t.Context(), store.Key{ID: restart.NewID(time.Now()), Owner: "anna", Name: "old", Fingerprint: "SHA256:x", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if page := f.do("GET", "/profile", "", "Cookie", cookie); !strings.Contains(page.body, "/profile/remove-key") || strings.Contains(page.body, `action="/profile/key"`) || !strings.Contains(page.body, "good for nothing") {
		t.Errorf("%s", page.body)
	}
}
