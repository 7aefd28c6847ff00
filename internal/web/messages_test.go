package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/slack"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// secretFile keeps a secret as settings name it.
func (f *fixture) secretFile(text string) string {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), "secret")
	f.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// open opens receivers.
func (f *fixture) open(s notify.Settings) notify.Receivers {
	f.t.Helper()
	r, err := s.Open()
	f.must(err)
	return r
}

// leave leaves messages for receivers, which have failed each so far; "" = they
// were not tried.
func (f *fixture) leave(s *apitest.Server, n int, at time.Time, failure string, receivers ...string) {
	f.t.Helper()
	run := f.draft(s)
	for range n {
		m := store.Message{ID: restart.NewID(time.Now()), Event: wire.EventRunFailed, Channels: receivers, Body: json.RawMessage(`{}`)}
		f.apply(store.Change{RunID: run.ID, At: at, Messages: []store.Message{m}})
	}
	if failure == "" {
		return
	}
	due, err := f.store.DueMessages(f.t.Context(), receivers, time.Minute, 100)
	f.must(err)
	for _, d := range due {
		f.must(f.store.MessageFailed(f.t.Context(), d, failure, time.Hour))
	}
}

// The page of messages tells who is told of what, and who takes nothing: with a
// word and a tone for each, and nothing of what they are called does harm.
func TestReceiversAreListed(t *testing.T) {
	t.Parallel()
	f, s, root := administered(t)
	page := f.do("GET", "/admin/messages", "", "Cookie", root).body
	wants(t, page, `aria-current="page">Messages`, "Nobody is told of anything", "notify in server.yaml", "webhooks:", "secret_file: webhook.secret", "docs/reference/messages.md")
	lacks(t, page, "/admin/messages/test")
	for _, event := range notify.Events() {
		if (catalogue["event."+event] == text{}) {
			t.Errorf("%s has no words", event)
		}
	}

	token, secret := f.secretFile(slack.Token), f.secretFile(strings.Repeat("s", 32))
	s.Receivers = f.open(notify.Settings{
		Slack: []notify.Slack{
			{Choice: notify.Choice{Label: "ops-chat", Events: []string{wire.EventRunFailed, wire.EventDigest}}, Channel: "ops", TokenFile: token},
			{Choice: notify.Choice{Label: `"><script>alert(1)</script>`, Events: []string{wire.EventRunPaused}, Teams: []string{"team:<b>web"}}, Channel: "<b>ops", TokenFile: token},
		},
		Webhooks: []notify.Webhook{{
			Choice: notify.Choice{Label: "pager", Events: []string{wire.EventBreakGlass}, Services: []string{"shop-*", "bare"}, Environments: []string{"production"}, Kinds: []restart.Kind{restart.KindThreadDump}},
			URL:    "https://pager.example.com/hooks/a-secret-of-its-own", SecretFile: secret,
		}},
	})
	id := map[string]string{}
	for _, r := range s.Receivers.List() {
		id[r.Name] = r.ID
	}
	old := time.Now().UTC().Add(-50 * time.Hour).Truncate(time.Microsecond)
	f.leave(s, 3, old, `it answers 503 <b>Service</b> Unavailable`, id["pager"])
	f.leave(s, 1, time.Now().UTC(), "", id["ops-chat"])
	f.leave(s, 2, old, "", "webhook:gone")

	page = f.do("GET", "/admin/messages", "", "Cookie", root).body
	wants(t, page, "2 messages wait for receivers that this server&#39;s settings do not name")
	wants(t, page,
		`<li class="fail">`, "stuck", "pager", "webhook", "https://pager.example.com", "it answers 503 &lt;b&gt;Service", "3 messages wait", `datetime="`+old.Format("2006-01-02T15:04"),
		`told of <span title="break-glass">starts past the safeguards</span>`, "services: shop-*, bare", "environments: production", "kinds: Thread dump", `value="`+id["pager"]+`"`, "Send a test message", "to pager",
		`<li class="wait">`, "on the way", "ops-chat", "slack ops", "1 message waits", `<span title="run-failed">runs that fail or are aborted</span>, <span title="digest">the digest of the week</span>`, "all services · all environments",
		`<li class="done">`, "nothing waits", "&lt;script&gt;alert(1)", "slack &lt;b&gt;ops", "owners: team:&lt;b&gt;web",
	)
	lacks(t, page, "<script>alert", "<b>", ">slack<", "a-secret-of-its-own", slack.Token, "Nobody is told")
	page = f.do("GET", "/admin/messages", "", "Cookie", root, "Accept-Language", "ru").body
	wants(t, page, "застряло", "он отвечает 503", "ждут 3 сообщения", "события: ", "запуск в обход защиты", "в пути", "все сервисы", "ничего не ждёт")

	wants(t, f.do("GET", "/admin", "", "Cookie", root).body, `href="/admin/messages">6 messages have not been taken`)
	wants(t, f.do("GET", "/admin/delivery", "", "Cookie", root).body, `6 · <a href="/admin/messages">`)
}

// A test message goes out at once, and what the receiver says stands beside it;
// each is on record, refusals too.
func TestReceiversAreTriedOnThePage(t *testing.T) {
	t.Parallel()
	f, s, root := administered(t)
	room := slack.Start(t)
	hostile := "<img src=x onerror=alert(1)>\u202e" + strings.Repeat("x", 100_000)
	rude := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": hostile}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(rude.Close)
	choice := func(name string) notify.Choice {
		return notify.Choice{Label: name, Events: []string{wire.EventRunFailed}}
	}
	token := f.secretFile(slack.Token)
	s.Receivers = f.open(notify.Settings{Slack: []notify.Slack{
		{Choice: choice("ops-chat"), URL: room.URL, Channel: "ops", TokenFile: token},
		{Choice: choice("rude <b>"), URL: rude.URL, Channel: "ops", TokenFile: token},
	}})
	try := func(name, cookie string, more ...string) answer {
		t.Helper()
		r, err := s.Receivers.Find(name)
		f.must(err)
		return f.post("/admin/messages/test", url.Values{"receiver": {r.ID}}, append([]string{"Cookie", cookie}, more...)...)
	}
	if res := try("ops-chat", f.as("anna", developer)); res.StatusCode != http.StatusForbidden {
		t.Errorf("for a developer: %s", res.Status)
	}
	if res := try("ops-chat", f.agedCookie("root", 16*time.Minute)); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/sign-in?again=1&next=%2Fadmin%2Fmessages" {
		t.Errorf("after an old sign-in: %s to %q", res.Status, res.Header.Get("Location"))
	}
	if got := room.Messages(slack.Channel); len(got) != 0 {
		t.Fatalf("refused, and sent: %+v", got)
	}
	res := try("ops-chat", root)
	wants(t, res.body, "ops-chat", `class="callout tell done" id="tested" role="status"`, "The test message was taken, in ", "rude &lt;b&gt;")
	if got := room.Messages(slack.Channel); res.StatusCode != http.StatusOK || len(got) != 1 || !strings.Contains(got[0].Text, "root has tried it") {
		t.Errorf("%s, messages: %+v", res.Status, got)
	}
	wants(t, try("ops-chat", root, "Accept-Language", "ru").body, "Пробное сообщение принято за ")
	room.Trouble.Next(1, trouble.Status(http.StatusBadGateway))
	wants(t, try("ops-chat", root, "Accept-Language", "ru").body, "Пробное сообщение не принято (", "он отвечает 502 Bad Gateway, и не в JSON")

	res = try("rude <b>", root)
	wants(t, res.body, "ops-chat", "rude &lt;b&gt;", `class="callout tell fail" id="tested" role="alert"`, "The test message was not taken, after ", "slack refuses it: &lt;img src=x onerror=alert(1)&gt;\\u{202e}xxx")
	lacks(t, res.body, "<img", "\u202e", strings.Repeat("x", 1000), slack.Token)
	if res.StatusCode != http.StatusOK || strings.Count(res.body, `id="tested"`) != 1 {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
	if res := f.post("/admin/messages/test", url.Values{"receiver": {"<b>other"}}, "Cookie", root); res.StatusCode != http.StatusNotFound || !strings.Contains(res.body, "there is no receiver &#34;&lt;b&gt;other&#34;") {
		t.Errorf("one that is not there: %s\n%s", res.Status, res.body)
	}
	records, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.MessageTested})
	f.must(err)
	count := map[string]int{}
	for _, r := range records {
		switch {
		case r.Outcome != "":
			count[fmt.Sprint(r.Actor, " refused")]++
		case strings.HasSuffix(r.Detail, ": taken"):
			count["taken"]++
		case strings.Contains(r.Detail, ": not taken: "):
			count["not taken"]++
		}
	}
	if want := (map[string]int{"anna refused": 1, "root refused": 2, "taken": 2, "not taken": 2}); fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("records: %v, want %v", count, want)
	}
}
