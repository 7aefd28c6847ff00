package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// TestChatLinks: an account of a chat is linked by a code that the profile shows
// once, after a recent sign-in; it is listed there, and removed by its owner or
// an admin, and by nobody else.
func TestChatLinks(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Chats = []string{"telegram", "slack"} })
	f.user("anna", developer)
	f.user("boris", developer)
	f.user("root", restart.RoleAdmin)
	anna, boris, root := f.enter("anna"), f.enter("boris"), f.enter("root")

	if res := f.post("/profile/chat-code", nil, "Cookie", f.agedCookie("anna", time.Hour)); res.Header.Get("Location") != "/sign-in?again=1&next=%2Fprofile" {
		t.Errorf("after an hour: %s to %q", res.Status, res.Header.Get("Location"))
	}
	page := f.post("/profile/chat-code", nil, "Cookie", anna)
	code := regexp.MustCompile(`<code>/link ([0-9a-z]{5}-[0-9a-z]{5})</code>`).FindStringSubmatch(page.body)
	if page.StatusCode != http.StatusOK || code == nil || !strings.Contains(page.body, "<code>/restartilka link "+code[1]+"</code>") {
		t.Fatalf("%s\n%s", page.Status, page.body)
	}
	if again := f.do("GET", "/profile", "", "Cookie", anna); strings.Contains(again.body, code[1]) {
		t.Error("the code is shown again")
	}
	c := f.site.cfg.Control
	owner, err := c.LinkChat(t.Context(), control.ChatPerson{Chat: "telegram", ID: "12345", Name: "<b>anna</b>"}, code[1])
	if err != nil || owner != "anna" {
		t.Fatalf("%q %v", owner, err)
	}
	links, err := f.store.ChatLinks(t.Context(), "anna")
	f.must(err)
	id := links[0].ID
	page = f.do("GET", "/profile", "", "Cookie", anna, "Accept-Language", "ru")
	if !strings.Contains(page.body, "<code>12345</code>") || !strings.Contains(page.body, "&lt;b&gt;anna") || !strings.Contains(page.body, "Отвязать") {
		t.Errorf("the list: %s", page.body)
	}
	if strings.Contains(f.do("GET", "/profile", "", "Cookie", boris).body, "12345") {
		t.Error("boris sees anna's account")
	}
	if res := f.post("/profile/unlink-chat", url.Values{"id": {id}}, "Cookie", boris); res.StatusCode != http.StatusNotFound {
		t.Errorf("boris: %s", res.Status)
	}
	if res := f.post("/admin/users/anna/unlink-chat", url.Values{"id": {id}}, "Cookie", boris); res.StatusCode != http.StatusForbidden {
		t.Errorf("boris, as an admin: %s", res.Status)
	}
	if page := f.do("GET", "/admin/users/anna", "", "Cookie", root); !strings.Contains(page.body, `action="/admin/users/anna/unlink-chat"`) {
		t.Errorf("the admin's page: %s", page.body)
	}
	if res := f.post("/admin/users/anna/unlink-chat", url.Values{"id": {id}}, "Cookie", root); res.Header.Get("Location") != "/admin/users/anna?done=unlinked" {
		t.Errorf("the admin: %s", res.Status)
	}
	if _, err := c.ChatActor(t.Context(), control.ChatPerson{Chat: "telegram", ID: "12345"}); restart.CodeOf(err) != restart.CodeUnauthorised {
		t.Errorf("after that: %v", err)
	}

	code2, err := c.ChatCode(t.Context(), restart.Actor{Name: "anna", Roles: []restart.Role{developer}, Via: "cli"})
	f.must(err)
	_, err = c.LinkChat(t.Context(), control.ChatPerson{Chat: "slack", ID: "U1"}, code2.Code)
	f.must(err)
	links, err = f.store.ChatLinks(t.Context(), "anna")
	f.must(err)
	if res := f.post("/profile/unlink-chat", url.Values{"id": {links[0].ID}}, "Cookie", anna); res.Header.Get("Location") != "/profile?done=unlinked" {
		t.Errorf("anna: %s", res.Status)
	}
	if !strings.Contains(f.do("GET", "/profile?done=unlinked", "", "Cookie", anna).body, "not linked any more") {
		t.Error("it is not said")
	}
	// Where there is no chat, nothing is said of them.
	g := newFixture(t)
	if page := g.do("GET", "/profile", "", "Cookie", g.signIn()); strings.Contains(page.body, "chat-code") {
		t.Errorf("without a chat: %s", page.body)
	}
}
