package chat_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Exercise is what the bot does in every kind of chat.
func Exercise(t *testing.T, fresh func(t *testing.T) rival) {
	for name, test := range map[string]func(t *testing.T, w *world){
		"a restart":                   exerciseRestart,
		"a group":                     exerciseGroup,
		"buttons":                     exerciseButtons,
		"who is who":                  exerciseLinks,
		"steering":                    exerciseSteering,
		"production is for the page":  exercisePage,
		"looking":                     exerciseLooking,
		"two servers":                 exerciseTwoServers,
		"a chat that is away":         exerciseAway,
		"a restart in Russian":        exerciseRussian,
		"looking in Russian":          exerciseLookingInRussian,
		"how commands end":            exerciseCounted,
		"a chat that is busy":         exerciseBusy,
		"buttons to resume":           exerciseResume,
		"codes that others read":      exerciseOverheard,
		"strangers":                   exerciseStrangers,
		"a message that can't follow": exerciseUnfollowed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, fresh(t)))
		})
	}
}

// exerciseRestart is the usual way: plan, button, live message, end.
func exerciseRestart(t *testing.T, w *world) {
	stop := w.usual()
	w.link(anna)
	place := w.chat.direct(anna)
	m := w.plan(anna, place)
	for _, want := range []string{"Restart of shop in production", "plain-restart", reason, "3 of group shop-production, one after another", "web1", "web2", "web3", "Good for two minutes, for anna alone"} {
		if !strings.Contains(m.text, want) {
			t.Errorf("the plan does not say %q:\n%s", want, m.text)
		}
	}
	if len(w.runs()) != 0 {
		t.Error("it has started by itself")
	}
	w.chat.press(anna, place, m.id, "Start it")
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, "completed, 3 of 3 hosts done") })
	end := w.seesButtons(place, m.id)
	if strings.Count(end.text, "succeeded") != 3 || !strings.Contains(end.text, "/runs/") && w.name() == "mattermost" {
		t.Errorf("it ends so:\n%s", end.text)
	}
	stop() // everything is on record now
	runs := w.runs()
	if len(runs) != 1 || runs[0].Actor != "anna" || runs[0].Via != "chat" || runs[0].Reason != reason {
		t.Fatalf("%+v", runs)
	}
	asked := w.records(audit.RunRequested)
	if len(asked) != 1 || asked[0].Actor != "anna" || asked[0].Origin != "chat "+w.name()+":"+w.chat.account(anna) {
		t.Errorf("on record: %+v", asked)
	}
	if n := len(w.chat.shown(place)); n != 1 {
		t.Errorf("%d messages instead of one that changes", n)
	}
}

// exerciseGroup is work where others read it.
func exerciseGroup(t *testing.T, w *world) {
	w.usual()
	w.link(anna)
	w.link(boris)
	place := w.chat.group()
	w.Agents.Set("web1", apitest.Hangs)
	m := w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Start it")
	w.seesButtons(place, m.id, "Pause", "Abort")

	// The buttons are for whoever may, and boris may not.
	w.chat.press(boris, place, m.id, "Abort")
	w.hears(boris, place, "may not")
	w.chat.press(vera, place, m.id, "Abort")
	w.hears(vera, place, "I do not know you here yet")
	if runs := w.runs(); len(runs) != 1 || runs[0].Control != "" {
		t.Fatalf("%+v", runs)
	}
	w.chat.press(anna, place, m.id, "Abort")
	w.hears(anna, place, "Abort asked for")
	w.Agents.Set("web1", apitest.Succeeds)
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, "aborted") })
	refused := w.records(audit.RunAbortRequested)
	if len(refused) != 2 { // boris was refused, anna was not
		t.Errorf("%+v", refused)
	}

	// A group that nobody has allowed gets one sentence, whatever its name is.
	w.stopAll()
	w.run(anywhere(w.chat.settings()))
	w.chat.say(anna, place, "/restart shop production "+reason)
	w.hears(anna, place, "Nobody has allowed me to work in this channel")
	if n := len(w.runs()); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// exerciseButtons presses what may not be pressed.
func exerciseButtons(t *testing.T, w *world) {
	stop := w.usual()
	w.link(anna)
	w.link(boris)
	place := w.chat.group()
	m := w.plan(anna, place)

	w.chat.press(boris, place, m.id, "Start it")
	w.hears(boris, place, "This button is somebody else's")
	w.chat.press(vera, place, m.id, "Start it")
	w.hears(vera, place, "I do not know you here yet")
	w.chat.pressElsewhere(anna, place, m.id, "Start it")
	w.hears(anna, place, "This button belongs to another message")
	if n := len(w.runs()); n != 0 {
		t.Fatalf("%d runs", n)
	}
	refused := w.records(audit.ChatPressRefused)
	if len(refused) != 3 || refused[0].Actor != "boris" || refused[1].Actor != w.name()+":"+w.chat.account(vera) || refused[2].Actor != "anna" || refused[2].Run == "" {
		t.Errorf("on record: %+v", refused)
	}

	// It lives on in another life of the server, and is good for one press.
	stop()
	stop = w.usual()
	w.chat.press(anna, place, m.id, "Start it")
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, "completed") })
	w.chat.press(anna, place, m.id, "Start it")
	w.hears(anna, place, "This button has been pressed already")
	w.chat.press(anna, place, m.id, "Leave it") // it went with the other
	w.hears(anna, place, "This button does nothing any more")
	stop()
	w.usual()
	w.chat.press(anna, place, m.id, "Start it")
	w.until("a second refusal", func() bool { return w.told(anna, place, "This button has been pressed already") == 2 })
	if n := len(w.runs()); n != 1 {
		t.Errorf("%d runs", n)
	}

	m = w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Leave it")
	w.until("the message", func() bool { return strings.Contains(w.message(place, m.id).text, "Not started") })
	w.chat.press(anna, place, m.id, "Start it")
	w.until("a second refusal", func() bool { return w.told(anna, place, "This button does nothing any more") == 2 })

	// What it showed is not true any more.
	m = w.plan(anna, place)
	w.rewriteInventory("hosts: [web1, web2, web3]", "hosts: [web1, web2]")
	w.chat.press(anna, place, m.id, "Start it")
	w.until("the message", func() bool { return strings.Contains(w.message(place, m.id).text, "Not started") })
	w.seesButtons(place, m.id)

	// After two minutes.
	w.stopAll()
	w.run(anywhere(w.chat.settings(place)), func(c *chat.Config) { c.Now = func() time.Time { return time.Now().Add(-2 * time.Minute) } })
	m = w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Start it")
	w.hears(anna, place, "This button is too old")
	if n := len(w.runs()); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// exerciseLinks is how an account becomes somebody's, and whose it is not.
func exerciseLinks(t *testing.T, w *world) {
	w.usual()
	place, group := w.chat.direct(anna), w.chat.group()
	w.Token("anna", restart.RoleDeveloper)
	self := restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleDeveloper}, Via: "cli"}
	code := func() string {
		c, err := w.Control.ChatCode(t.Context(), self)
		w.must(err)
		return c.Code
	}
	w.chat.say(anna, place, "/restart shop production "+reason)
	w.hears(anna, place, "I do not know you here yet")
	w.chat.say(anna, place, "/link 00000-00000")
	w.hears(anna, place, "That code is not good")

	shown := code()
	w.chat.say(anna, group, "/link "+shown)
	w.hears(anna, group, "in a private chat with me, and this code is over now")
	w.chat.say(anna, place, "/link "+shown)
	w.until("the code to be over", func() bool { return w.told(anna, place, "That code is not good") == 2 })

	old, good := code(), code()
	w.chat.say(anna, place, "/link "+old) // a new one ends the old
	w.until("the older code to be over", func() bool { return w.told(anna, place, "That code is not good") == 3 })
	w.chat.say(anna, place, "/link "+strings.ToUpper(good))
	w.hears(anna, place, "You are anna here from now on")
	w.chat.say(boris, w.chat.direct(boris), "/link "+good)
	w.hears(boris, w.chat.direct(boris), "That code is not good")
	w.chat.say(anna, place, "/link "+code())
	w.hears(anna, place, "This account is linked to anna already")
	w.chat.say(anna, place, "/whoami")
	w.hears(anna, place, "You are anna, developer")
	if linked := w.records(audit.ChatLinked); linked[len(linked)-1].Outcome == "" || len(w.records(audit.ChatCodeVoided)) != 1 {
		t.Errorf("on record: %+v", linked)
	}

	// Whoever removes it on the page removes it at once.
	links, err := w.Control.ChatLinks(t.Context(), self, "")
	if err != nil || len(links) != 1 || links[0].Person != w.chat.account(anna) {
		t.Fatalf("%+v %v", links, err)
	}
	stranger := restart.Actor{Name: "boris", Roles: self.Roles}
	if err := w.Control.UnlinkChat(t.Context(), stranger, links[0].ID); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("boris unlinks anna: %v", err)
	}
	m := w.plan(anna, place)
	w.must(w.Control.UnlinkChat(t.Context(), self, links[0].ID))
	w.chat.press(anna, place, m.id, "Start it")
	w.until("nobody to be known", func() bool { return w.told(anna, place, "I do not know you here yet") == 2 })

	// An account of somebody who may only look does not more.
	w.link(anna, restart.RoleViewer)
	w.chat.say(anna, place, "/restart shop production "+reason)
	w.hears(anna, place, "may not")
	w.chat.say(anna, place, "/unlink")
	w.hears(anna, place, "This account is nobody's any more")
	w.chat.say(anna, place, "/runs")
	w.until("nobody to be known", func() bool { return w.told(anna, place, "I do not know you here yet") == 3 })
	if n := len(w.runs()); n != 0 {
		t.Errorf("%d runs", n)
	}
}

// exerciseSteering pauses a run and has it go on.
func exerciseSteering(t *testing.T, w *world) {
	w.usual()
	w.link(anna)
	place := w.chat.direct(anna)
	w.Agents.Set("web1", apitest.Hangs)
	m := w.plan(anna, place)
	w.chat.press(anna, place, m.id, "Start it")
	w.seesButtons(place, m.id, "Pause", "Abort")
	w.until("the first host to be in hand", func() bool { return strings.Contains(w.message(place, m.id).text, "web1 running") })
	w.chat.press(anna, place, m.id, "Pause")
	w.seesButtons(place, m.id, "Abort") // it is asked for already
	w.Agents.Set("web1", apitest.Succeeds)
	paused := w.seesButtons(place, m.id, "Resume", "Abort")
	if !strings.Contains(paused.text, "paused (operator), 1 of 3 hosts done") {
		t.Errorf("it says:\n%s", paused.text)
	}
	w.settled(m.id, 2)
	w.chat.press(anna, place, m.id, "Pause") // as it was before
	w.hears(anna, place, "This button does nothing any more")
	w.chat.press(anna, place, m.id, "Resume")
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, "completed, 3 of 3 hosts done") })
	if n := len(w.records(audit.RunResumed)); n != 1 {
		t.Errorf("%d resumes", n)
	}

	// One more message follows a run that is asked for by its id.
	w.Agents.Set("web2", apitest.Fails)
	second := w.plan(anna, place)
	w.chat.press(anna, place, second.id, "Start it")
	w.until("the failure", func() bool { return strings.Contains(w.message(place, second.id).text, "paused (failure)") })
	run := w.runs()[0]
	w.chat.say(anna, place, "/status "+strings.ToUpper(run.ID))
	var other message
	w.until("a second message", func() bool {
		shown := w.chat.shown(place)
		other = shown[len(shown)-1]
		return other.id != second.id && len(other.buttons) == 2
	})
	if !strings.Contains(other.text, "web2 failed: the script ended with exit status 1") {
		t.Errorf("it says:\n%s", other.text)
	}
	w.chat.press(anna, place, other.id, "Abort")
	w.until("both to end", func() bool {
		return strings.Contains(w.message(place, second.id).text, "aborted") && strings.Contains(w.message(place, other.id).text, "aborted")
	})
	w.seesButtons(place, second.id)
}

// exercisePage is what is not started from a chat, and dumps, which are.
func exercisePage(t *testing.T, w *world) {
	w.dumpScenario()
	w.run(w.chat.settings(w.chat.group()))
	w.link(anna)
	place := w.chat.direct(anna)
	w.chat.say(anna, place, "/restart shop "+reason)
	m := w.sees(place, "In production nothing is started from a chat: the page has the button.")
	if len(m.buttons) != 0 {
		t.Errorf("buttons %v", m.buttons)
	}

	m = w.planOf(anna, place, "/dump shop production "+reason)
	if !strings.Contains(m.text, "Thread dump of shop in production") {
		t.Errorf("it says:\n%s", m.text)
	}
	w.capture()
	w.chat.press(anna, place, m.id, "Start it")
	w.until("the verdict", func() bool { return strings.Contains(w.message(place, m.id).text, "Verdict: ") })
	if viewed := w.records(audit.DumpViewed); len(viewed) == 0 || viewed[0].Actor != "anna" {
		t.Errorf("on record: %+v", viewed)
	}

	// Where others read, a verdict is not told: it may hold what only some may know.
	group := w.chat.group()
	m = w.planOf(anna, group, "/dump shop "+reason)
	w.chat.press(anna, group, m.id, "Start it")
	w.until("the end", func() bool { return strings.Contains(w.message(group, m.id).text, "What they say is on the page") })
	if strings.Contains(w.message(group, m.id).text, "Verdict") {
		t.Error("the verdict is told to all")
	}
}

// exerciseLooking asks for what changes nothing, and for what can't be.
func exerciseLooking(t *testing.T, w *world) {
	w.usual()
	w.link(anna)
	w.link(boris)
	place := w.chat.direct(anna)
	for said, want := range map[string]string{
		"/help":                           "/restart SERVICE [ENVIRONMENT] REASON",
		"/runs":                           "There are no runs",
		"/status":                         "Say which run",
		"/status nothing":                 "26 lower-case letters and digits",
		"/approvals":                      "Nothing waits for an approval",
		"/restart":                        "Say which service, and why",
		"/restart shp " + reason:          "shp",
		"/restart shop .":                 "is too short",
		"/restart shop testing " + reason: "Restart of shop in production", // no environment of it: a word of the reason
		"/approve":                        "Say which run, and a sentence",
		"/link":                           "The code is missing",
	} {
		w.chat.say(anna, place, said)
		w.until(said+" to be answered with "+want, func() bool {
			for _, x := range append(w.chat.heard(anna, place), texts(w.chat.shown(place))...) {
				if strings.Contains(x, want) {
					return true
				}
			}
			return false
		})
	}
	w.chat.say(boris, w.chat.direct(boris), "/restart shop "+reason)
	w.hears(boris, w.chat.direct(boris), "may not")
	if refused := w.records(audit.RunRefused); len(refused) == 0 {
		t.Error("no refusal is on record")
	}

	// Foreign text is nothing but text.
	hostile := "<!channel> @all <b>bold</b> ``` [click](https://evil.example) <https://evil.example|click> /start *x* &amp;"
	m := w.planFor(anna, place, hostile)
	w.chat.press(anna, place, m.id, "Start it")
	w.until("the end", func() bool { return strings.Contains(w.message(place, m.id).text, "completed") })
	w.chat.say(anna, place, "/runs")
	w.hears(anna, place, "[click](https://evil.example)")
	if bad := w.chat.harmless(place); bad != "" {
		t.Errorf("the chat makes of it: %s", bad)
	}

	// Who sends without end is not listened to any more.
	for range 25 {
		w.chat.say(vera, w.chat.direct(vera), "/whoami")
	}
	w.hears(vera, w.chat.direct(vera), "That was too much in one minute")
}

func texts(list []message) (out []string) {
	for _, m := range list {
		out = append(out, m.text)
	}
	return out
}
