package notify

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Telegram is a chat, a group or a channel of Telegram, written to by a bot.
type Telegram struct {
	Choice        `yaml:",inline"`
	Chat          string   `yaml:"chat"`           // its number, such as -1001234567890, or @NAME of a public channel
	Topic         int      `yaml:"topic"`          // of a group with topics; 0 = none
	TokenFile     string   `yaml:"token_file"`     // file with the bot's token, as BotFather gives it
	Updates       string   `yaml:"updates"`        // edit (default) | thread | each
	URL           string   `yaml:"url"`            // "" = https://api.telegram.org
	CAFile        string   `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
}

var (
	telegramChat  = regexp.MustCompile(`^(-?[0-9]{1,19}|@[A-Za-z][A-Za-z0-9_]{3,31})$`)
	telegramToken = regexp.MustCompile(`^[0-9]{1,19}:[A-Za-z0-9_-]{1,255}$`)
)

func openTelegram(s Settings) ([]opened, error) {
	zone, err := s.zone()
	if err != nil {
		return nil, err
	}
	var out []opened
	for i, c := range s.Telegram {
		key := fmt.Sprintf("notify.telegram, number %d", i+1)
		receiver, err := c.open(key, zone)
		if err != nil {
			return nil, err
		}
		out = append(out, opened{Channel: receiver, choice: c.Choice})
	}
	return out, nil
}

func (t Telegram) open(key string, zone *time.Location) (*chat, error) {
	if err := t.check(key); err != nil {
		return nil, err
	}
	if !telegramChat.MatchString(t.Chat) || t.Topic < 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.chat is neither the number of a chat nor the name of a channel", key).WithHint("such as -1001234567890, or @name")
	}
	updates, err := checkUpdates(key, t.Updates, updatesEdit, updatesThread, updatesEach)
	if err != nil {
		return nil, err
	}
	a, err := openAPI(apiSettings{key: key, url: t.URL, standard: "https://api.telegram.org", tokenFile: t.TokenFile, caFile: t.CAFile, networks: t.AllowNetworks})
	if err != nil {
		return nil, err
	}
	if token, err := a.token(); err != nil || !telegramToken.MatchString(token) {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.token_file: it does not hold a bot's token", key).WithHint("such as 110201543:AAHd…, as BotFather gives it")
	}
	return &chat{
		name: named("telegram", a.base.String(), t.Chat, strconv.Itoa(t.Topic)), shown: "telegram " + t.Chat, updates: updates,
		teller: teller{t.language(), zone}, service: &telegramChannel{api: a, chat: t.Chat, topic: t.Topic},
	}, nil
}

type telegramChannel struct {
	api   *api
	chat  string
	topic int
}

// telegramMost bounds a message: 4096 characters are taken.
const telegramMost = 3500

func telegramText(s string) string { return html.EscapeString(calm(s, "@/")) }

func telegramHTML(c card) string {
	c = c.fit(telegramMost)
	var b strings.Builder
	fmt.Fprintf(&b, "%s <b>%s</b>\n%s", c.mark, telegramText(c.title), telegramText(c.state))
	for _, f := range c.facts {
		fmt.Fprintf(&b, "\n<b>%s:</b> %s", telegramText(f.name), telegramText(f.text))
	}
	for _, l := range c.lists {
		fmt.Fprintf(&b, "\n<b>%s</b>", telegramText(l.name))
		for _, line := range l.lines {
			b.WriteString("\n" + telegramText(line))
		}
	}
	fmt.Fprintf(&b, "\n<a href=\"%s\">%s</a>", html.EscapeString(c.url), telegramText(c.link))
	return b.String()
}

// telegramMessage is what sendMessage and editMessageText take.
type telegramMessage struct {
	Chat    string          `json:"chat_id"`
	ID      int             `json:"message_id,omitempty"`
	Topic   int             `json:"message_thread_id,omitempty"`
	Text    string          `json:"text"`
	Mode    string          `json:"parse_mode"`
	Preview map[string]bool `json:"link_preview_options"`
	Reply   map[string]int  `json:"reply_parameters,omitempty"`
}

func (t *telegramChannel) message(text string) telegramMessage {
	return telegramMessage{Chat: t.chat, Text: text, Mode: "HTML", Preview: map[string]bool{"is_disabled": true}}
}

func (t *telegramChannel) post(ctx context.Context, _ string, c card, root string) (string, error) {
	return t.send(ctx, telegramHTML(c), root)
}

func (t *telegramChannel) answer(ctx context.Context, _, post, text string) error {
	_, err := t.send(ctx, telegramText(text), post)
	return err
}

func (t *telegramChannel) send(ctx context.Context, text, root string) (string, error) {
	m := t.message(text)
	m.Topic = t.topic
	if root != "" {
		id, err := strconv.Atoi(root)
		if err != nil {
			return "", errGone
		}
		m.Reply = map[string]int{"message_id": id}
	}
	return t.call(ctx, "sendMessage", m)
}

func (t *telegramChannel) edit(ctx context.Context, post string, c card) (err error) {
	m := t.message(telegramHTML(c))
	if m.ID, err = strconv.Atoi(post); err != nil {
		return errGone
	}
	_, err = t.call(ctx, "editMessageText", m)
	return err
}

// call gives the message's number. The same text again is no error: it is
// there.
func (t *telegramChannel) call(ctx context.Context, method string, m telegramMessage) (string, error) {
	token, err := t.api.token()
	if err != nil {
		return "", err
	}
	if !telegramToken.MatchString(token) {
		return "", restart.Errorf(restart.CodeInvalid, "its token_file does not hold a bot's token")
	}
	var said struct {
		OK          bool   `json:"ok"`
		Description string `json:"description"`
		Result      struct {
			ID int `json:"message_id"`
		} `json:"result"`
		Parameters struct {
			After int   `json:"retry_after"`
			Chat  int64 `json:"migrate_to_chat_id"`
		} `json:"parameters"`
	}
	status, err := t.api.call(ctx, http.MethodPost, "bot"+token+"/"+method, "", m, &said)
	switch {
	case said.Parameters.After > 0:
		return "", &Later{After: time.Duration(min(said.Parameters.After, 3600)) * time.Second, Why: "telegram wants fewer messages"}
	case err != nil:
		return "", err
	case said.OK && said.Result.ID != 0:
		return strconv.Itoa(said.Result.ID), nil
	case strings.Contains(said.Description, "message is not modified"):
		return strconv.Itoa(m.ID), nil
	case strings.Contains(said.Description, "message to edit not found"), strings.Contains(said.Description, "message can't be edited"),
		strings.Contains(said.Description, "message to be replied not found"), strings.Contains(said.Description, "MESSAGE_ID_INVALID"):
		return "", errGone
	case said.Parameters.Chat != 0:
		return "", fmt.Errorf("telegram refuses it: the group has become another one: put chat: %d into the settings", said.Parameters.Chat)
	case said.Description != "":
		return "", fmt.Errorf("telegram refuses it: %d, %s", status, said.Description)
	}
	return "", fmt.Errorf("it answers %d, and not as Telegram does", status)
}
