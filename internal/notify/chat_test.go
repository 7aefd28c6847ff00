package notify_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/mattermost"
	"github.com/restartilka/restartilka/test/foreign/slack"
	"github.com/restartilka/restartilka/test/foreign/telegram"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// room is a channel of some chat, with the bot in it.
type room struct {
	set    func(updates string, c notify.Choice) notify.Settings
	gate   *trouble.Gate
	read   func() []said
	remove func(id string) // a message, as a person does
	busy   func(seconds int) trouble.Way
}

// said is a message as those who read it have it.
type said struct {
	id, answers, text string
	edits             int
	calls             []string // whom and what its signs call
	links             []string
}

func (r *room) settings() notify.Settings {
	return r.set("each", notify.Choice{Events: []string{wire.EventBreakGlass}})
}

func (r *room) refuse(times int) { r.gate.Next(times, trouble.Status(503)) }
func (r *room) tries() int       { return r.gate.Seen() }
func (r *room) taken() (out []string) {
	for _, m := range r.read() {
		out = append(out, m.text)
	}
	return out
}

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func slackRoom(t *testing.T) *room {
	t.Helper()
	s, token := slack.Start(t), tokenFile(t, slack.Token)
	return &room{
		set: func(updates string, c notify.Choice) notify.Settings {
			return notify.Settings{Zone: "UTC", Slack: []notify.Slack{{Choice: c, URL: s.URL, Channel: "ops", TokenFile: token, Updates: updates}}}
		},
		gate: &s.Trouble, remove: s.Delete, busy: slack.Busy,
		read: func() (out []said) {
			for _, m := range s.Messages(slack.Channel) {
				var blocks []struct {
					Type     string
					Elements []struct {
						Type     string
						Elements []struct{ Type, Text, URL string }
					}
				}
				if err := json.Unmarshal(m.Blocks, &blocks); err != nil || len(blocks) != 1 || blocks[0].Type != "rich_text" {
					t.Errorf("blocks %s: %v", m.Blocks, err)
					continue
				}
				x := said{id: m.TS, answers: m.Thread, edits: m.Edits, calls: m.Controls}
				for _, e := range blocks[0].Elements[0].Elements {
					x.text += e.Text
					if e.Type == "link" {
						x.links = append(x.links, e.URL)
					} else if e.Type != "text" {
						x.calls = append(x.calls, e.Type)
					}
				}
				out = append(out, x)
			}
			return out
		},
	}
}

func mattermostRoom(t *testing.T) *room {
	t.Helper()
	s, token := mattermost.Start(t), tokenFile(t, mattermost.Token)
	plain := strings.NewReplacer(`\`, "", "\u200b", "")
	return &room{
		set: func(updates string, c notify.Choice) notify.Settings {
			return notify.Settings{Zone: "UTC", Mattermost: []notify.Mattermost{{Choice: c, URL: s.URL, Channel: mattermost.Channel, TokenFile: token, Updates: updates}}}
		},
		gate: &s.Trouble, remove: s.Delete,
		busy: func(seconds int) trouble.Way { return trouble.Busy(time.Duration(seconds) * time.Second) },
		read: func() (out []said) {
			for _, p := range s.Posts(mattermost.Channel) {
				out = append(out, said{id: p.ID, answers: p.Root, text: plain.Replace(p.Message), edits: p.Edits, calls: p.Mentions, links: p.Links})
			}
			return out
		},
	}
}

func telegramRoom(t *testing.T) *room {
	t.Helper()
	s, token := telegram.Start(t), tokenFile(t, telegram.Token)
	number := func(id int) string {
		if id == 0 {
			return ""
		}
		b, _ := json.Marshal(id)
		return string(b)
	}
	return &room{
		set: func(updates string, c notify.Choice) notify.Settings {
			return notify.Settings{Zone: "UTC", Telegram: []notify.Telegram{{Choice: c, URL: s.URL, Chat: "-1001234567890", TokenFile: token, Updates: updates}}}
		},
		gate: &s.Trouble, busy: telegram.Busy,
		remove: func(id string) {
			var n int
			_ = json.Unmarshal([]byte(id), &n)
			s.Delete(n)
		},
		read: func() (out []said) {
			for _, m := range s.Messages(telegram.Chat) {
				x := said{id: number(m.ID), answers: number(m.ReplyTo), text: strings.ReplaceAll(m.Text, "\u200b", ""), edits: m.Edits, calls: m.Calls}
				for _, mark := range m.Marks {
					if mark.URL != "" {
						x.links = append(x.links, mark.URL)
					}
				}
				out = append(out, x)
			}
			return out
		},
	}
}

var rooms = map[string]func(*testing.T) *room{"slack": slackRoom, "mattermost": mattermostRoom, "telegram": telegramRoom}

func eachRoom(t *testing.T, do func(t *testing.T, r *room)) {
	t.Parallel()
	for name, fresh := range rooms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(t, fresh(t))
		})
	}
}

func TestChats(t *testing.T) {
	t.Parallel()
	for name, fresh := range rooms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Exercise(t, func(t *testing.T) receiver { return fresh(t) })
		})
	}
}

// story is what happens to a run that stops once.
func story(run string) []wire.Notification {
	n := wire.Notification{
		Run: run, Service: "shop", Environment: "production", Kind: restart.KindRestart, Scenario: "shop-restart", Actor: "anna", Reason: "the queue hangs",
		Owners: []string{"anna", "team:web"}, Hosts: []string{"web1.example.com", "web2.example.com"}, HostCount: 2,
	}
	as := func(event string, change func(*wire.Notification)) wire.Notification {
		m := n
		m.Event = event
		change(&m)
		return m
	}
	return []wire.Notification{
		as(wire.EventRunStarted, func(m *wire.Notification) { m.State = restart.RunRunning }),
		as(wire.EventRunPaused, func(m *wire.Notification) {
			m.State, m.Cause, m.Explanation = restart.RunPaused, restart.CauseFailure, "web1.example.com: exit status 1"
			m.Trouble = []string{"web1.example.com"}
		}),
		as(wire.EventRunResumed, func(m *wire.Notification) { m.State, m.By = restart.RunRunning, "boris" }),
		as(wire.EventRunFinished, func(m *wire.Notification) { m.State = restart.RunCompleted }),
	}
}

var runEvents = []string{wire.EventRunStarted, wire.EventRunPaused, wire.EventRunResumed, wire.EventRunFinished, wire.EventRunFailed}

// One message of a run is changed; that a person is needed is said anew, since
// nobody is called by a change.
func TestOneEditedMessage(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		b := newBench(t)
		to, err := r.set("edit", notify.Choice{Events: runEvents}).Open()
		b.must(err)
		b.send(to, nil)
		r.gate.Next(1, trouble.Down)
		for _, n := range story(b.run.ID) {
			b.tell(time.Time{}, n, to)
		}
		b.until("the story", func() bool { return b.waiting() == 0 })
		got := r.read()
		if len(got) != 2 || got[0].edits != 3 || got[1].answers != got[0].id {
			t.Fatalf("messages: %+v", got)
		}
		for _, want := range []string{"✅", "Restart of shop in production\ndone", "Reason: the queue hangs", "10:00:01 started", "10:00:02 paused, a person is needed: a host failed", "10:00:03 goes on, says boris", "10:00:04 done", "Look at the run"} {
			if !strings.Contains(strings.ReplaceAll(got[0].text, "*", ""), want) {
				t.Errorf("no %q in\n%s", want, got[0].text)
			}
		}
		if want := "⏸ Restart of shop in production: paused, a person is needed: a host failed"; got[1].text != want {
			t.Errorf("called by %q", got[1].text)
		}
	})
}

func TestOneThread(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		b := newBench(t)
		to, err := r.set("thread", notify.Choice{Events: runEvents, Language: "ru"}).Open()
		b.must(err)
		b.send(to, nil)
		for _, n := range story(b.run.ID) {
			b.tell(time.Time{}, n, to)
		}
		b.until("the story", func() bool { return b.waiting() == 0 })
		got := r.read()
		if len(got) != 4 {
			t.Fatalf("messages: %+v", got)
		}
		for i, m := range got {
			if m.edits != 0 || i > 0 && m.answers != got[0].id {
				t.Errorf("message %d: %+v", i, m)
			}
		}
		if !strings.Contains(got[1].text, "на паузе, нужен человек: ошибка на хосте") || !strings.Contains(got[1].text, "exit status 1") || strings.Contains(got[1].text, "queue hangs") {
			t.Errorf("the answer is\n%s", got[1].text)
		}
	})
}

// Who deletes the message gets a new one.
func TestAMessageThatWasDeleted(t *testing.T) {
	for _, updates := range []string{"edit", "thread"} {
		for name, fresh := range rooms {
			t.Run(name+" "+updates, func(t *testing.T) {
				t.Parallel()
				b, r := newBench(t), fresh(t)
				to, err := r.set(updates, notify.Choice{Events: runEvents}).Open()
				b.must(err)
				b.send(to, nil)
				all := story(b.run.ID)
				b.tell(time.Time{}, all[0], to)
				b.until("the first", func() bool { return b.waiting() == 0 })
				r.remove(r.read()[0].id)
				b.tell(time.Time{}, all[3], to)
				b.until("the last", func() bool { return b.waiting() == 0 })
				got := r.read()
				if len(got) != 1 || got[0].answers != "" || !strings.Contains(got[0].text, "done") {
					t.Errorf("messages: %+v", got)
				}
			})
		}
	}
}

// An answer that is lost doubles no edit; Mattermost knows even a new message
// again.
func TestALostAnswer(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		b := newBench(t)
		to, err := r.set("edit", notify.Choice{Events: runEvents}).Open()
		b.must(err)
		b.send(to, nil)
		all := story(b.run.ID)
		b.tell(time.Time{}, all[0], to)
		b.until("the first", func() bool { return b.waiting() == 0 })
		r.gate.Next(1, trouble.Lost)
		b.tell(time.Time{}, all[3], to)
		b.until("the last", func() bool { return b.waiting() == 0 })
		if got := r.read(); len(got) != 1 || !strings.Contains(got[0].text, "done") {
			t.Errorf("messages: %+v", got)
		}
	})
}

// What people and hosts write calls nobody, hides no link, and is no mark.
func TestHostileTextsAreShownHarmless(t *testing.T) {
	nasty := "@channel @all _@all <!here> <@U0BOT00000> *b* `x` [pay](https://evil.example.com) ![](https://evil.example.com/x.png) </b><a href=\"https://evil.example.com\">run</a> /restart nginx &lt;b&gt; ||x|| \u202egnp.exe \x1b[2J\nnew line"
	eachRoom(t, func(t *testing.T, r *room) {
		b := newBench(t)
		to, err := r.set("each", notify.Choice{Events: Every()}).Open()
		b.must(err)
		b.send(to, nil)
		n := wire.Notification{
			Run: b.run.ID, Event: wire.EventRunPaused, Service: "shop", Kind: restart.KindRestart, Actor: nasty, Reason: nasty, Ticket: nasty, Owners: []string{nasty}, Hosts: []string{nasty, "b"}, HostCount: 9,
			Waived: nasty, Explanation: nasty, Note: nasty, Cause: restart.Cause(nasty), Trouble: []string{nasty},
		}
		b.tell(time.Time{}, n, to)
		n.Event, n.Scenario, n.Kind = wire.EventRunStarted, nasty, restart.KindCustom
		b.tell(time.Time{}, n, to)
		b.until("both", func() bool { return b.waiting() == 0 })
		for _, m := range r.read() {
			if len(m.calls) > 0 || len(m.links) != 1 || !strings.HasPrefix(m.links[0], "https://restartilka.example.com/runs/") {
				t.Errorf("calls %q, links %q in\n%s", m.calls, m.links, m.text)
			}
			if strings.ContainsAny(m.text, "\x1b\u202e") || strings.Contains(m.text, "\nnew line") {
				t.Errorf("control characters in %q", m.text)
			}
			if !strings.Contains(m.text, "@channel") || !strings.Contains(m.text, `href="https://evil.example.com"`) {
				t.Errorf("it is not told what was written:\n%s", m.text)
			}
		}
	})
}

// Every gives all events.
func Every() []string { return notify.Events() }

// However much there is to say, it fits.
func TestLongTextsFit(t *testing.T) {
	long := strings.Repeat("☃ <&*_😀", 200)
	week := &wire.Week{Runs: 9, For: long}
	for range 30 {
		week.Services = append(week.Services, wire.WeekService{Service: long, Environment: long})
		week.Again = append(week.Again, wire.WeekRun{Service: long, Actor: long, Reason: long})
		week.Reasons = append(week.Reasons, wire.WeekReason{Service: long, Reason: long})
	}
	eachRoom(t, func(t *testing.T, r *room) {
		to, err := r.settings().Open()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []wire.Notification{{Event: wire.EventDigest, Week: week}, {
			Event: wire.EventApprovalDecided, Verdict: restart.ApprovalGiven, By: long, Service: long, Environment: long, Kind: restart.KindRestart, Actor: long, Reason: long,
			Owners: []string{long}, Hosts: []string{long, long, long}, HostCount: 300, Waived: long, Explanation: long, Note: long, Trouble: []string{long},
		}} {
			if err := to.Try(t.Context(), to.List()[0].ID, n); err != nil {
				t.Errorf("%s: %v", n.Event, err)
			}
		}
		for _, m := range r.read() {
			if n := utf8.RuneCountInString(m.text); n > 4096 || n < 1000 {
				t.Errorf("%d characters", n)
			}
		}
	})
}

// What is in the way of a message is told in one sentence, without the token,
// and the message comes once it is gone.
func TestForeignServersInTrouble(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		elsewhere := newHook(t, false)
		for name, way := range map[string]struct {
			trouble.Way
			says string
		}{
			"down":     {trouble.Down, "EOF"},
			"a page":   {trouble.Page, "not in JSON"},
			"503":      {trouble.Status(503), "503"},
			"redirect": {trouble.Redirect(elsewhere.server.URL), "307"},
		} {
			b := newBench(t)
			to := b.open(r)
			before := len(r.read())
			r.gate.Next(1, way.Way)
			b.leave(time.Time{}, "x", to)
			b.send(to, nil)
			b.until("the message", func() bool { return len(r.read()) == before+1 })
			log := b.log.String()
			if !strings.Contains(log, way.says) {
				t.Errorf("%s: the log does not say %q:\n%s", name, way.says, log)
			}
			for _, secret := range []string{slack.Token, mattermost.Token, telegram.Token, "\x1b"} {
				if strings.Contains(log, secret) {
					t.Errorf("%s: the log has %q", name, secret)
				}
			}
		}
		if elsewhere.tries() > 0 {
			t.Error("a redirect was followed")
		}
	})
}

// Who wants to be left alone for a while is.
func TestTooManyMessages(t *testing.T) {
	eachRoom(t, func(t *testing.T, r *room) {
		b := newBench(t)
		to := b.open(r)
		r.gate.Next(1, r.busy(3000))
		b.leave(time.Time{}, "x", to)
		b.send(to, nil)
		b.until("a refusal", func() bool { return strings.Contains(b.log.String(), "trying again") })
		if !strings.Contains(b.log.String(), "after=50m") {
			t.Errorf("the log says\n%s", b.log)
		}
	})
}

func TestChoice(t *testing.T) {
	n := wire.Notification{Event: wire.EventRunStarted, Service: "shop-front", Environment: "production", Owners: []string{"anna", "team:web"}, Kind: restart.KindRestart}
	only := func(c notify.Choice) notify.Choice {
		c.Events = append(c.Events, wire.EventRunStarted, wire.EventBreakGlass, wire.EventScenarioExpires)
		return c
	}
	dump, rehearsal, glass, expiry := n, n, n, wire.Notification{Event: wire.EventScenarioExpires, Scenario: "x"}
	dump.Kind, rehearsal.Work, glass.Event, glass.Kind = restart.KindThreadDump, restart.WorkRehearse, wire.EventBreakGlass, restart.KindThreadDump
	for name, c := range map[string]struct {
		choice notify.Choice
		n      wire.Notification
		wants  bool
	}{
		"all":                     {only(notify.Choice{}), n, true},
		"another event":           {notify.Choice{Events: []string{wire.EventRunFailed}}, n, false},
		"a glob of services":      {only(notify.Choice{Services: []string{"nginx", "shop-*"}}), n, true},
		"another service":         {only(notify.Choice{Services: []string{"shop"}}), n, false},
		"environment":             {only(notify.Choice{Environments: []string{"prod*"}}), n, true},
		"another environment":     {only(notify.Choice{Environments: []string{"testing"}}), n, false},
		"team":                    {only(notify.Choice{Teams: []string{"team:db", "team:web"}}), n, true},
		"another team":            {only(notify.Choice{Teams: []string{"team:db"}}), n, false},
		"all of them":             {only(notify.Choice{Teams: []string{"anna"}, Environments: []string{"production"}, Services: []string{"nginx"}}), n, false},
		"a dump":                  {only(notify.Choice{}), dump, false},
		"dumps too":               {only(notify.Choice{Kinds: []restart.Kind{restart.KindThreadDump}}), dump, true},
		"dumps alone":             {only(notify.Choice{Kinds: []restart.Kind{restart.KindThreadDump}}), n, false},
		"a rehearsal":             {only(notify.Choice{}), rehearsal, false},
		"rehearsals too":          {only(notify.Choice{Rehearsals: true}), rehearsal, true},
		"broken glass for a dump": {only(notify.Choice{}), glass, true},
		"a scenario's end":        {only(notify.Choice{Services: []string{"nginx"}, Teams: []string{"team:db"}}), expiry, true},
	} {
		if got := c.choice.Wants(c.n); got != c.wants {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestChatSettingsAreChecked(t *testing.T) {
	t.Parallel()
	choice := notify.Choice{Events: []string{wire.EventRunStarted}}
	good := notify.Settings{
		Slack:      []notify.Slack{{Choice: choice, Channel: "C0123456789", TokenFile: tokenFile(t, slack.Token)}},
		Mattermost: []notify.Mattermost{{Choice: choice, URL: "https://chat.example.com", Channel: mattermost.Channel, TokenFile: tokenFile(t, mattermost.Token)}},
		Telegram:   []notify.Telegram{{Choice: choice, Chat: "@ops_channel", TokenFile: tokenFile(t, telegram.Token)}},
		Mail:       []notify.Mail{{Choice: choice, Server: "smtp.example.com:587", From: "restartilka@example.com", To: []string{"ops@example.com"}}},
	}
	if r, err := good.Open(); err != nil || len(r.List()) != 4 {
		t.Fatalf("%v, %v", r, err)
	}
	for name, c := range map[string]struct {
		change func(*notify.Settings)
		says   string
	}{
		"no channel":          {func(s *notify.Settings) { s.Slack[0].Channel = "" }, "notify.slack, number 1.channel"},
		"no token":            {func(s *notify.Settings) { s.Slack[0].TokenFile = "" }, "token_file is not given"},
		"http":                {func(s *notify.Settings) { s.Mattermost[0].URL = "http://chat.example.com" }, "without TLS"},
		"no url":              {func(s *notify.Settings) { s.Mattermost[0].URL = "" }, "not given"},
		"a name of a channel": {func(s *notify.Settings) { s.Mattermost[0].Channel = "town-square" }, "not the id"},
		"a chat's title":      {func(s *notify.Settings) { s.Telegram[0].Chat = "Our ops" }, "notify.telegram, number 1.chat"},
		"another's token":     {func(s *notify.Settings) { s.Telegram[0].TokenFile = s.Slack[0].TokenFile }, "does not hold a bot's token"},
		"updates":             {func(s *notify.Settings) { s.Slack[0].Updates = "never" }, "edit, thread, each"},
		"edited mail":         {func(s *notify.Settings) { s.Mail[0].Updates = "edit" }, "thread, each"},
		"language":            {func(s *notify.Settings) { s.Slack[0].Language = "fr" }, "neither en nor ru"},
		"a glob":              {func(s *notify.Settings) { s.Slack[0].Services = []string{"[a"} }, "neither a name nor a glob"},
		"a kind":              {func(s *notify.Settings) { s.Slack[0].Kinds = []restart.Kind{"reboot"} }, "no kind"},
		"a team":              {func(s *notify.Settings) { s.Slack[0].Teams = []string{"a\nb"} }, "no owner"},
		"a name":              {func(s *notify.Settings) { s.Slack[0].Label = "a\x1b" }, "name is not a name"},
		"one name for two":    {func(s *notify.Settings) { s.Slack[0].Label, s.Mail[0].Label = "ops", "ops" }, "two receivers are named"},
		"zone":                {func(s *notify.Settings) { s.Zone = "Mars/Olympus" }, "no time zone"},
		"weekday":             {func(s *notify.Settings) { s.Digest.Weekday = "someday" }, "no day of the week"},
		"hour":                {func(s *notify.Settings) { s.Digest.At = "25:00" }, "no time of day"},
		"nobody":              {func(s *notify.Settings) { s.Mail[0].To = nil }, "nobody would get mail"},
		"no address":          {func(s *notify.Settings) { s.Mail[0].To = []string{"ops"} }, "no address of mail"},
		"no sender":           {func(s *notify.Settings) { s.Mail[0].From = "" }, "from is no address"},
		"no port":             {func(s *notify.Settings) { s.Mail[0].Server = "smtp.example.com" }, "not HOST:PORT"},
		"clear mail":          {func(s *notify.Settings) { s.Mail[0].TLS = "none" }, "on this machine alone"},
		"half a password":     {func(s *notify.Settings) { s.Mail[0].User = "me" }, "belong together"},
	} {
		s := good
		s.Slack, s.Mattermost, s.Telegram, s.Mail = slices.Clone(s.Slack), slices.Clone(s.Mattermost), slices.Clone(s.Telegram), slices.Clone(s.Mail)
		c.change(&s)
		if _, err := s.Open(); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
