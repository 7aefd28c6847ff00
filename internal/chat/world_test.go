package chat_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// The people of every chat.
const (
	anna  = 0 // owns shop
	boris = 1 // may restart nothing of it
	vera  = 2 // is nobody here
)

var names = []string{"anna", "boris", "vera"}

const reason = "502s since the 14:00 deploy"

// message is what readers have before them.
type message struct {
	id, text string
	buttons  []string
	edits    int
}

// rival is one kind of chat as its people use it, over an honest server of it.
type rival interface {
	settings(channels ...string) chat.Settings
	account(person int) string // the chat's own id
	direct(person int) string  // the conversation with the bot alone
	group() string             // a channel that both are in
	say(person int, place, text string)
	press(person int, place, message, label string) // the newest button of that label, wherever it was
	pressElsewhere(person int, place, message, label string)
	heard(person int, place string) []string // what the person was told there by itself
	shown(place string) []message            // the bot's messages
	harmless(place string) string            // what the chat made of foreign text; "" = nothing
	away(is bool)                            // the chat does not answer
	edits(way trouble.Way)                   // how changes of messages go from now on; nil = well
	busy(seconds int) trouble.Way            // too many of them, as the chat says it
	feigned() string                         // a channel with a name like that of a conversation with the bot; "" = there is no such
}

// editing has those requests go in a way that change a message.
func editing(g *trouble.Gate, way trouble.Way, is func(r *http.Request) bool) {
	if way == nil {
		g.Next(0, nil)
		return
	}
	g.Next(trouble.Forever, func(w http.ResponseWriter, r *http.Request, well http.Handler) {
		if is(r) {
			way(w, r, well)
			return
		}
		well.ServeHTTP(w, r)
	})
}

// desk notes when only those buttons are good any more that a message has.
type desk struct {
	chat.Desk

	mu      sync.Mutex
	settled map[string]int // by message: how many those are
}

func (d *desk) PutChatButtons(ctx context.Context, in, place, message string, buttons []store.ChatButton) error {
	err := d.Desk.PutChatButtons(ctx, in, place, message, buttons)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && message != "" {
		d.settled[message] = len(buttons)
	}
	return err
}

// world is a server with a bot in one chat.
type world struct {
	*apitest.Server

	t     *testing.T
	chat  rival
	stops []func()
	bots  []*chat.Bot
	log   *logged
	desk  *desk

	mu      sync.Mutex
	results map[chat.Result]int // of commands, of all bots
}

type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// serves is a rival that posts to the server of the bot.
type serves interface {
	serve(b *chat.Bot)
	url() string
}

// patience bounds each wait, so that what never comes is told of.
const patience = 3 * time.Minute

func newWorld(t *testing.T, r rival) *world {
	t.Helper()
	s := apitest.Start(t, nil)
	return &world{Server: s, t: t, chat: r, log: &logged{}, desk: &desk{Desk: s.Store, settled: map[string]int{}}, results: map[chat.Result]int{}}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run starts a bot over settings, as a life of a server does; stop ends it.
func (w *world) run(s chat.Settings, change ...func(*chat.Config)) (stop func()) {
	w.t.Helper()
	logger := slog.New(slog.NewTextHandler(w.log, nil))
	o := chat.Options{URL: "https://restartilka.example.com", Logger: logger, Poll: 2 * time.Second}
	if at, ok := w.chat.(serves); ok {
		o.URL = at.url()
	}
	chats, err := s.Open(o)
	w.must(err)
	cfg := chat.Config{
		Chats: chats, Control: w.Control, Desk: w.desk, Owner: restart.NewID(time.Now()), URL: "https://restartilka.example.com", Logger: logger,
		Every: 40 * time.Millisecond, Turn: 3 * time.Second, Observe: w.observe,
	}
	for _, c := range change {
		c(&cfg)
	}
	b := chat.New(cfg)
	w.bots = append(w.bots, b)
	if at, ok := w.chat.(serves); ok {
		at.serve(b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case <-ended:
			case <-time.After(patience):
				w.t.Error("the bot does not end")
			}
		})
	}
	w.t.Cleanup(stop)
	w.stops = append(w.stops, stop)
	return stop
}

func (w *world) observe(name string, r chat.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name != w.name() {
		w.t.Errorf("a command in %s", name)
	}
	w.results[r]++
}

// ended waits until as many commands have ended in each way.
func (w *world) ended(want map[chat.Result]int) {
	w.t.Helper()
	w.until(fmt.Sprintf("the commands to end as %v", want), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return maps.Equal(w.results, want)
	})
}

// connected waits until the chat answers those bots, in the order of their start.
func (w *world) connected(want ...bool) {
	w.t.Helper()
	w.until(fmt.Sprintf("the chat to answer: %v", want), func() bool {
		var got []bool
		for _, b := range w.bots {
			got = append(got, b.Connected()[w.name()])
		}
		return slices.Equal(got, want)
	})
}

// usual is a bot that may work in the group, and start everything.
func (w *world) usual() (stop func()) {
	w.t.Helper()
	return w.run(anywhere(w.chat.settings(w.chat.group())))
}

func anywhere(s chat.Settings) chat.Settings {
	s.PageOnly = []string{}
	return s
}

// link makes somebody known, with roles.
func (w *world) link(person int, roles ...restart.Role) {
	w.t.Helper()
	if len(roles) == 0 {
		roles = []restart.Role{restart.RoleDeveloper}
	}
	w.Token(names[person], restart.RoleDeveloper)
	code, err := w.Control.ChatCode(w.t.Context(), restart.Actor{Name: names[person], Roles: roles, Via: "cli"})
	w.must(err)
	_, err = w.Control.LinkChat(w.t.Context(), w.person(person), code.Code)
	w.must(err)
}

func (w *world) person(person int) control.ChatPerson {
	return control.ChatPerson{Chat: w.name(), ID: w.chat.account(person), Name: names[person]}
}

func (w *world) name() string {
	switch s := w.chat.settings(); {
	case s.Telegram != nil:
		return "telegram"
	case s.Slack != nil:
		return "slack"
	}
	return "mattermost"
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			for person := range names {
				for _, place := range []string{w.chat.direct(person), w.chat.group()} {
					w.t.Logf("%s heard in %s: %q", names[person], place, w.chat.heard(person, place))
				}
			}
			w.t.Fatalf("waited in vain for %s\n%s", what, w.log)
		case <-tick.C:
		}
	}
}

// hears waits until somebody is told something in a place.
func (w *world) hears(person int, place, text string) {
	w.t.Helper()
	w.until(names[person]+" to hear "+text, func() bool {
		return slices.ContainsFunc(w.chat.heard(person, place), func(s string) bool { return strings.Contains(s, text) })
	})
}

// told counts how often somebody was told something.
func (w *world) told(person int, place, text string) (n int) {
	for _, s := range w.chat.heard(person, place) {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

// sees waits until a message of the bot in a place has a text, and gives it.
func (w *world) sees(place, text string) (m message) {
	w.t.Helper()
	w.until("a message with "+text, func() bool {
		for _, x := range slices.Backward(w.chat.shown(place)) {
			if strings.Contains(x.text, text) {
				m = x
				return true
			}
		}
		return false
	})
	return m
}

// seesButtons waits until a message has exactly these buttons.
func (w *world) seesButtons(place, id string, labels ...string) message {
	w.t.Helper()
	var m message
	w.until("the buttons "+strings.Join(labels, ", "), func() bool {
		m = w.message(place, id)
		return slices.Equal(m.buttons, labels)
	})
	return m
}

// settled waits until so many buttons of a message are good, and no older ones.
func (w *world) settled(id string, buttons int) {
	w.t.Helper()
	w.until("older buttons to be over", func() bool {
		w.desk.mu.Lock()
		defer w.desk.mu.Unlock()
		return w.desk.settled[id] == buttons
	})
}

func (w *world) message(place, id string) message {
	for _, m := range w.chat.shown(place) {
		if m.id == id {
			return m
		}
	}
	return message{}
}

// runs lists all runs that were started.
func (w *world) runs() (out []restart.Run) {
	w.t.Helper()
	list, _, err := w.Store.Runs(w.t.Context(), store.RunFilter{})
	w.must(err)
	for _, r := range list {
		if r.State != restart.RunDraft {
			out = append(out, r)
		}
	}
	return out
}

func (w *world) records(action audit.Action) []audit.Record {
	w.t.Helper()
	list, _, err := w.Store.AuditSearch(w.t.Context(), store.AuditFilter{Action: action})
	w.must(err)
	return list
}

// plan has somebody ask for a restart of shop, and gives the message of the plan.
func (w *world) plan(person int, place string) message {
	w.t.Helper()
	return w.planFor(person, place, reason)
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) stopAll() {
	for _, stop := range w.stops {
		stop()
	}
	w.stops = nil
}

// planFor is plan with a reason.
func (w *world) planFor(person int, place, why string) message {
	w.t.Helper()
	return w.planOf(person, place, "/restart shop production "+why)
}

// planOf has somebody give a command, and gives the message of the plan: it need
// not be the last one, for what was asked before may be answered after it.
func (w *world) planOf(person int, place, command string) (m message) {
	w.t.Helper()
	before := len(w.chat.shown(place))
	w.chat.say(person, place, command)
	w.until("the plan", func() bool {
		shown := w.chat.shown(place)
		at := slices.IndexFunc(shown[min(before, len(shown)):], func(m message) bool { return len(m.buttons) == 2 })
		if at < 0 {
			return false
		}
		m = shown[before+at]
		return true
	})
	return m
}

func (w *world) rewriteInventory(old, with string) {
	w.t.Helper()
	path := filepath.Join(w.Dir, "inventory.yaml")
	b, err := os.ReadFile(path)
	w.must(err)
	w.must(os.WriteFile(path, []byte(strings.ReplaceAll(string(b), old, with)), 0o600))
	later := time.Now().Add(time.Minute)
	w.must(os.Chtimes(path, later, later))
}

// dumpScenario lays the scenario of a dump onto the shelf.
func (w *world) dumpScenario() {
	w.t.Helper()
	w.must(os.WriteFile(filepath.Join(w.Shelf, "plain-dump.yaml"), []byte(`format: 1
name: plain-dump
serial: 1
author: review@example.com
kind: thread-dump
services: ["*"]
description: Dump the unit
run_as: root
strategy: {batches: [50]}
steps:
  run: {script: "echo #unit#"}
`), 0o600))
}

// capture has each task of a host take a dump from now on.
func (w *world) capture() {
	w.t.Helper()
	j := apitest.JVM{Illness: apitest.Circle, Workers: 6, Taken: time.Now()}
	packed, err := pack.Pack([]byte(j.Text()))
	w.must(err)
	for _, host := range []string{"web1", "web2", "web3"} {
		w.Agents.Capture(host, apitest.Captured{Data: packed, Report: protocol.DumpReport{
			N: 1, Number: 1, Of: 1, When: protocol.DumpRun, Runtime: dump.JVM, Method: "attach", PID: 4711, TakenAt: time.Now(), Size: int64(len(j.Text())), Stored: int64(len(packed)),
		}})
	}
}
