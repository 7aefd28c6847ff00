package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// card is a message as people read it, before a kind of receiver writes it in
// its own marks. Every text of it may hold what people outside have written:
// each kind escapes it. It has no control characters.
type card struct {
	mark, title, state string
	facts              []fact
	lists              []list
	url, link          string // link is the text of the link
	call               string // what is said anew where a person is needed, beside an edited message; "" = nothing
	footer             string // of a mail
}

type fact struct{ key, name, text string }

type list struct {
	name   string
	lines  []string
	latest bool // the last lines matter most, not the first
}

// Bounds of what a card holds, so that it is within what every kind takes.
const (
	mostFact  = 700 // characters
	mostHosts = 5   // that are named
	mostLines = 20  // of a list
)

// teller makes cards for a receiver.
type teller struct {
	language said.Language
	zone     *time.Location
}

// card tells of n; earlier is what the receiver was told of the same run before.
func (w teller) card(n wire.Notification, earlier []wire.Notification) card {
	c := card{mark: marks[n.Event], title: w.title(n), state: w.state(n), url: n.URL, link: say(w.language, linkOf(n)), footer: w.footer(n)}
	if n.Week != nil {
		c.lists = w.week(*n.Week)
		return c.clean()
	}
	add := func(key, text string) {
		if text != "" {
			c.facts = append(c.facts, fact{key, say(w.language, "fact."+key), text})
		}
	}
	if n.Event != wire.EventScenarioExpires { // its state says the same
		add("reason", n.Reason)
	}
	if n.Event != wire.EventTest {
		add("by", n.Actor)
	}
	add("ticket", n.Ticket)
	add("owners", strings.Join(n.Owners, ", "))
	add("hosts", w.hosts(n.Hosts, n.HostCount))
	add("ended", w.tasks(n))
	add("trouble", w.hosts(n.Trouble, len(n.Trouble)))
	add("waived", n.Waived)
	add("why", n.Explanation)
	if n.Event == wire.EventApprovalRequested {
		add("who", n.Who)
		if n.Until != nil {
			add("until", w.moment(*n.Until))
		}
	}
	add("note", n.Note)
	if len(earlier) > 0 {
		l := list{name: say(w.language, "list.happened"), latest: true}
		for _, e := range append(earlier[max(0, len(earlier)-mostLines+1):], n) {
			l.lines = append(l.lines, w.clock(e.At, n.At)+" "+w.state(e))
		}
		c.lists = append(c.lists, l)
	}
	if needsPerson(n) {
		c.call = c.title + ": " + c.state
	}
	return c.clean()
}

// needsPerson tells whether somebody has to do something now.
func needsPerson(n wire.Notification) bool {
	return n.Event == wire.EventRunPaused || n.Event == wire.EventApprovalRequested || n.Event == wire.EventRunFailed || n.Event == wire.EventScheduleMissed
}

func linkOf(n wire.Notification) string {
	switch {
	case n.Schedule != "":
		return "link.planned"
	case n.Run != "":
		return "link.run"
	case n.Event == wire.EventScenarioExpires:
		return "link.scenario"
	case n.Event == wire.EventDigest:
		return "link.digest"
	}
	return "link.server"
}

// title names what the message is about: the same for each message of a run.
func (w teller) title(n wire.Notification) string {
	switch n.Event {
	case wire.EventTest:
		return say(w.language, "title.test")
	case wire.EventScenarioExpires:
		return say(w.language, "title.scenario", n.Scenario)
	case wire.EventDigest:
		if n.Week == nil {
			return n.Event
		}
		title := say(w.language, "title.digest", w.day(n.Week.From), w.day(n.Week.Until.Add(-time.Second)))
		if n.Week.For != "" {
			title = say(w.language, "title.digest.for", title, n.Week.For)
		}
		return title
	}
	var title string
	switch n.Kind {
	case restart.KindThreadDump:
		title = say(w.language, "title.thread-dump", n.Service)
	case restart.KindCustom:
		title = say(w.language, "title.custom", n.Scenario, n.Service)
	default:
		title = say(w.language, "title.restart", n.Service)
	}
	if n.Environment != "" {
		title = say(w.language, "title.in", title, n.Environment)
	}
	if n.Work != restart.WorkWhole {
		title = say(w.language, "title."+string(n.Work), title)
	}
	return title
}

// state tells how it stands.
func (w teller) state(n wire.Notification) string {
	l := w.language
	switch n.Event {
	case wire.EventRunPaused:
		return say(l, "state.run-paused", causeOf(l, n.Cause))
	case wire.EventRunResumed:
		if n.By != "" {
			return say(l, "state.run-resumed.by", n.By)
		}
	case wire.EventRunFailed:
		if n.State == restart.RunAborted {
			return say(l, "state.run-failed.aborted")
		}
	case wire.EventApprovalDecided:
		if n.Verdict == restart.ApprovalExpired {
			return say(l, "state.expired")
		}
		return say(l, "state."+string(n.Verdict), n.By)
	case wire.EventBreakGlass, wire.EventTest:
		return say(l, "state."+n.Event, n.Actor)
	case wire.EventScenarioExpires:
		if n.ExpiresAt != nil {
			return say(l, "state.scenario-expires", n.ExpiresAt.UTC().Add(-time.Second).Format(time.DateOnly))
		}
		return n.Event
	case wire.EventRunScheduled:
		if n.PlannedFor != nil {
			return say(l, "state.run-scheduled", w.moment(*n.PlannedFor))
		}
		return n.Event
	case wire.EventScheduleCancelled:
		return say(l, "state.schedule-cancelled", n.By)
	case wire.EventRecurrence:
		return say(l, "state.recurrence", n.Restarts, n.Days)
	case wire.EventDigest:
		if n.Week != nil {
			return say(l, "state.digest", n.Week.Runs, n.Week.Failed)
		}
		return n.Event
	}
	if _, known := texts["state."+n.Event]; known {
		return say(l, "state."+n.Event)
	}
	return n.Event
}

func (w teller) footer(n wire.Notification) string {
	if n.Service == "" {
		return say(w.language, "footer.why.settings")
	}
	return say(w.language, "footer.why", n.Service)
}

// hosts names a few.
func (w teller) hosts(names []string, count int) string {
	if count == 0 {
		return ""
	}
	shown := names[:min(len(names), mostHosts)]
	text := strings.Join(shown, ", ")
	if rest := count - len(shown); rest > 0 {
		text += " " + say(w.language, "list.more", rest)
	}
	if count > 1 {
		text = fmt.Sprintf("%d: %s", count, text)
	}
	return text
}

// tasks counts hosts by how they stand, once some have begun.
func (w teller) tasks(n wire.Notification) string {
	var parts []string
	for _, state := range restart.TaskStates() {
		if k := n.Tasks[state]; k > 0 && (state != restart.TaskPlanned || len(n.Tasks) > 1) {
			parts = append(parts, fmt.Sprintf("%s %d", say(w.language, "task."+string(state)), k))
		}
	}
	return strings.Join(parts, ", ")
}

// week lists what a digest says.
func (w teller) week(k wire.Week) []list {
	l := w.language
	if k.Runs == 0 {
		return []list{{name: say(l, "list.services"), lines: []string{say(l, "list.nothing")}}}
	}
	var out []list
	add := func(key string, lines []string) {
		if len(lines) > 0 {
			out = append(out, list{name: say(l, key), lines: lines})
		}
	}
	var services, again, reasons []string
	for _, s := range k.Services {
		name := s.Service
		if s.Environment != "" {
			name += ", " + s.Environment
		}
		services = append(services, say(l, "list.services.one", name, s.Runs, s.Failed, s.Again))
	}
	for _, r := range k.Again {
		again = append(again, say(l, "list.again.one", r.Service, w.day(r.At), r.Actor, r.Reason))
	}
	for _, r := range k.Reasons {
		reasons = append(reasons, say(l, "list.reasons.one", r.Service, r.Runs, r.Reason))
	}
	add("list.services", services)
	add("list.again", again)
	add("list.reasons", reasons)
	return out
}

func (w teller) moment(t time.Time) string { return t.In(w.zone).Format("2006-01-02 15:04 MST") }

func (w teller) day(t time.Time) string { return t.In(w.zone).Format(time.DateOnly) }

// clock is a time of day, with the day where that is another than now's.
func (w teller) clock(t, now time.Time) string {
	if w.day(t) != w.day(now) {
		return t.In(w.zone).Format("2006-01-02 15:04")
	}
	return t.In(w.zone).Format("15:04:05")
}

// clean takes control characters out and bounds each text.
func (c card) clean() card {
	tidy := func(s *string) { *s = short(restart.Escape(*s), mostFact) }
	for _, s := range []*string{&c.title, &c.state, &c.call, &c.footer, &c.link} {
		tidy(s)
	}
	c.url = restart.Escape(c.url)
	for i := range c.facts {
		tidy(&c.facts[i].text)
	}
	for i := range c.lists {
		c.lists[i].lines = c.lists[i].lines[:min(len(c.lists[i].lines), mostLines)]
		for j := range c.lists[i].lines {
			c.lists[i].lines[j] = short(restart.Escape(c.lists[i].lines[j]), 200)
		}
	}
	return c
}

// short cuts a text after so many characters.
func short(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// read decodes a message, and what was told before; of the latter what can't be
// read is left out.
func read(body json.RawMessage, earlier []json.RawMessage) (n wire.Notification, before []wire.Notification, err error) {
	if err := json.Unmarshal(body, &n); err != nil {
		return n, nil, fmt.Errorf("read a message: %w", err)
	}
	for _, b := range earlier {
		var e wire.Notification
		if json.Unmarshal(b, &e) == nil {
			before = append(before, e)
		}
	}
	return n, before, nil
}

// brief is what is new in an answer within a thread: what its beginning says is
// left out.
func (c card) brief() card {
	c.lists, c.call = nil, ""
	c.facts = slices.DeleteFunc(slices.Clone(c.facts), func(f fact) bool {
		return !slices.Contains([]string{"ended", "trouble", "waived", "why", "who", "until", "note"}, f.key)
	})
	return c
}

// fit shortens a card to so many characters, as UTF-16 counts them: lists lose
// their oldest lines, or their least ones, and then every text its end.
func (c card) fit(most int) card {
	c.facts, c.lists = slices.Clone(c.facts), slices.Clone(c.lists)
	for c.size() > most {
		longest := -1
		for i, l := range c.lists {
			if len(l.lines) > 1 && (longest < 0 || len(l.lines) > len(c.lists[longest].lines)) {
				longest = i
			}
		}
		if longest < 0 {
			break
		}
		l := &c.lists[longest]
		if l.latest {
			l.lines = l.lines[1:]
		} else {
			l.lines = l.lines[:len(l.lines)-1]
		}
	}
	for each := mostFact / 2; c.size() > most && each > 20; each /= 2 {
		c.title, c.state, c.call = short(c.title, each), short(c.state, each), short(c.call, each)
		for i := range c.facts {
			c.facts[i].text = short(c.facts[i].text, each)
		}
	}
	return c
}

// size is how many characters a card has at most, with the signs that a kind
// writes between its parts.
func (c card) size() int {
	n := 20
	add := func(texts ...string) {
		for _, s := range texts {
			n += len(utf16.Encode([]rune(s))) + 6
		}
	}
	add(c.mark, c.title, c.state, c.link, c.url)
	for _, f := range c.facts {
		add(f.name, f.text)
	}
	for _, l := range c.lists {
		add(l.name)
		add(l.lines...)
	}
	return n
}

// calm keeps signs from calling people, or from being commands to press: what
// is behind such a sign at the beginning of a word is parted from it by a space
// of no width. A name begins behind "_", too, which Mattermost takes off words.
// Addresses of mail and pages stay as they are.
func calm(s, signs string) string {
	wordly := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	text := []rune(s)
	var b strings.Builder
	for i, r := range text {
		b.WriteRune(r)
		first := i == 0 || !wordly(text[i-1]) && (r == '@' || text[i-1] != '/' && text[i-1] != '_')
		if strings.ContainsRune(signs, r) && first && i+1 < len(text) && (text[i+1] == '_' || wordly(text[i+1])) {
			b.WriteRune('\u200b')
		}
	}
	return b.String()
}
