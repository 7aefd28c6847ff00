package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
	"github.com/restartilka/restartilka/test/foreign/telegram"
)

// A developer links his account on the page, and restarts real hosts from
// Telegram; the server is killed meanwhile, and the message is right in the end.
func TestARestartFromAChat(t *testing.T) {
	t.Parallel()
	chat := telegram.Start(t)
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte(telegram.Token+"\n"), 0o600))
	c := company.New(t, company.Options{
		Hosts: 2, Server: fmt.Sprintf("chat:\n  page_only: []\n  telegram: {token_file: %s, url: %q}\nruns: {after_interruption: go-on}\n", token, chat.URL),
	})
	v := newVisitor(t, c)
	if status, _, body := v.do("/sign-in", url.Values{"token": {c.DevToken}}); status != http.StatusSeeOther {
		t.Fatalf("%d %s", status, body)
	}
	_, _, page := v.do("/profile/chat-code", url.Values{})
	code := regexp.MustCompile(`<code>(/link [0-9a-z]{5}-[0-9a-z]{5})</code>`).FindStringSubmatch(page)
	if code == nil {
		t.Fatalf("no code:\n%s", page)
	}
	me := telegram.Person{ID: 12345, Name: "dana"}
	newest := func() telegram.Message {
		all := chat.Messages(me.ID)
		if len(all) == 0 {
			return telegram.Message{}
		}
		return all[len(all)-1]
	}
	says := func(text string) func() bool {
		return func() bool { return strings.Contains(newest().Text, text) }
	}
	chat.Say(me, me.ID, "", code[1])
	c.Eventually("the link", says("You are "+demo.Developer))
	chat.Say(me, me.ID, "", "/restart "+demo.ServiceName+" the page is blank since noon")
	c.Eventually("the plan", func() bool { return len(newest().Buttons()) == 2 })
	plan := newest()
	c.Hold()
	press := chat.Press(me, me.ID, plan.ID, plan.Buttons()[0].Data)
	c.Eventually("the first host in hand", says(c.Hosts[0].Name+" running"))
	c.Eventually("the press to be answered", func() bool { _, ok := chat.Alert(press); return ok })
	c.KillServer()
	c.StartServer()
	chat.Press(me, me.ID, plan.ID, plan.Buttons()[0].Data) // once more, in another life of the server
	c.Release()
	c.Eventually("the end", says("completed, 2 of 2 hosts done"))
	runs, err := c.Dev.Runs(t.Context(), wire.RunQuery{})
	if err != nil || len(runs.Items) != 1 || runs.Items[0].State != restart.RunCompleted || runs.Items[0].Via != "chat" {
		t.Errorf("%+v %v", runs, err)
	}
	for line, n := range c.Witnessed() {
		if n != 1 {
			t.Errorf("%s: %d times", line, n)
		}
	}
	if _, _, page := v.do("/profile", nil); !strings.Contains(page, "<code>12345</code>") {
		t.Errorf("the profile does not list the account:\n%s", page)
	}
}
