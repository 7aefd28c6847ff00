package chat

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/secret"
)

// Settings are the chats in which the bot works: the section chat of server.yaml.
type Settings struct {
	PageOnly   []string    `yaml:"page_only"`            // environments in which a chat starts nothing that changes a service; default production and prod
	Telegram   *Telegram   `yaml:"telegram,omitempty"`   //
	Slack      *Slack      `yaml:"slack,omitempty"`      //
	Mattermost *Mattermost `yaml:"mattermost,omitempty"` //
}

// Place is where a chat is found, in which of its channels the bot works and how
// it speaks, as every kind has it.
type Place struct {
	URL           string   `yaml:"url,omitempty"`            // of the API; "" = the service's own
	CAFile        string   `yaml:"ca_file,omitempty"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string `yaml:"allow_networks,omitempty"` // that may be asked although they are refused otherwise
	Channels      []string `yaml:"channels,omitempty"`       // ids of groups in which it answers; it always does to one person alone
	Language      string   `yaml:"language,omitempty"`       // en (default) | ru
}

// Telegram is a bot of Telegram, which asks for what people send.
type Telegram struct {
	TokenFile string `yaml:"token_file"` // of the bot, as BotFather gives it
	Place     `yaml:",inline"`
}

// Slack is an app of Slack in socket mode: it opens the line itself.
type Slack struct {
	AppTokenFile string `yaml:"app_token_file"` // xapp-…, with connections:write
	BotTokenFile string `yaml:"bot_token_file"` // xoxb-…, with chat:write and commands
	Place        `yaml:",inline"`
}

// Mattermost is a bot account with a slash command, which Mattermost posts here.
type Mattermost struct {
	TokenFile        string `yaml:"token_file"`         // of the bot's account
	CommandTokenFile string `yaml:"command_token_file"` // that Mattermost sends with the slash command
	Place            `yaml:",inline"`
}

// Options are what all chats need beside their settings.
type Options struct {
	URL    string // of this server, which Mattermost posts to
	Logger *slog.Logger
	Poll   time.Duration // 0 = 50 s; how long a question for news waits for some, or until Mattermost is asked again whether it answers
}

// Chats are all that the settings name.
type Chats struct {
	all      []opened
	pageOnly []string
}

// Names lists their kinds.
func (c Chats) Names() []string {
	var out []string
	for _, o := range c.all {
		out = append(out, o.Name())
	}
	return out
}

// opened is a chat with the channels in which the bot works there, and how it
// speaks.
type opened struct {
	Chat
	channels []string
	language said.Language
}

// kinds is the table of the kinds of chats: each gives the one that the settings
// name, or nil. Nothing is connected to.
var kinds = []func(Settings, Options) (Chat, Place, error){
	openTelegram, openSlack, openMattermost,
}

// Open gives the chats of the settings. Errors are *restart.Error with
// CodeInvalid, and begin with the key.
func (s Settings) Open(o Options) (Chats, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Poll == 0 {
		o.Poll = 50 * time.Second
	}
	out := Chats{pageOnly: s.Whole().PageOnly}
	for _, open := range kinds {
		chat, place, err := open(s, o)
		if err != nil {
			return Chats{}, err
		}
		if chat == nil {
			continue
		}
		language, err := said.Setting("chat."+chat.Name()+".language", place.Language)
		if err != nil {
			return Chats{}, err
		}
		for _, c := range place.Channels {
			if c == "" || strings.ContainsAny(c, " #@") || restart.Escape(c) != c {
				return Chats{}, restart.Errorf(restart.CodeInvalid, "chat.%s.channels: %s is not the id of a channel", chat.Name(), restart.Quote(c)).WithHint("not its name, which may change: the bot says the id where it is not allowed")
			}
		}
		out.all = append(out.all, opened{chat, slices.Clone(place.Channels), language})
	}
	return out, nil
}

// Whole is s with every default filled in; s stays as it is.
func (s Settings) Whole() Settings {
	if s.PageOnly == nil {
		s.PageOnly = []string{"production", "prod"}
	}
	if s.Telegram != nil {
		s.Telegram = new(*s.Telegram)
		s.Telegram.Language = cmp.Or(s.Telegram.Language, string(said.English))
	}
	if s.Slack != nil {
		s.Slack = new(*s.Slack)
		s.Slack.Language = cmp.Or(s.Slack.Language, string(said.English))
	}
	if s.Mattermost != nil {
		s.Mattermost = new(*s.Mattermost)
		s.Mattermost.Language = cmp.Or(s.Mattermost.Language, string(said.English))
	}
	return s
}

// Files are the paths that the settings name.
func (s *Settings) Files() []*string {
	var out []*string
	if t := s.Telegram; t != nil {
		out = append(out, &t.TokenFile, &t.CAFile)
	}
	if t := s.Slack; t != nil {
		out = append(out, &t.AppTokenFile, &t.BotTokenFile, &t.CAFile)
	}
	if t := s.Mattermost; t != nil {
		out = append(out, &t.TokenFile, &t.CommandTokenFile, &t.CAFile)
	}
	return out
}

const (
	longestToken = 4 << 10
	callTime     = 10 * time.Second // of one call of a chat
	largestReply = 1 << 20          // bytes of an answer that are read
)

// token reads a secret of one word.
func token(key, path string) (string, error) {
	if path == "" {
		return "", restart.Errorf(restart.CodeInvalid, "%s is not given", key).WithHint("a file with the token, mode 600")
	}
	word, err := secret.ReadWord(path, longestToken)
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return "", restart.Errorf(restart.CodeInvalid, "%s: %s", key, e.Message).WithHint("%s", e.Hint).Because(err)
	}
	return word, err
}

// reach checks where a chat is found. service is its own address; "" = it has
// none.
func (p Place) reach(key, service string, timeout time.Duration) (outgoing.Config, error) {
	address := p.URL
	if address == "" {
		address = service
	}
	u, err := outgoing.CheckURL(address, false)
	if err != nil {
		return outgoing.Config{}, restart.Errorf(restart.CodeInvalid, "%s.url is not usable: %v", key, err)
	}
	networks, err := outgoing.ParseNetworks(p.AllowNetworks)
	if err != nil {
		return outgoing.Config{}, restart.Errorf(restart.CodeInvalid, "%s.allow_networks: %v", key, err)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return outgoing.Config{URL: u, CAFile: p.CAFile, Timeout: timeout, Networks: networks, AtOnce: 4}, nil
}

// client makes a client whose answers are bounded.
func client(key string, c outgoing.Config) (*http.Client, error) {
	made, err := outgoing.New(c)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.ca_file: %v", key, err)
	}
	made.Transport = bounds{made.Transport}
	return made, nil
}

// bounds reads no more of an answer than largestReply.
type bounds struct{ http.RoundTripper }

func (b bounds) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, largestReply)
	}
	return resp, err
}

// bare takes the address out of an error: it may hold a secret.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// plain leaves of an error what can be logged: one bounded line, in which no
// answer forges another.
func plain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return errors.New(line(bare(err).Error()))
}
