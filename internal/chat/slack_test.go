package chat_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/test/foreign/slack"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

var slackPeople = []slack.Person{{ID: "U0ANNA0000", Name: "anna"}, {ID: "U0BORIS000", Name: "boris"}, {ID: "U0VERA0000", Name: "vera"}}

// onSlack is Slack as people use it.
type onSlack struct {
	t        *testing.T
	server   *slack.Server
	app, bot string

	working sync.WaitGroup
	mu      sync.Mutex
	said    map[string][]string // what a command was answered with at once, by person and place
	buttons map[string]map[string]string
}

func newSlack(t *testing.T) rival {
	o := &onSlack{t: t, server: slack.Start(t), app: file(t, slack.AppToken), bot: file(t, slack.Token), said: map[string][]string{}, buttons: map[string]map[string]string{}}
	t.Cleanup(o.working.Wait)
	return o
}

func (o *onSlack) settings(channels ...string) chat.Settings {
	return chat.Settings{Slack: &chat.Slack{AppTokenFile: o.app, BotTokenFile: o.bot, Place: chat.Place{URL: o.server.URL, Channels: channels}}}
}

func (o *onSlack) account(person int) string { return slackPeople[person].ID }
func (o *onSlack) direct(person int) string  { return slackPeople[person].Direct() }
func (o *onSlack) group() string             { return slack.Channel }

func (o *onSlack) say(person int, place, text string) {
	command, rest, _ := strings.Cut(text, " ")
	if person == boris { // by the one command that has all
		command, rest = "/restartilka", strings.TrimPrefix(text, "/")
	}
	o.working.Go(func() {
		told, err := o.server.Command(slackPeople[person], place, command, rest)
		for try := 0; err != nil && try < 2 && o.t.Context().Err() == nil; try++ { // it was lost with the line: people say it again
			told, err = o.server.Command(slackPeople[person], place, command, rest)
		}
		if err != nil && o.t.Context().Err() == nil {
			o.t.Errorf("%s: %v", text, err)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if told != "" {
			o.said[slackPeople[person].ID+place] = append(o.said[slackPeople[person].ID+place], told)
		}
	})
}

func (o *onSlack) press(person int, place, id, label string) {
	o.pressBelow(person, place, id, id, label)
}

func (o *onSlack) pressElsewhere(person int, place, id, label string) {
	o.pressBelow(person, place, id, "1700000000.000099", label)
}

func (o *onSlack) pressBelow(person int, place, id, below, label string) {
	o.shown(place)
	o.mu.Lock()
	value := o.buttons[place+" "+id][label]
	o.mu.Unlock()
	if value == "" {
		o.t.Fatalf("there was never a button %s below %s", label, id)
	}
	err := o.server.Press(slackPeople[person], place, below, value)
	for try := 0; err != nil && try < 2; try++ {
		err = o.server.Press(slackPeople[person], place, below, value)
	}
	if err != nil {
		o.t.Errorf("press %s: %v", label, err)
	}
}

func (o *onSlack) heard(person int, place string) []string {
	o.mu.Lock()
	out := append([]string{}, o.said[slackPeople[person].ID+place]...)
	o.mu.Unlock()
	for _, w := range o.server.Whispers(slackPeople[person].ID) {
		if w.Channel == place {
			out = append(out, w.Text)
		}
	}
	for _, m := range o.server.Messages(place) {
		if len(m.Buttons()) == 0 {
			out = append(out, m.Read())
		}
	}
	for i := range out {
		out[i] = unescape(out[i])
	}
	return out
}

func unescape(s string) string {
	return strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(s)
}

func (o *onSlack) shown(place string) (out []message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.server.Messages(place) {
		x := message{id: m.TS, text: unescape(m.Read()), edits: m.Edits}
		for _, b := range m.Buttons() {
			x.buttons = append(x.buttons, b.Text)
			key := place + " " + x.id
			if o.buttons[key] == nil {
				o.buttons[key] = map[string]string{}
			}
			o.buttons[key][b.Text] = b.Value
		}
		out = append(out, x)
	}
	return out
}

func (o *onSlack) harmless(place string) string {
	var bad []string
	for _, m := range o.server.Messages(place) {
		for _, c := range append(slackControls(m.Read()), m.Controls...) {
			if !strings.HasPrefix(c, "https://restartilka.example.com/") {
				bad = append(bad, c)
			}
		}
	}
	return strings.Join(bad, " ")
}

// slackControls are what stands between < and >.
func slackControls(text string) (out []string) {
	for {
		_, behind, ok := strings.Cut(text, "<")
		if !ok {
			return out
		}
		c, rest, _ := strings.Cut(behind, ">")
		out, text = append(out, c), rest
	}
}

func (o *onSlack) away(is bool) {
	if is {
		o.server.Cut()
	}
	o.server.Trouble.Next(map[bool]int{true: trouble.Forever, false: 0}[is], trouble.Status(502))
}

func (o *onSlack) edits(way trouble.Way) {
	editing(&o.server.Trouble, way, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/chat.update") })
}

func (*onSlack) busy(seconds int) trouble.Way { return slack.Busy(seconds) }

func (*onSlack) feigned() string { return slack.Named }

func TestSlack(t *testing.T) {
	t.Parallel()
	Exercise(t, newSlack)
}
