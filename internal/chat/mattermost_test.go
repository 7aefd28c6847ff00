package chat_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/test/foreign/mattermost"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

var mattermostPeople = []mattermost.Person{{ID: "usanna9012345678901234567x", Name: "anna"}, {ID: "usboris012345678901234567x", Name: "boris"}, {ID: "usvera9012345678901234567x", Name: "vera"}}

// onMattermost is Mattermost as people use it, and the server that it posts to.
type onMattermost struct {
	t              *testing.T
	server         *mattermost.Server
	token, command string
	ours           *httptest.Server
	bot            atomic.Pointer[chat.Bot]

	working sync.WaitGroup
	mu      sync.Mutex
	said    map[string][]string
	buttons map[string]map[string]mattermost.Button
}

func newMattermost(t *testing.T) rival {
	o := &onMattermost{
		t: t, server: mattermost.Start(t), token: file(t, mattermost.Token), command: file(t, mattermost.CommandToken), said: map[string][]string{}, buttons: map[string]map[string]mattermost.Button{},
	}
	o.ours = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b := o.bot.Load(); b != nil {
			b.Handler().ServeHTTP(w, r)
		}
	}))
	t.Cleanup(o.ours.Close)
	t.Cleanup(o.working.Wait)
	return o
}

func (o *onMattermost) serve(b *chat.Bot) { o.bot.Store(b) }
func (o *onMattermost) url() string       { return o.ours.URL }

func (o *onMattermost) settings(channels ...string) chat.Settings {
	return chat.Settings{Mattermost: &chat.Mattermost{TokenFile: o.token, CommandTokenFile: o.command, Place: chat.Place{URL: o.server.URL, Channels: channels}}}
}

func (o *onMattermost) account(person int) string { return mattermostPeople[person].ID }
func (o *onMattermost) direct(person int) string  { return mattermostPeople[person].Direct() }
func (o *onMattermost) group() string             { return mattermost.Channel }

func (o *onMattermost) say(person int, place, text string) {
	o.working.Go(func() {
		status, told, err := o.server.Command(o.ours.Client(), o.ours.URL+"/chat/mattermost/command", mattermost.CommandToken, mattermostPeople[person], place, "/restartilka", strings.TrimPrefix(text, "/"))
		if err != nil || status != http.StatusOK {
			o.t.Errorf("%s: %d %v", text, status, err)
		}
		o.tell(person, place, told)
	})
}

func (o *onMattermost) tell(person int, place, told string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if told != "" {
		o.said[mattermostPeople[person].ID+place] = append(o.said[mattermostPeople[person].ID+place], told)
	}
}

func (o *onMattermost) button(place, id, label string) mattermost.Button {
	o.shown(place)
	o.mu.Lock()
	defer o.mu.Unlock()
	b, ok := o.buttons[place+" "+id][label]
	if !ok {
		o.t.Fatalf("there was never a button %s below %s", label, id)
	}
	return b
}

func (o *onMattermost) press(person int, place, id, label string) {
	o.pressBelow(person, place, id, id, label)
}

func (o *onMattermost) pressElsewhere(person int, place, id, label string) {
	o.pressBelow(person, place, id, "post9999999999999999999999", label)
}

func (o *onMattermost) pressBelow(person int, place, id, below, label string) {
	status, told, err := o.server.Press(o.ours.Client(), mattermostPeople[person], place, below, o.button(place, id, label))
	if err != nil || status != http.StatusOK {
		o.t.Errorf("press %s: %d %v", label, status, err)
	}
	o.tell(person, place, told)
}

func (o *onMattermost) heard(person int, place string) []string {
	o.mu.Lock()
	out := append([]string{}, o.said[mattermostPeople[person].ID+place]...)
	o.mu.Unlock()
	for _, p := range o.server.Posts(place) {
		if len(p.Buttons()) == 0 {
			out = append(out, p.Message)
		}
	}
	return out
}

func (o *onMattermost) shown(place string) (out []message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.server.Posts(place) {
		x := message{id: p.ID, text: p.Message, edits: p.Edits}
		for _, b := range p.Buttons() {
			x.buttons = append(x.buttons, b.Name)
			key := place + " " + x.id
			if o.buttons[key] == nil {
				o.buttons[key] = map[string]mattermost.Button{}
			}
			o.buttons[key][b.Name] = b
		}
		out = append(out, x)
	}
	return out
}

func (o *onMattermost) harmless(place string) string {
	var bad []string
	for _, p := range o.server.Posts(place) {
		bad = append(bad, p.Mentions...)
		for _, l := range p.Links {
			if !strings.HasPrefix(l, "https://restartilka.example.com/") {
				bad = append(bad, l)
			}
		}
	}
	return strings.Join(bad, " ")
}

func (o *onMattermost) away(is bool) {
	o.server.Trouble.Next(map[bool]int{true: trouble.Forever, false: 0}[is], trouble.Status(502))
}

func (o *onMattermost) edits(way trouble.Way) {
	editing(&o.server.Trouble, way, func(r *http.Request) bool { return r.Method == http.MethodPut })
}

func (*onMattermost) busy(seconds int) trouble.Way {
	return trouble.Busy(time.Duration(seconds) * time.Second)
}

func (*onMattermost) feigned() string { return mattermost.Named }

func TestMattermost(t *testing.T) {
	t.Parallel()
	Exercise(t, newMattermost)
}

// Every address that anybody can reach refuses who is not the chat: a new one needs
// its line, a request in which nothing is amiss but that.
func TestStrangersAtEveryAddress(t *testing.T) {
	t.Parallel()
	r := newMattermost(t).(*onMattermost)
	w := newWorld(t, r)
	s := r.settings(mattermost.Channel)
	s.Telegram, s.Slack = newTelegram(t).settings().Telegram, newSlack(t).settings().Slack
	who := mattermostPeople[anna]
	requests := map[string][2]string{
		"mattermost POST /command": {"application/x-www-form-urlencoded", "token=x&trigger_id=1&user_id=" + who.ID + "&user_name=anna&channel_id=" + r.direct(anna) + "&command=/restartilka&text=whoami"},
		"mattermost POST /action":  {"application/json", `{"user_id":"` + who.ID + `","channel_id":"` + r.direct(anna) + `","post_id":"post0000000000000000000001","trigger_id":"1","context":{"secret":"x","signature":"x"}}`},
	}
	chats, err := s.Open(chat.Options{URL: r.url()})
	w.must(err)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(requests)), slices.Sorted(slices.Values(chat.Patterns(chats)))); diff != "" {
		t.Errorf("addresses (-here +there):\n%s", diff)
	}
	r.serve(chat.New(chat.Config{Chats: chats, Control: w.Control, Desk: w.desk}))
	for pattern, body := range requests {
		kind, rest, _ := strings.Cut(pattern, " ")
		method, path, _ := strings.Cut(rest, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, r.ours.URL+"/chat/"+kind+path, strings.NewReader(body[1]))
		w.must(err)
		req.Header.Set("Content-Type", body[0])
		resp, err := r.ours.Client().Do(req)
		w.must(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", pattern, resp.Status)
		}
	}
}

// Whoever can reach our address is not Mattermost: it shows the token of the
// command, and sends buttons with what they were made with.
func TestMattermostIsAskedWhoItIs(t *testing.T) {
	t.Parallel()
	r := newMattermost(t).(*onMattermost)
	w := newWorld(t, r)
	w.usual()
	w.link(anna)
	place := r.direct(anna)
	for _, token := range []string{"", "xr3j5x3p4pfk7kk6ck7b4e6ghx", mattermost.Token} {
		status, told, err := r.server.Command(r.ours.Client(), r.ours.URL+"/chat/mattermost/command", token, mattermostPeople[anna], place, "/restartilka", "whoami")
		if err != nil || status != http.StatusUnauthorized || told != "" {
			t.Errorf("token %q: %d %q %v", token, status, told, err)
		}
	}
	m := w.plan(anna, place)
	good := r.button(place, m.id, "Start it")
	var context map[string]string
	w.must(json.Unmarshal(good.Integration.Context, &context))
	for name, change := range map[string]func(c map[string]string){
		"no signature":      func(c map[string]string) { delete(c, "signature") },
		"another signature": func(c map[string]string) { c["signature"] = strings.Repeat("0", 64) },
		"another secret":    func(c map[string]string) { c["secret"] = "rtk_00000000000000000000000000000000" },
	} {
		forged := map[string]string{"secret": context["secret"], "signature": context["signature"]}
		change(forged)
		body, err := json.Marshal(forged)
		w.must(err)
		if status, _, err := r.server.PressAs(r.ours.Client(), mattermostPeople[anna], place, m.id, good, body); err != nil || status != http.StatusUnauthorized {
			t.Errorf("%s: %d %v", name, status, err)
		}
	}
	// The same button in another conversation has another signature.
	if status, _, err := r.server.Press(r.ours.Client(), mattermostPeople[anna], mattermost.Channel, m.id, good); err != nil || status != http.StatusUnauthorized {
		t.Errorf("elsewhere: %d %v", status, err)
	}
	for _, body := range []string{"", "{", `{"user_id":1}`, `{"context":{"secret":"x"}}`, strings.Repeat("x", 100<<10)} {
		resp, err := r.ours.Client().Post(good.Integration.URL, "application/json", strings.NewReader(body))
		w.must(err)
		resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("%.20q: %d", body, resp.StatusCode)
		}
	}
	if n := len(w.runs()); n != 0 {
		t.Errorf("%d runs were started", n)
	}
}
