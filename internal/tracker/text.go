package tracker

import (
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// mostHosts bounds the hosts that a text names.
const mostHosts = 20

// words of both languages.
var words = map[string]struct{ en, ru string }{
	"restart":     {"Restart of %s", "Перезапуск %s"},
	"thread-dump": {"Thread dump of %s", "Дамп потоков %s"},
	"custom":      {"Work on %s", "Работы на %s"},
	"undrain":     {"Return of %s to the balancer", "Возврат %s в балансировку"},
	"in":          {" in %s", " в %s"},
	"completed":   {"done", "готово"},
	"failed":      {"failed", "не удалось"},
	"aborted":     {"aborted", "прервано"},
	"hosts":       {"Hosts: %d", "Хосты: %d"},
	"trouble":     {"In trouble: %s", "С ними что-то не так: %s"},
	"more":        {" and %d more", " и ещё %d"},
	"why":         {"Why it ended so: %s", "Почему так: %s"},
	"asked":       {"Asked for by %s", "Кто просил: %s"},
	"reason":      {"Reason: %s", "Причина: %s"},
	"recurs":      {"%s was restarted %d times in %s for the same reason", "%s: %d перезапусков за %s по одной причине"},
	"times":       {"%s was restarted %d times in %s. The reason that was given last: %s", "%s: %d перезапусков за %s. Причина, названная последней: %s"},
	"last":        {"The last of them: %s, by %s", "Последний из них: %s, просил %s"},
	"once":        {"Another restart for this reason opens no second ticket within 30 days.", "Ещё один перезапуск по этой причине второго тикета в течение 30 дней не откроет."},
}

// teller writes in one language and one markup.
type teller struct {
	language string
	quote    func(string) string
}

func (t teller) say(word string, args ...any) string {
	w := words[word].en
	if t.language == russian {
		w = words[word].ru
	}
	return fmt.Sprintf(w, args...)
}

// plain bounds a name or sentence, and makes it plain in the markup.
func (t teller) plain(s string) string { return t.quote(clean(s, restart.MaxReason)) }

func (t teller) days(n int) string {
	if t.language == russian {
		forms := []string{"день", "дня", "дней"}
		i := 2
		switch {
		case n%10 == 1 && n%100 != 11:
			i = 0
		case n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14):
			i = 1
		}
		return fmt.Sprintf("%d %s", n, forms[i])
	}
	if n == 1 {
		return "a day"
	}
	return fmt.Sprintf("%d days", n)
}

func (t teller) place(n wire.Notification) string {
	if n.Environment == "" {
		return n.Service
	}
	return n.Service + t.say("in", n.Environment)
}

// commentText tells how a run ended. Names of services, environments and states
// are of a safe alphabet; all else is quoted.
func commentText(language string, quote func(string) string, n wire.Notification, mark string) string {
	t := teller{language, quote}
	verb := string(n.Kind)
	if n.Work == restart.WorkUndrain {
		verb = "undrain"
	}
	if _, known := words[verb]; !known {
		verb = "custom"
	}
	head := t.say(verb, n.Service)
	if n.Environment != "" {
		head += t.say("in", n.Environment)
	}
	lines := []string{head + ": " + t.say(string(n.State))}
	hosts := t.say("hosts", n.HostCount)
	var counts []string
	for _, state := range restart.TaskStates() {
		if n.Tasks[state] > 0 {
			counts = append(counts, fmt.Sprintf("%s %d", state, n.Tasks[state]))
		}
	}
	if len(counts) > 0 {
		hosts += " (" + strings.Join(counts, ", ") + ")"
	}
	lines = append(lines, hosts)
	if len(n.Trouble) > 0 {
		lines = append(lines, t.say("trouble", t.hosts(n.Trouble)))
	}
	if n.Explanation != "" {
		lines = append(lines, t.say("why", t.plain(n.Explanation)))
	}
	asked := t.say("asked", t.plain(n.Actor))
	if n.StartedAt != nil && n.FinishedAt != nil {
		asked += fmt.Sprintf(", %s – %s UTC", n.StartedAt.UTC().Format("2006-01-02 15:04:05"), n.FinishedAt.UTC().Format(time.TimeOnly))
	}
	lines = append(lines, asked, t.say("reason", t.plain(n.Reason)), n.URL, mark)
	return strings.Join(lines, "\n\n")
}

func (t teller) hosts(names []string) string {
	out := t.plain(strings.Join(names[:min(len(names), mostHosts)], ", "))
	if more := len(names) - mostHosts; more > 0 {
		out += t.say("more", more)
	}
	return out
}

// recurrenceText is the ticket about restarts for one reason.
func recurrenceText(language string, quote func(string) string, n wire.Notification, mark string) (title, text string) {
	t := teller{language, quote}
	title = t.say("recurs", t.place(n), n.Restarts, t.days(n.Days))
	lines := []string{
		t.say("times", t.place(n), n.Restarts, t.days(n.Days), t.plain(n.Reason)), t.say("last", n.URL, t.plain(n.Actor)), t.say("once"), mark,
	}
	return title, strings.Join(lines, "\n\n")
}

// codeSpan makes a text plain in Markdown: code, in which nobody is called and
// nothing is a command.
func codeSpan(text string) string {
	longest, run := 0, 0
	for _, r := range text {
		if run++; r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	fence := strings.Repeat("`", longest+1)
	if longest > 0 || strings.HasPrefix(text, " ") {
		return fence + " " + text + " " + fence
	}
	return fence + text + fence
}
