package chat_test

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
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
	first()
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
	w.chat.away(true)
	w.Agents.Set("web1", apitest.Succeeds)
	w.until("the run to end", func() bool { return w.runs()[0].State == restart.RunCompleted }) // it waits for no chat
	w.chat.away(false)
	w.until("the message to be right again", func() bool { return strings.Contains(w.message(place, m.id).text, "completed, 3 of 3 hosts done") })
	if strings.Contains(w.log.String(), "rtk_") || strings.Contains(w.log.String(), "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw") || strings.Contains(w.log.String(), "xoxb-") {
		t.Errorf("a secret is in the log:\n%s", w.log)
	}
}
