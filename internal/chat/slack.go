package chat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/gorilla/websocket"
	slackapi "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/restartilka/restartilka/internal/outgoing"
)

const (
	slackURL     = "https://slack.com/api"
	longestBlock = 2950                    // UTF-16 units of a block, once escaped: Slack takes 3000 characters
	ackWithin    = 1500 * time.Millisecond // Slack gives up a command after three seconds
)

// slack is an app of Slack in socket mode: it opens the line by which Slack tells
// it what people ask for.
type slack struct {
	cfg    Slack
	url    string
	reach  outgoing.Config
	client *http.Client
	log    *slog.Logger
}

func openSlack(s Settings, o Options) (Chat, Place, error) {
	const key = "chat.slack"
	if s.Slack == nil {
		return nil, Place{}, nil
	}
	c := *s.Slack
	if _, err := token(key+".app_token_file", c.AppTokenFile); err != nil {
		return nil, Place{}, err
	}
	if _, err := token(key+".bot_token_file", c.BotTokenFile); err != nil {
		return nil, Place{}, err
	}
	reach, err := c.reach(key, slackURL, callTime)
	if err != nil {
		return nil, Place{}, err
	}
	made, err := client(key, reach)
	if err != nil {
		return nil, Place{}, err
	}
	return &slack{cfg: c, url: reach.URL.String() + "/", reach: reach, client: made, log: o.Logger}, c.Place, nil
}

func (*slack) Name() string { return "slack" }

func (*slack) Routes(Handle) []Route { return nil }

// connect gives a client with the tokens as they are now.
func (s *slack) connect() (*slackapi.Client, error) {
	app, err := token("chat.slack.app_token_file", s.cfg.AppTokenFile)
	if err != nil {
		return nil, err
	}
	word, err := token("chat.slack.bot_token_file", s.cfg.BotTokenFile)
	if err != nil {
		return nil, err
	}
	return slackapi.New(word, slackapi.OptionAppLevelToken(app), slackapi.OptionAPIURL(s.url), slackapi.OptionHTTPClient(s.client), slackapi.OptionLog(log.New(io.Discard, "", 0))), nil
}

// dialer opens the line. The address that Slack names is judged when it is
// dialled, and without TLS only this machine is.
func (s *slack) dialer() (*websocket.Dialer, error) {
	trust, err := s.reach.Trust()
	if err != nil {
		return nil, err
	}
	trust.NextProtos = []string{"http/1.1"}
	dial := s.reach.Dialer()
	return &websocket.Dialer{
		HandshakeTimeout: callTime,
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if !outgoing.Local(s.reach.URL) {
				return nil, errors.New("Slack names an address without TLS")
			}
			return dial.DialContext(ctx, network, address)
		},
		NetDialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&tls.Dialer{NetDialer: dial, Config: trust}).DialContext(ctx, network, address)
		},
	}, nil
}

// Listen implements Chat.
func (s *slack) Listen(ctx context.Context, each Handle, connected func(bool)) error {
	api, err := s.connect()
	if err != nil {
		return err
	}
	dialer, err := s.dialer()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	line := socketmode.New(api, socketmode.OptionDialer(dialer), socketmode.OptionLog(log.New(io.Discard, "", 0)))
	ended := make(chan error, 1)
	go func() { ended <- line.RunContext(ctx) }()
	for {
		select {
		case err := <-ended:
			cancel()
			return plain(err)
		case e := <-line.Events:
			switch e.Type {
			case socketmode.EventTypeConnected:
				connected(true)
			case socketmode.EventTypeConnecting: // for the first time, or anew
				connected(false)
			}
			s.take(ctx, api, line, e, each)
		}
	}
}

func (s *slack) take(ctx context.Context, api *slackapi.Client, line *socketmode.Client, e socketmode.Event, each Handle) {
	switch data := e.Data.(type) {
	case slackapi.SlashCommand:
		if e.Request != nil {
			each(ctx, s.command(ctx, api, line, *e.Request, data))
			return
		}
	case slackapi.InteractionCallback:
		s.acknowledge(ctx, line, e.Request, "")
		if data.Type == slackapi.InteractionTypeBlockActions && len(data.ActionCallback.BlockActions) == 1 {
			each(ctx, s.pressed(api, data))
		}
		return
	case *slackapi.ConnectionErrorEvent:
		s.log.WarnContext(ctx, "connect to Slack", "error", plain(data.ErrorObj))
	}
	if e.Type == socketmode.EventTypeEventsAPI {
		s.acknowledge(ctx, line, e.Request, "")
	}
}

// acknowledge tells Slack that a request has come, with something for the one
// who has asked; "" = nothing.
func (s *slack) acknowledge(ctx context.Context, line *socketmode.Client, req *socketmode.Request, text string) {
	if req == nil {
		return
	}
	var payload any
	if text != "" {
		payload = map[string]string{"response_type": "ephemeral", "text": slackText(text)}
	}
	if err := line.AckCtx(ctx, req.EnvelopeID, payload); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "acknowledge to Slack", "error", plain(err))
	}
}

// command reads a slash command. What is answered soon goes with the
// acknowledgement, which reaches people even where the bot is no member.
func (s *slack) command(ctx context.Context, api *slackapi.Client, line *socketmode.Client, req socketmode.Request, c slackapi.SlashCommand) Event {
	var once sync.Once
	acknowledge := func(text string) (now bool) {
		once.Do(func() {
			now = true
			s.acknowledge(ctx, line, &req, text)
		})
		return now
	}
	late := time.AfterFunc(ackWithin, func() { acknowledge("") })
	return Event{
		ID: c.TriggerID, Person: c.UserID, Name: c.UserName, Place: c.ChannelID, Private: slackDirect(c.ChannelID), Text: slashed(c.Command, c.Text),
		Answer: func(ctx context.Context, text string) error {
			late.Stop()
			if acknowledge(text) || text == "" {
				return nil
			}
			return s.whisper(ctx, api, c.ChannelID, c.UserID, text)
		},
	}
}

// slackDirect tells by the id of a conversation whether it is with one person
// alone. Its name says nothing: anybody may call a channel directmessage.
func slackDirect(id string) bool { return strings.HasPrefix(id, "D") }

func (s *slack) pressed(api *slackapi.Client, c slackapi.InteractionCallback) Event {
	place := c.Channel.ID
	message := c.Container.MessageTs
	if message == "" {
		message = "elsewhere" // of no message that the bot has sent
	}
	return Event{
		ID: c.TriggerID, Person: c.User.ID, Name: c.User.Name, Place: place, Private: slackDirect(place),
		Message: message, Secret: c.ActionCallback.BlockActions[0].Value,
		Answer: func(ctx context.Context, text string) error {
			if text == "" {
				return nil
			}
			return s.whisper(ctx, api, place, c.User.ID, text)
		},
	}
}

// whisper says something in a channel that one person alone sees.
func (*slack) whisper(ctx context.Context, api *slackapi.Client, channel, person, text string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := api.PostEphemeralContext(ctx, channel, person, slackapi.MsgOptionText(slackText(text), false))
	return plain(err)
}

// Post implements Chat.
func (s *slack) Post(ctx context.Context, place string, m Message) (string, error) {
	api, err := s.connect()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, id, err := api.PostMessageContext(ctx, place, slackMessage(m)...)
	return id, slackError(err)
}

// Edit implements Chat.
func (s *slack) Edit(ctx context.Context, place, id string, m Message) error {
	api, err := s.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, _, _, err = api.UpdateMessageContext(ctx, place, id, slackMessage(m)...)
	return slackError(err)
}

// slackGone are answers after which a message is not changed any more.
var slackGone = []string{"message_not_found", "channel_not_found", "cant_update_message", "is_archived", "not_in_channel", "edit_window_closed", "user_not_found"}

func slackError(err error) error {
	if e, ok := errors.AsType[*slackapi.RateLimitedError](err); ok {
		return &busyError{after: e.RetryAfter}
	}
	if err != nil && slices.Contains(slackGone, err.Error()) {
		return fmt.Errorf("%w: %s", errGone, err.Error())
	}
	return plain(err)
}

// slackText is preformatted text, in which Slack looks for nothing once its three
// signs are escaped.
func slackText(text string) string {
	var b strings.Builder
	units := 0
	for _, r := range text {
		sign := map[rune]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '`': "'"}[r]
		size := len(sign)
		if sign == "" {
			sign, size = string(r), utf16.RuneLen(r)
		}
		if units += size; units > longestBlock-20 {
			b.WriteString("…")
			break
		}
		b.WriteString(sign)
	}
	return "```\n" + b.String() + "\n```"
}

func slackMessage(m Message) []slackapi.MsgOption {
	section := func(text string) slackapi.Block {
		return slackapi.NewSectionBlock(slackapi.NewTextBlockObject(slackapi.MarkdownType, text, false, true), nil, nil)
	}
	blocks := []slackapi.Block{section(slackText(m.Text))}
	if m.Link.URL != "" {
		link := strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C")
		blocks = append(blocks, section("<"+link.Replace(m.Link.URL)+"|"+link.Replace(m.Link.Text)+">"))
	}
	if len(m.Buttons) > 0 {
		var buttons []slackapi.BlockElement
		for i, b := range m.Buttons {
			button := slackapi.NewButtonBlockElement(fmt.Sprintf("button%d", i), b.Secret, slackapi.NewTextBlockObject(slackapi.PlainTextType, b.Label, false, false))
			switch b.Tone {
			case ToneGo:
				button.Style = slackapi.StylePrimary
			case ToneStop:
				button.Style = slackapi.StyleDanger
			}
			buttons = append(buttons, button)
		}
		blocks = append(blocks, slackapi.NewActionBlock("buttons", buttons...))
	}
	first, _, _ := strings.Cut(m.Text, "\n")
	return []slackapi.MsgOption{slackapi.MsgOptionText(slackText(first), false), slackapi.MsgOptionBlocks(blocks...)}
}
