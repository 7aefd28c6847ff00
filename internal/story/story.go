package story

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
)

// Story is a run as its records tell it.
type Story struct {
	Run, Service, Environment string
	Actor, Origin, Reason     string // of who asked for it
	Digest                    string // of the scenario
	Params                    map[string]string
	Asked, Started, Ended     time.Time // zero = no record of it
	Outcome                   string    // the state in which it ended; "" = it has not
	Why                       string    // why it ended so, where that is said
	Hosts                     []Host    // in the order in which they were begun
	Lines                     []Line
	Findings                  []Finding
}

// Host is what became of one host, by its newest attempt.
type Host struct {
	Name     string
	Attempts int
	Outcome  string        // "" = none is on record
	Took     time.Duration // from the intent to the outcome
	Detail   string
}

// Line is one record of a story.
type Line struct {
	audit.Record
	Place   int           // of the record among those the story was told from
	Pause   time.Duration // since the line before, where that is long
	Took    time.Duration // of an outcome: since its intent
	Said    string        // its reason, where it is not that of the run
	Refused bool
}

// Finding is something that an auditor looks for first.
type Finding struct {
	Good bool
	Text
}

// longPause is how long nothing has to be recorded for a story to say so.
const longPause = time.Minute

// Of tells the story of one run from its records, in any order.
func Of(records []audit.Record) Story {
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return records[a].Time.Compare(records[b].Time) })
	t := teller{begun: map[string]audit.Record{}, at: map[string]int{}}
	for _, i := range order {
		t.add(records[i], i)
	}
	t.story.Findings = t.findings()
	return t.story
}

// teller is a story that is being told.
type teller struct {
	story    Story
	begun    map[string]audit.Record // intents, by task
	at       map[string]int          // of hosts in the story
	start    *audit.Record           // the first record that froze the list of hosts
	first    *audit.Record           // the first intent
	early    []string                // hosts whose intent came before the start
	orphans  []string                // hosts with an outcome and no intent
	refused  int
	unplaced int
}

func (t *teller) add(r audit.Record, place int) {
	s := &t.story
	line := Line{Record: r, Place: place, Refused: Refused(r)}
	if n := len(s.Lines); n > 0 {
		if pause := r.Time.Sub(s.Lines[n-1].Time); pause >= longPause {
			line.Pause = pause
		}
	}
	if r.Seq == 0 {
		t.unplaced++
	}
	if line.Refused {
		t.refused++
	} else {
		t.about(r)
	}
	if r.Reason != s.Reason || r.Action == audit.RunRequested {
		line.Said = r.Reason
	}
	switch r.Action {
	case audit.TaskIntent:
		t.intent(r)
	case audit.TaskOutcome:
		line.Took = t.outcome(r)
	}
	s.Lines = append(s.Lines, line)
}

// about takes in what a record says of the run itself.
func (t *teller) about(r audit.Record) {
	s := &t.story
	s.Run, s.Service, s.Environment, s.Digest = either(s.Run, r.Run), either(s.Service, r.Service), either(s.Environment, r.Environment), either(s.Digest, r.ScenarioDigest)
	if len(s.Params) == 0 {
		s.Params = maps.Clone(r.Params)
	}
	switch r.Action {
	case audit.RunRequested:
		if s.Asked.IsZero() {
			s.Asked, s.Actor, s.Origin, s.Reason = r.Time, r.Actor, r.Origin, r.Reason
		}
	case audit.RunStarted:
		if t.start == nil {
			t.start, s.Started = &r, r.Time
			s.Actor, s.Origin, s.Reason = either(s.Actor, r.Actor), either(s.Origin, r.Origin), either(s.Reason, r.Reason)
		}
	case audit.RunEnded:
		s.Ended, s.Outcome, s.Why = r.Time, r.Outcome, r.Detail
	}
}

func (t *teller) intent(r audit.Record) {
	if t.first == nil {
		t.first = &r
	}
	if t.start == nil {
		t.early = append(t.early, r.Host)
	}
	t.begun[r.Task] = r
	h := t.host(r.Host)
	h.Attempts++
	h.Outcome, h.Took, h.Detail = "", 0, ""
}

// outcome gives the time since the intent.
func (t *teller) outcome(r audit.Record) time.Duration {
	begun, ok := t.begun[r.Task]
	h := t.host(r.Host)
	h.Outcome, h.Detail = r.Outcome, r.Detail
	switch {
	case ok:
		h.Took = max(r.Time.Sub(begun.Time), 0)
		return h.Took
	case r.Outcome != "not_started" && r.Outcome != "skipped":
		t.orphans = append(t.orphans, r.Host)
	}
	return 0
}

func (t *teller) host(name string) *Host {
	i, ok := t.at[name]
	if !ok {
		i = len(t.story.Hosts)
		t.at[name] = i
		t.story.Hosts = append(t.story.Hosts, Host{Name: name})
	}
	return &t.story.Hosts[i]
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// findings compares the records with what the product promises.
func (t *teller) findings() (out []Finding) {
	add := func(good bool, english, russian string, values ...any) {
		out = append(out, Finding{good, Text{fmt.Sprintf(english, values...), fmt.Sprintf(russian, values...)}})
	}
	switch {
	case t.first == nil:
		add(true, "No host was touched.", "Ни один хост не затронут.")
	case t.start == nil || len(t.early) > 0:
		add(false, "A host was begun before the list of hosts was on record: %s.", "Работа на хосте началась раньше, чем записан список хостов: %s.", names(t.early))
	default:
		add(true, "The list of hosts was on record before the first of them was touched.", "Список хостов записан раньше, чем затронут первый из них.")
	}
	if len(t.orphans) > 0 {
		add(false, "There is an outcome without an intent: %s.", "Есть итог без записанного намерения: %s.", names(t.orphans))
	}
	var open []string
	for _, h := range t.story.Hosts {
		if h.Outcome == "" {
			open = append(open, h.Name)
		}
	}
	switch {
	case len(open) > 0:
		add(false, "No outcome is on record of: %s.", "Нет записи об итоге: %s.", names(open))
	case len(t.story.Hosts) > 0:
		add(true, "Each host that was begun has its outcome.", "У каждого начатого хоста записан итог.")
	}
	if t.start != nil && t.story.Ended.IsZero() {
		add(false, "The end of the run is not on record yet.", "Конец запуска пока не записан.")
	}
	if t.refused > 0 {
		add(false, "Something was asked for and refused: %d records.", "Кое в чём было отказано, записей: %d.", t.refused)
	}
	if t.unplaced > 0 {
		add(false, "Not in the chain yet: %d records.", "Ещё не в цепочке, записей: %d.", t.unplaced)
	}
	return out
}

// names lists some names, each once.
func names(list []string) string {
	const most = 5
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	text := ""
	for i, name := range list[:min(len(list), most)] {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	if len(list) > most {
		text += fmt.Sprintf(", … (%d)", len(list))
	}
	return text
}
