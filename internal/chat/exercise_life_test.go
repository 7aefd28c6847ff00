package chat_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/restart"
)

// exerciseTwoServers has two servers over one database: each thing is done once,
// and the second goes on where the first has died.
func exerciseTwoServers(t *testing.T, w *world) {
	first := w.usual()
	w.link(anna)
	place := w.chat.direct(anna)
	w.Agents.Set("web1", apitest.Hangs)
	m := w.plan(anna, place)
	w.usual()
	w.chat.press(anna, place, m.id, "Start it")
	w.seesButtons(place, m.id, "Pause", "Abort")
	w.connected(true, false)
	first()
	w.connected(false, true)
	w.Agents.Set("web1", apitest.Succeeds)
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, "completed") })
	w.chat.say(anna, place, "/whoami")
	w.hears(anna, place, "You are anna")
	if n := w.told(anna, place, "You are anna"); n != 1 {
		t.Errorf("%d answers", n)
	}
	if n := len(w.runs()); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// exerciseAway has the chat answer nothing while a run goes on.
func exerciseAway(t *testing.T, w *world) {
	w.usual()
	w.link(anna)
	place := w.chat.direct(anna)
	w.Agents.Set("web1", apitest.Hangs)
	m := w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Start it")
	w.seesButtons(place, m.id, "Pause", "Abort")
	w.connected(true)
	w.chat.away(true)
	w.connected(false)
	w.Agents.Set("web1", apitest.Succeeds)
	w.until("the run to end", func() bool { return w.runs()[0].State == restart.RunCompleted }) // it waits for no chat
	w.chat.away(false)
	w.connected(true)
	w.until("the message to be right again", func() bool { return strings.Contains(w.message(place, m.id).text, "completed, 3 of 3 hosts done") })
	if strings.Contains(w.log.String(), "rtk_") || strings.Contains(w.log.String(), "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw") || strings.Contains(w.log.String(), "xoxb-") {
		t.Errorf("a secret is in the log:\n%s", w.log)
	}
}

// away is a desk that can't be reached.
type away struct{ chat.Desk }

func (away) NewInChat(context.Context, string, string) (bool, error) {
	return false, errors.New("no connection")
}

// exerciseCounted tells how each command ends.
func exerciseCounted(t *testing.T, w *world) {
	stop := w.usual()
	w.link(anna)
	place := w.chat.direct(anna)
	w.chat.say(anna, place, "/whoami")
	w.hears(anna, place, "You are anna")
	w.chat.say(vera, w.chat.direct(vera), "/runs")
	w.hears(vera, w.chat.direct(vera), "I do not know you here yet")
	w.ended(map[chat.Result]int{chat.ResultOK: 1, chat.ResultRefused: 1})
	m := w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Leave it")
	w.ended(map[chat.Result]int{chat.ResultOK: 3, chat.ResultRefused: 1})
	stop()
	w.connected(false)
	w.run(w.chat.settings(), func(c *chat.Config) { c.Desk = away{c.Desk} })
	w.chat.say(anna, place, "/whoami")
	w.ended(map[chat.Result]int{chat.ResultOK: 3, chat.ResultRefused: 1, chat.ResultFailed: 1})
	if n := w.told(anna, place, "You are anna"); n != 1 {
		t.Errorf("%d answers", n)
	}
}
