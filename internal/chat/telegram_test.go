package chat_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/test/foreign/telegram"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

var telegramPeople = []telegram.Person{{ID: 12345, Name: "anna_w"}, {ID: 23456, Name: "boris"}, {ID: 34567, Name: "vera"}}

// onTelegram is Telegram as people use it.
type onTelegram struct {
	t      *testing.T
	server *telegram.Server
	token  string

	mu      sync.Mutex
	presses map[int][]string             // by person
	buttons map[string]map[string]string // by message: data of the newest of each label
}

func newTelegram(t *testing.T) rival {
	return &onTelegram{t: t, server: telegram.Start(t), token: file(t, telegram.Token), presses: map[int][]string{}, buttons: map[string]map[string]string{}}
}

func (o *onTelegram) settings(channels ...string) chat.Settings {
	return chat.Settings{Telegram: &chat.Telegram{TokenFile: o.token, Place: chat.Place{URL: o.server.URL, Channels: channels}}}
}

func (o *onTelegram) account(person int) string {
	return strconv.FormatInt(telegramPeople[person].ID, 10)
}
func (o *onTelegram) direct(person int) string { return o.account(person) }
func (o *onTelegram) group() string            { return strconv.FormatInt(telegram.Chat, 10) }

func (o *onTelegram) chat(place string) int64 {
	id, err := strconv.ParseInt(place, 10, 64)
	if err != nil {
		o.t.Fatal(err)
	}
	return id
}

func (o *onTelegram) say(person int, place, text string) {
	o.server.Say(telegramPeople[person], o.chat(place), "ops", text)
}

func (o *onTelegram) press(person int, place, id, label string) {
	o.shown(place)
	o.mu.Lock()
	data := o.buttons[place+" "+id][label]
	o.mu.Unlock()
	o.pressData(person, place, id, data)
}

func (o *onTelegram) pressData(person int, place, id, data string) {
	number, err := strconv.Atoi(id)
	if err != nil || data == "" {
		o.t.Fatalf("nothing to press below %s: %v", id, err)
	}
	press := o.server.Press(telegramPeople[person], o.chat(place), number, data)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.presses[person] = append(o.presses[person], press)
}

func (o *onTelegram) pressElsewhere(person int, place, id, label string) {
	o.shown(place)
	o.mu.Lock()
	data := o.buttons[place+" "+id][label]
	o.mu.Unlock()
	number, err := strconv.Atoi(id)
	if err != nil {
		o.t.Fatal(err)
	}
	o.pressData(person, place, strconv.Itoa(number+1000), data)
}

func (o *onTelegram) heard(person int, place string) []string {
	var out []string
	for _, m := range o.server.Messages(o.chat(place)) {
		if len(m.Buttons()) == 0 {
			out = append(out, m.Text)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.presses[person] {
		if a, ok := o.server.Alert(p); ok {
			out = append(out, a.Text)
		}
	}
	return out
}

func (o *onTelegram) shown(place string) (out []message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.server.Messages(o.chat(place)) {
		x := message{id: strconv.Itoa(m.ID), text: m.Text, edits: m.Edits}
		for _, b := range m.Buttons() {
			x.buttons = append(x.buttons, b.Text)
			key := place + " " + x.id
			if o.buttons[key] == nil {
				o.buttons[key] = map[string]string{}
			}
			o.buttons[key][b.Text] = b.Data
		}
		out = append(out, x)
	}
	return out
}

func (o *onTelegram) harmless(place string) string {
	var bad []string
	for _, m := range o.server.Messages(o.chat(place)) {
		bad = append(bad, m.Calls...)
		for _, mark := range m.Marks {
			if mark.Kind != "pre" && (mark.Kind != "text_link" || !strings.HasPrefix(mark.URL, "https://restartilka.example.com/")) {
				bad = append(bad, mark.Kind+" "+mark.URL)
			}
		}
	}
	return strings.Join(bad, " ")
}

func (o *onTelegram) away(is bool) {
	o.server.Trouble.Next(map[bool]int{true: trouble.Forever, false: 0}[is], trouble.Status(502))
}

func (o *onTelegram) edits(way trouble.Way) {
	editing(&o.server.Trouble, way, func(r *http.Request) bool { return strings.HasSuffix(strings.ToLower(r.URL.Path), "/editmessagetext") })
}

func (*onTelegram) busy(seconds int) trouble.Way { return telegram.Busy(seconds) }

func (*onTelegram) feigned() string { return "" }

func TestTelegram(t *testing.T) {
	t.Parallel()
	Exercise(t, newTelegram)
}

// Who has asked does not learn what became of it.
func TestAnAnswerThatIsNotTaken(t *testing.T) {
	t.Parallel()
	o := newTelegram(t).(*onTelegram)
	w := newWorld(t, o)
	w.usual()
	w.link(anna)
	o.server.Trouble.Next(trouble.Forever, func(rw http.ResponseWriter, r *http.Request, well http.Handler) {
		if strings.HasSuffix(strings.ToLower(r.URL.Path), "/sendmessage") {
			trouble.Status(http.StatusBadGateway)(rw, r, well)
			return
		}
		well.ServeHTTP(rw, r)
	})
	w.chat.say(anna, w.chat.direct(anna), "/whoami")
	w.ended(map[chat.Result]int{chat.ResultUnanswered: 1})
	w.connected(true)
}

// What Telegram can send beside a message and a press of ours does nothing, and
// is told in one sentence.
func TestTelegramOddUpdates(t *testing.T) {
	t.Parallel()
	o := newTelegram(t).(*onTelegram)
	w := newWorld(t, o)
	w.usual()
	w.link(anna)
	own, server := telegramPeople[anna].ID, o.server
	place, group := o.direct(anna), o.group()
	command := "/restart shop production " + reason

	server.Say(telegramPeople[anna], own, "", command, telegram.Forwarded)
	w.hears(anna, place, "A forwarded message does nothing")
	server.Say(telegramPeople[anna], own, "", command, telegram.Edited)
	w.hears(anna, place, "A message that was edited does nothing")

	// A group is known by its id, whatever it is called; and no other becomes it
	// by its name.
	server.Say(telegramPeople[anna], telegram.Chat, "renamed", "/whoami@restartilka_bot")
	w.hears(anna, group, "You are anna")
	server.Say(telegramPeople[anna], telegram.Chat, "renamed", "/whoami@another_bot")
	server.Say(telegramPeople[anna], telegram.Chat, "renamed", "restart shop production would help, I think")
	server.Say(telegram.Person{ID: 1087968824, Name: "GroupAnonymousBot"}, telegram.Chat, "renamed", "/whoami") // an admin who hides: one account for all of them
	w.hears(anna, group, "I do not know you here yet")
	if n := w.told(anna, group, "You are"); n != 1 {
		t.Errorf("%d answers to what was said to others", n)
	}

	// A press of a button of somebody else's bot that carries our secret.
	m := w.plan(anna, place)
	var data string
	for _, x := range server.Messages(own) {
		if strconv.Itoa(x.ID) == m.id {
			data = x.Buttons()[0].Data
		}
	}
	if len(data) > 64 {
		t.Errorf("a button of %d bytes", len(data))
	}
	press := server.Press(telegramPeople[anna], own, 0, data, telegram.Inline)
	w.until("an alert", func() bool {
		a, ok := server.Alert(press)
		return ok && a.Shown && strings.Contains(a.Text, "This button belongs to another message")
	})
	if n := len(w.runs()); n != 0 {
		t.Errorf("%d runs", n)
	}

	// The same press again, as Telegram sends it whose answer was lost.
	press = server.Press(telegramPeople[anna], own, number(t, m.id), data)
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, "completed") })
	w.until("the answer to the press", func() bool {
		a, ok := server.Alert(press)
		if ok && a.Text != "" {
			t.Errorf("%+v", a)
		}
		return ok
	})
	id := server.Say(telegramPeople[anna], own, "", "/help")
	w.hears(anna, place, "/restart SERVICE")
	server.Again(id)
	server.Say(telegramPeople[anna], own, "", "/whoami")
	w.hears(anna, place, "You are anna")
	if n := w.told(anna, place, "/restart SERVICE"); n != 1 {
		t.Errorf("an update that came twice is answered %d times", n)
	}

	// A message that somebody has deleted ends what keeps it up to date.
	m = w.plan(anna, place)
	server.Delete(number(t, m.id))
	o.pressData(anna, place, m.id, o.data(place, m.id, "Start it"))
	w.until("nothing to follow", func() bool {
		list, err := w.Store.ChatMessages(t.Context(), "telegram")
		return err == nil && len(list) == 0 && len(w.runs()) == 2
	})
}

// Whatever people who are nobody here write, of any length, the others are heard.
func TestTelegramOfManyWords(t *testing.T) {
	t.Parallel()
	o := newTelegram(t).(*onTelegram)
	w := newWorld(t, o)
	for range 120 { // while the server is away
		o.server.Say(telegramPeople[vera], telegram.Chat, "ops", strings.Repeat("ы", 4096))
	}
	o.server.Odd(map[string]any{"message": map[string]any{"message_id": "seven", "from": 1}})
	w.link(anna)
	o.say(anna, o.direct(anna), "/whoami")
	w.usual()
	w.hears(anna, o.direct(anna), "You are anna")
	w.connected(true)
}

// An answer that can't be read is none.
func TestTelegramThatIsNot(t *testing.T) {
	t.Parallel()
	o := newTelegram(t).(*onTelegram)
	w := newWorld(t, o)
	w.usual()
	w.link(anna)
	w.connected(true)
	o.server.Trouble.Next(trouble.Forever, trouble.Page)
	w.connected(false)
	o.say(anna, o.direct(anna), "/whoami")
	o.server.Trouble.Next(0, nil)
	w.hears(anna, o.direct(anna), "You are anna")
	w.connected(true)
	if strings.Contains(w.log.String(), "DOCTYPE") {
		t.Errorf("the log has the answer:\n%s", w.log)
	}
}

func (o *onTelegram) data(place, id, label string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buttons[place+" "+id][label]
}

func number(t *testing.T, id string) int {
	t.Helper()
	n, err := strconv.Atoi(id)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
