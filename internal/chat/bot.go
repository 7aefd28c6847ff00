package chat

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
)

// Desk is the part of the store that keeps what a chat was told, and who listens.
type Desk interface {
	Shared
	PutChatButtons(ctx context.Context, chat, place, message string, buttons []store.ChatButton) error
	AddChatButtons(ctx context.Context, chat, place, message string, buttons []store.ChatButton) error
	BindChatButtons(ctx context.Context, message string, hashes []string) error
	FollowInChat(ctx context.Context, m store.ChatMessage) error
	ChatMessages(ctx context.Context, chat string) ([]store.ChatMessage, error)
	EndChatMessage(ctx context.Context, m store.ChatMessage) error
}

// Shared is what several servers agree by.
type Shared interface {
	NewInChat(ctx context.Context, chat, id string) (fresh bool, err error)
	TakeChatTurn(ctx context.Context, chat, owner string, ttl time.Duration) (taken bool, err error)
	GiveChatTurn(ctx context.Context, chat, owner string) error
}

// Config of a Bot. Needed are those before URL.
type Config struct {
	Chats   Chats
	Control *control.Control
	Desk    Desk
	Owner   string // this life of this server

	URL    string // of the server, for links
	Logger *slog.Logger
	Now    func() time.Time // nil = time.Now

	Every  time.Duration // 0 = 2 s; between two changes in one conversation, twice that in a group
	Turn   time.Duration // 0 = 15 s; how soon another server listens when this one is gone
	Resume time.Duration // 0 = 10 min; how long a button is good by which a run goes on

	Observe func(chat string, r Result) // is told how each command and each press ended; nil = nobody is
}

// Result is how a command, or the press of a button, ended.
type Result string

// The results.
const (
	ResultOK         Result = "ok"
	ResultRefused    Result = "refused"    // the person is told why
	ResultFailed     Result = "failed"     // for a reason of our own, which the log has
	ResultUnanswered Result = "unanswered" // whatever became of it, the chat did not take the answer
)

// Results lists them all.
func Results() []Result {
	return []Result{ResultOK, ResultRefused, ResultFailed, ResultUnanswered}
}

// Bot answers people in chats.
type Bot struct {
	cfg    Config
	limits *limits
	paces  *paces
	wakes  map[string]chan struct{} // by chat: a message is to follow a run

	mu        sync.Mutex
	connected map[string]bool // by chat: it answers this server, which has its turn
}

// New returns a Bot; Run has it listen.
func New(cfg Config) *Bot {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, Result) {}
	}
	cfg.Every = cmp.Or(cfg.Every, 2*time.Second)
	cfg.Turn = cmp.Or(cfg.Turn, 15*time.Second)
	cfg.Resume = cmp.Or(cfg.Resume, 10*time.Minute)
	b := &Bot{cfg: cfg, limits: &limits{now: cfg.Now}, paces: &paces{next: map[string]time.Time{}}, wakes: map[string]chan struct{}{}, connected: map[string]bool{}}
	for _, c := range cfg.Chats.all {
		b.wakes[c.Name()] = make(chan struct{}, 1)
		b.connected[c.Name()] = false
	}
	return b
}

// Names lists the kinds of chats that it is in.
func (b *Bot) Names() []string { return b.cfg.Chats.Names() }

// Connected tells of each chat whether it answers this server. Of several
// servers only the one whose turn it is asks.
func (b *Bot) Connected() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.connected)
}

func (b *Bot) setConnected(chat string, is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.connected[chat] = is
}

// visit is one event with what is known of it.
type visit struct {
	Event
	chat  opened
	cmd   command
	actor restart.Actor // nobody until it was asked for
}

// say gives a text in the language of the chat.
func (v *visit) say(key string, values ...any) string { return say(v.chat.language, key, values...) }

func (v *visit) person() control.ChatPerson {
	return control.ChatPerson{Chat: v.chat.Name(), ID: v.Person, Name: v.Name}
}

// handle does what one event asks for, once.
func (b *Bot) handle(ctx context.Context, chat opened, e Event) {
	v := &visit{Event: e, chat: chat, cmd: parse(e.Text)}
	if e.Message == "" && !e.Private && (v.cmd.verb == "" || !spoken(e.Text)) {
		return // people talk to each other
	}
	fresh, err := b.cfg.Desk.NewInChat(ctx, chat.Name(), e.ID)
	if err != nil {
		b.cfg.Logger.ErrorContext(ctx, "take an update of a chat", "chat", chat.Name(), "error", err)
		b.cfg.Observe(chat.Name(), ResultFailed)
		return
	}
	if !fresh {
		return
	}
	text, err := b.answer(ctx, v)
	result := ResultOK
	if err != nil {
		text, result = b.sentence(ctx, v, err), resultOf(err)
	}
	if err := e.Answer(ctx, text); err != nil {
		b.cfg.Logger.WarnContext(ctx, "answer in a chat", "chat", chat.Name(), "error", err)
		result = ResultUnanswered
	}
	b.cfg.Observe(chat.Name(), result)
}

// ours is an error that is no answer to a person.
func ours(err error) bool {
	e, ok := errors.AsType[*restart.Error](err)
	return !ok || e.Code == restart.CodeInternal
}

func resultOf(err error) Result {
	if ours(err) {
		return ResultFailed
	}
	return ResultRefused
}

// answer does it, and gives what is to be said to this person alone; "" =
// nothing more.
func (b *Bot) answer(ctx context.Context, v *visit) (string, error) {
	overheard := v.Message == "" && !v.Private && v.cmd.verb == verbLink
	if code, _ := cut(v.cmd.rest); overheard && code != "" { // whoever has sent it, in whatever way: it is known now
		if err := b.cfg.Control.VoidChatCode(ctx, v.person(), code); err != nil {
			return "", err
		}
	}
	switch b.limits.pass(v.chat.Name() + ":" + v.Person) {
	case passTold:
		return "", nil
	case passTell:
		return "", restart.Errorf(restart.CodeTooMany, "that was too much in one minute: I do not listen to you until it is over")
	}
	switch {
	case overheard:
		return "", restart.Errorf(restart.CodeForbidden, "accounts are linked in a private chat with me, and this code is over now").
			WithHint("make another on your profile page, %s/profile", b.cfg.URL)
	case v.Edited:
		return "", restart.Errorf(restart.CodeInvalid, "a message that was edited does nothing: send it anew")
	case v.Forwarded:
		return "", restart.Errorf(restart.CodeForbidden, "a forwarded message does nothing: write it yourself")
	case !v.Private && !v.chat.allowed(v.Place):
		return "", restart.Errorf(restart.CodeForbidden, "nobody has allowed me to work in this channel").
			WithHint("write to me alone; or an admin adds %s to chat.%s.channels", restart.Quote(v.Place), v.chat.Name())
	case v.Message != "":
		return b.press(ctx, v)
	}
	do := map[string]func(context.Context, *visit) (string, error){
		verbRestart: b.restart, verbDump: b.dump, verbRuns: b.runs, verbStatus: b.status, verbApprovals: b.approvals, verbApprove: b.approve, verbReject: b.reject,
		verbLink: b.link, verbUnlink: b.unlink, verbWhoami: b.whoami, verbHelp: b.help, verbStart: b.help,
	}[v.cmd.verb]
	if do == nil {
		return "", restart.Errorf(restart.CodeInvalid, "I do not know that command").WithHint("see /help")
	}
	return do(ctx, v)
}

// who finds out who asks, with the rights that he has now.
func (b *Bot) who(ctx context.Context, v *visit) (restart.Actor, error) {
	actor, err := b.cfg.Control.ChatActor(ctx, v.person())
	v.actor = actor
	return actor, err
}

// sentence says an error to a person.
func (b *Bot) sentence(ctx context.Context, v *visit, err error) string {
	if ours(err) {
		b.cfg.Logger.ErrorContext(ctx, "answer in a chat", "chat", v.chat.Name(), "actor", v.actor.Name, "error", err)
		return v.say("failed")
	}
	e, _ := errors.AsType[*restart.Error](err)
	return refusal(v.chat.language, e)
}

// refusal gives an error in a sentence, with what to do.
func refusal(l said.Language, e *restart.Error) string {
	text := upper(said.In(l, e.Message)) + "."
	for _, line := range said.Lines(l, e.Hint) {
		text += "\n" + line
	}
	return bounded(text)
}

// allowed tells whether the bot may work in a group.
func (o opened) allowed(place string) bool {
	channel, _, _ := strings.Cut(place, "/") // a topic is part of its group
	return slices.Contains(o.channels, channel)
}
