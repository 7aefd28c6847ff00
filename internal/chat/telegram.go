package chat

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	telegramURL   = "https://api.telegram.org"
	longestAlert  = 200 // characters of what a pressed button answers
	longestSecret = 64  // bytes that a button of Telegram holds
)

// telegram is a bot of Telegram. Nothing of ours need be open to the outside: it
// asks for what people send, and waits for the answer.
type telegram struct {
	cfg    Telegram
	url    string
	client *http.Client
	poll   time.Duration
	log    *slog.Logger
}

func openTelegram(s Settings, o Options) (Chat, Place, error) {
	const key = "chat.telegram"
	if s.Telegram == nil {
		return nil, Place{}, nil
	}
	c := *s.Telegram
	if _, err := token(key+".token_file", c.TokenFile); err != nil {
		return nil, Place{}, err
	}
	reach, err := c.reach(key, telegramURL, o.Poll+callTime)
	if err != nil {
		return nil, Place{}, err
	}
	made, err := client(key, reach)
	if err != nil {
		return nil, Place{}, err
	}
	return &telegram{cfg: c, url: reach.URL.String(), client: made, poll: o.Poll, log: o.Logger}, c.Place, nil
}

func (*telegram) Name() string { return "telegram" }

func (*telegram) Routes(Handle) []Route { return nil }

// connect gives a client with the token as it is now.
func (t *telegram) connect() (*bot.Bot, error) {
	word, err := token("chat.telegram.token_file", t.cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	return bot.New(word, bot.WithServerURL(t.url), bot.WithHTTPClient(t.poll, t.client), bot.WithSkipGetMe())
}

// Listen asks for updates, one question after another; what has been given to
// each is not asked for again. No more are asked for at once than are done at
// once: so anybody's longest messages fit into one answer. Where they do not,
// they come one by one.
func (t *telegram) Listen(ctx context.Context, each Handle, connected func(bool)) error {
	b, err := t.connect()
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	me, err := b.GetMe(asking)
	if err != nil {
		return telegramError(err)
	}
	l := &telegramListener{t: t, each: each, bot: b, name: me.Username}
	offset, most, patience := int64(0), atOnce, time.Duration(0) // the first answer says at once that there is a connection
	for ctx.Err() == nil {
		updates, err := t.updates(ctx, b, offset, most, patience)
		if _, large := errors.AsType[*http.MaxBytesError](err); large && most > 1 {
			most = 1
			continue
		}
		if err != nil {
			return err
		}
		connected(true)
		most, patience = atOnce, t.poll-time.Second
		for _, u := range updates {
			l.take(ctx, u)
			offset = u.id + 1
		}
	}
	return ctx.Err()
}

// update is one of what Telegram tells.
type update struct {
	id   int64
	told json.RawMessage
}

// updates asks for those from offset on, most of them at once, and has Telegram
// wait for some with patience. The library would ask for a hundred, whose answer nothing bounds.
func (t *telegram) updates(ctx context.Context, b *bot.Bot, offset int64, most int, patience time.Duration) ([]update, error) {
	body, err := json.Marshal(map[string]any{
		"offset": offset, "limit": most, "timeout": int(patience.Seconds()),
		"allowed_updates": []string{models.AllowedUpdateMessage, models.AllowedUpdateEditedMessage, models.AllowedUpdateCallbackQuery},
	})
	if err != nil {
		return nil, fmt.Errorf("encode a question to Telegram: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url+"/bot"+b.Token()+"/getUpdates", bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address of Telegram can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	defer resp.Body.Close()
	var said struct {
		OK          bool              `json:"ok"`
		Result      []json.RawMessage `json:"result"`
		Description string            `json:"description"`
		Parameters  struct {
			RetryAfter int `json:"retry_after"`
		} `json:"parameters"`
	}
	err = json.NewDecoder(resp.Body).Decode(&said)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, &busyError{after: time.Duration(said.Parameters.RetryAfter) * time.Second}
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("Telegram answers %d %s", resp.StatusCode, line(said.Description))
	case err != nil:
		return nil, fmt.Errorf("read what Telegram tells: %w", err)
	case !said.OK:
		return nil, fmt.Errorf("Telegram does not tell: %s", line(said.Description))
	}
	out := make([]update, 0, len(said.Result))
	for _, told := range said.Result {
		var u struct {
			ID int64 `json:"update_id"`
		}
		if err := json.Unmarshal(told, &u); err != nil || u.ID == 0 {
			return nil, errors.New("Telegram tells of an update without its id")
		}
		out = append(out, update{u.ID, told})
	}
	return out, nil
}

// telegramListener is one life of a Listen.
type telegramListener struct {
	t    *telegram
	each Handle
	bot  *bot.Bot
	name string // of the bot
}

// take gives an update to each. One that can't be read is left out: it would come
// again for ever.
func (l *telegramListener) take(ctx context.Context, told update) {
	var u models.Update
	if err := json.Unmarshal(told.told, &u); err != nil {
		l.t.log.WarnContext(ctx, "read an update of Telegram", "error", plain(err))
		return
	}
	e := Event{ID: strconv.FormatInt(told.id, 10)}
	ok := false
	switch {
	case u.CallbackQuery != nil:
		ok = l.pressed(&e, u.CallbackQuery)
	case u.EditedMessage != nil:
		e.Edited = true
		ok = l.said(&e, u.EditedMessage)
	case u.Message != nil:
		ok = l.said(&e, u.Message)
	}
	if ok {
		l.each(ctx, e)
	}
}

// said reads a message; false where it is nothing to us.
func (l *telegramListener) said(e *Event, m *models.Message) bool {
	if m.From == nil || m.From.IsBot || m.Text == "" {
		return false // an admin who hides behind the group is a bot, too
	}
	if to := parse(m.Text).to; to != "" && !strings.EqualFold(to, l.name) {
		return false // another bot is meant
	}
	e.Person, e.Name = strconv.FormatInt(m.From.ID, 10), m.From.Username
	e.Place = placeOf(m.Chat.ID, m.MessageThreadID, m.IsTopicMessage)
	e.Private = m.Chat.Type == models.ChatTypePrivate && m.Chat.ID == m.From.ID
	e.Text, e.Forwarded = m.Text, m.ForwardOrigin != nil || m.ViaBot != nil || m.IsAutomaticForward
	place := e.Place
	e.Answer = func(ctx context.Context, text string) error {
		if text == "" {
			return nil
		}
		_, err := l.t.Post(ctx, place, Message{Text: text})
		return err
	}
	return true
}

// pressed reads the press of a button.
func (l *telegramListener) pressed(e *Event, q *models.CallbackQuery) bool {
	e.Person, e.Name, e.Secret = strconv.FormatInt(q.From.ID, 10), q.From.Username, q.Data
	e.Message, e.Private = "elsewhere", true // of no message that the bot has sent, and in no place
	if m := q.Message.Message; m != nil {
		e.Message, e.Place = strconv.Itoa(m.ID), placeOf(m.Chat.ID, m.MessageThreadID, m.IsTopicMessage)
		e.Private = m.Chat.Type == models.ChatTypePrivate && m.Chat.ID == q.From.ID
	} else if m := q.Message.InaccessibleMessage; m != nil {
		e.Message, e.Place = strconv.Itoa(m.MessageID), placeOf(m.Chat.ID, 0, false)
		e.Private = m.Chat.Type == models.ChatTypePrivate && m.Chat.ID == q.From.ID
	}
	e.Answer = func(ctx context.Context, text string) error {
		_, err := l.bot.AnswerCallbackQuery(ctx, &bot.AnswerCallbackQueryParams{CallbackQueryID: q.ID, Text: cutOff(text, longestAlert), ShowAlert: text != ""})
		return telegramError(err)
	}
	return len(q.Data) <= longestSecret
}

// placeOf names a conversation: a chat, or a topic of a group with topics.
func placeOf(chat int64, topic int, isTopic bool) string {
	place := strconv.FormatInt(chat, 10)
	if isTopic && topic != 0 {
		place += "/" + strconv.Itoa(topic)
	}
	return place
}

func readPlace(place string) (chat int64, topic int, err error) {
	id, thread, _ := strings.Cut(place, "/")
	if chat, err = strconv.ParseInt(id, 10, 64); err != nil {
		return 0, 0, fmt.Errorf("%s is no chat of Telegram", restart.Quote(place))
	}
	topic, err = strconv.Atoi(cmp.Or(thread, "0"))
	return chat, topic, err
}

// Post implements Chat.
func (t *telegram) Post(ctx context.Context, place string, m Message) (string, error) {
	chat, topic, err := readPlace(place)
	if err != nil {
		return "", err
	}
	b, err := t.connect()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	sent, err := b.SendMessage(ctx, &bot.SendMessageParams{
		ChatID: chat, MessageThreadID: topic, Text: telegramText(m), ParseMode: models.ParseModeHTML, ReplyMarkup: telegramKeys(m), LinkPreviewOptions: noPreview(),
	})
	if err != nil {
		return "", telegramError(err)
	}
	return strconv.Itoa(sent.ID), nil
}

// Edit implements Chat.
func (t *telegram) Edit(ctx context.Context, place, id string, m Message) error {
	chat, _, err := readPlace(place)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(id)
	if err != nil {
		return fmt.Errorf("%s is no message of Telegram", restart.Quote(id))
	}
	b, err := t.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err = b.EditMessageText(ctx, &bot.EditMessageTextParams{
		ChatID: chat, MessageID: number, Text: telegramText(m), ParseMode: models.ParseModeHTML, ReplyMarkup: telegramKeys(m), LinkPreviewOptions: noPreview(),
	})
	if err != nil && strings.Contains(err.Error(), "message is not modified") {
		return nil
	}
	return telegramError(err)
}

// telegramError leaves of an error what can be logged: the library's own has the
// whole of an answer that it can't read.
func telegramError(err error) error {
	if e, ok := errors.AsType[*bot.TooManyRequestsError](err); ok {
		return &busyError{after: time.Duration(e.RetryAfter) * time.Second}
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return errors.New("Telegram answers with something else than JSON")
	}
	if errors.Is(err, bot.ErrorForbidden) || errors.Is(err, bot.ErrorBadRequest) {
		return fmt.Errorf("%w: %w", errGone, plain(err))
	}
	return plain(err)
}

// telegramText is preformatted text, in which Telegram looks for nothing.
func telegramText(m Message) string {
	text := "<pre>" + html.EscapeString(m.Text) + "</pre>"
	if m.Link.URL != "" {
		text += "\n<a href=\"" + html.EscapeString(m.Link.URL) + "\">" + html.EscapeString(m.Link.Text) + "</a>"
	}
	return text
}

func noPreview() *models.LinkPreviewOptions { return &models.LinkPreviewOptions{IsDisabled: new(true)} }

// key is a button as Telegram has it. The library's own type says of each button
// that it copies an empty text, too.
type key struct {
	Text string `json:"text"`
	Data string `json:"callback_data"`
}

// telegramKeys are the buttons; an empty keyboard takes away those that there are.
func telegramKeys(m Message) models.ReplyMarkup {
	rows := [][]key{}
	if len(m.Buttons) > 0 {
		var row []key
		for _, b := range m.Buttons {
			row = append(row, key{Text: b.Label, Data: b.Secret})
		}
		rows = append(rows, row)
	}
	return struct {
		Keys [][]key `json:"inline_keyboard"`
	}{rows}
}
