package chat_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// exerciseBusy has the chat take no changes of messages for a while: the buttons
// that people see are good all the same.
func exerciseBusy(t *testing.T, w *world) {
	w.usual()
	w.link(anna)
	place := w.chat.group()
	w.Agents.Set("web1", apitest.Hangs)
	m := w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Start it")
	w.seesButtons(place, m.id, "Pause", "Abort")
	w.settled(m.id, 2)

	var refused atomic.Int32
	busy := w.chat.busy(1)
	w.chat.edits(func(rw http.ResponseWriter, r *http.Request, well http.Handler) {
		refused.Add(1)
		busy(rw, r, well)
	})
	w.chat.press(anna, place, m.id, "Pause") // so that other buttons are due
	w.hears(anna, place, "Pause asked for")
	w.until("two changes to be refused", func() bool { return refused.Load() >= 2 })
	if shown := w.message(place, m.id); len(shown.buttons) != 2 {
		t.Fatalf("the buttons are %q", shown.buttons)
	}
	w.chat.press(anna, place, m.id, "Abort")
	w.hears(anna, place, "Abort asked for")
	w.chat.edits(nil)
	w.Agents.Set("web1", apitest.Succeeds)
	w.until("the message to be right again", func() bool { return strings.Contains(w.message(place, m.id).text, "aborted") })
	if n := refused.Load(); n > 10 {
		t.Errorf("a chat that wants a second of peace was asked %d times", n)
	}
}

// exerciseResume has somebody press late that a run is to go on: it does while the
// message is kept up to date, and not by a button that was left behind.
func exerciseResume(t *testing.T, w *world) {
	stop := w.run(anywhere(w.chat.settings()), func(c *chat.Config) { c.Resume = 400 * time.Millisecond })
	w.link(anna)
	place := w.chat.direct(anna)
	w.Agents.Set("web1", apitest.Fails)
	m := w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Start it")
	paused := w.seesButtons(place, m.id, "Resume", "Abort")
	w.until("the buttons to be renewed", func() bool { return w.message(place, m.id).edits >= paused.edits+3 })
	if now := w.message(place, m.id); now.text != paused.text {
		t.Errorf("it says something else:\n%s", now.text)
	}
	stop()

	// The server was away for longer than that; what was pressed meanwhile comes now.
	stop = w.run(anywhere(w.chat.settings()), func(c *chat.Config) {
		c.Now = func() time.Time { return time.Now().Add(-11 * time.Minute) }
	})
	w.until("the buttons of another time", func() bool { return w.message(place, m.id).edits > paused.edits+3 })
	w.settled(m.id, 2)
	w.chat.press(anna, place, m.id, "Resume")
	w.hears(anna, place, "This button is too old")
	if run := w.runs()[0]; run.State != restart.RunPaused || len(w.records(audit.RunResumed)) != 0 {
		t.Fatalf("%+v", run)
	}
	w.chat.press(anna, place, m.id, "Abort") // stops what is there, however late
	w.hears(anna, place, "Abort asked for")
	stop()
}

// exerciseOverheard sends codes where others read them.
func exerciseOverheard(t *testing.T, w *world) {
	stop := w.run(anywhere(w.chat.settings())) // no channel is allowed
	w.Token("anna", restart.RoleDeveloper)
	code := func() string {
		c, err := w.Control.ChatCode(t.Context(), restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleDeveloper}, Via: "cli"})
		w.must(err)
		return c.Code
	}
	places := []string{w.chat.group()}
	if feigned := w.chat.feigned(); feigned != "" {
		places = append(places, feigned)
	}
	for i, place := range places {
		shown := code()
		w.chat.say(anna, place, "/link "+shown)
		w.hears(anna, place, "in a private chat with me, and this code is over now")
		w.chat.say(vera, w.chat.direct(vera), "/link "+shown)
		w.until("the code to be over", func() bool { return w.told(vera, w.chat.direct(vera), "That code is not good") == i+1 })
	}

	// Who is not listened to any more has shown it all the same.
	for range 21 {
		w.chat.say(anna, w.chat.group(), "/help")
	}
	w.hears(anna, w.chat.group(), "That was too much in one minute")
	before := len(w.records(audit.ChatCodeVoided))
	w.chat.say(anna, w.chat.group(), "/link "+code())
	w.until("the code to be over", func() bool { return len(w.records(audit.ChatCodeVoided)) == before+1 })
	stop()
}

// exerciseStrangers has somebody unknown guess codes: nobody waits for him.
func exerciseStrangers(t *testing.T, w *world) {
	stop := w.usual()
	w.link(anna)
	strange := w.chat.direct(vera)
	looked := 0
	for restart.CodeOf(guess(w, vera)) == restart.CodeNotFound {
		looked++
	}
	for range 8 { // as many as are done at once
		w.chat.say(vera, strange, "/link 00000-00000")
	}
	w.chat.say(anna, w.chat.direct(anna), "/whoami")
	w.hears(anna, w.chat.direct(anna), "You are anna")
	w.hears(vera, strange, "That were too many wrong codes")
	w.ended(map[chat.Result]int{chat.ResultOK: 1, chat.ResultRefused: 8})
	stop()
	looked += w.told(vera, strange, "That code is not good")
	if n := len(w.records(audit.ChatLinked)); looked < 5 || n != looked+1 { // and anna's
		t.Errorf("%d records of %d codes", n, looked)
	}
}

// guess has somebody try a code, and gives what became of it.
func guess(w *world, person int) error {
	_, err := w.Control.LinkChat(w.t.Context(), w.person(person), "00000-00000")
	return err
}

// forgetful is a desk that does not take messages that are to follow a run.
type forgetful struct{ chat.Desk }

func (forgetful) FollowInChat(context.Context, store.ChatMessage) error {
	return errors.New("the database is away")
}

// exerciseUnfollowed starts a run that the message then can't follow: it has
// started, and nobody is to ask for it again.
func exerciseUnfollowed(t *testing.T, w *world) {
	w.run(anywhere(w.chat.settings()), func(c *chat.Config) { c.Desk = forgetful{c.Desk} })
	w.link(anna)
	place := w.chat.direct(anna)
	m := w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Start it")
	w.until("the message to say it", func() bool { return strings.Contains(w.message(place, m.id).text, "Started: run "+w.runID()) })
	w.seesButtons(place, m.id)
	w.hears(anna, place, "Started: run "+w.runID()+", by anna.")
	w.ended(map[chat.Result]int{chat.ResultOK: 2})
	if n := len(w.runs()); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// runID gives the id of the one run; "" = none has started.
func (w *world) runID() string {
	for _, r := range w.runs() {
		return r.ID
	}
	return "none"
}
