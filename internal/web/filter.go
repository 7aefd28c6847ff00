package web

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// filterView is the form that narrows a list of runs, with what was typed.
type filterView struct {
	Text, Service, Group, Host, Person, Since, Until string
	Zone                                             string // IANA name: whose days Since and Until are; "" = UTC's
	Environments, States, Kinds                      []option
	Sent                                             filled // of which only what is wrong
	Any, More                                        bool   // something is narrowed, by more than words
	CSV, JSON                                        string // addresses of the same as files
}

// filterOf reads the filter of an address. Of what is wrong each field says it;
// the query then is not to be asked.
func filterOf(l language, q url.Values) (wire.RunQuery, filterView) {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	query := wire.RunQuery{
		Service: get("service"), Environment: get("env"), Group: get("group"), Host: strings.ToLower(get("host")), Actor: get("person"),
		Kind: restart.Kind(get("kind")), Since: get("since"), Until: get("until"), Text: get("q"), Cursor: get("before"), Limit: runsPerPage,
	}
	view := filterView{
		Text: query.Text, Service: query.Service, Group: query.Group, Host: get("host"), Person: query.Actor, Since: query.Since, Until: query.Until, Sent: filled{Name: "filter"},
	}
	refuse := func(field, what string) {
		view.Sent.Wrongs = append(view.Sent.Wrongs, wrong{Field: field, Message: say(l, "wrongfilter."+what)})
	}
	if len(query.Text) > 200 || len(strings.Fields(query.Text)) > 6 {
		refuse("q", "text")
	}
	for _, name := range strings.FieldsFunc(strings.Join(q["state"], ","), func(r rune) bool { return r == ',' }) {
		if !slices.Contains(restart.RunStates(), restart.RunState(name)) {
			refuse("state", "state")
			continue
		}
		query.States = append(query.States, restart.RunState(name))
	}
	if query.Kind != "" && !slices.Contains(restart.Kinds(), query.Kind) {
		refuse("kind", "kind")
	}
	if query.Since+query.Until != "" {
		zone, err := zoneOf(get("zone"))
		if err == nil {
			view.Zone = get("zone")
		} else { // the reader has not typed it, and can't mend it
			zone = time.UTC
		}
		query.Since, query.Until = beginOf(query.Since, zone, 0), beginOf(query.Until, zone, 1)
	}
	since, _, err := wire.RunQuery{Since: query.Since}.Bounds()
	if err != nil {
		refuse("since", "day")
	}
	_, until, err := wire.RunQuery{Until: query.Until}.Bounds()
	switch {
	case err != nil:
		refuse("until", "day")
	case !until.IsZero() && until.Before(since):
		refuse("until", "order")
	}
	view.States = stateChoices(l, query.States)
	view.Kinds = kindChoices(l, query.Kind)
	values := view.address(query)
	view.Any, view.More = len(values) > 0, len(values) > 1 || len(values) == 1 && query.Text == ""
	view.CSV, view.JSON = withQuery("/runs.csv", values), withQuery("/runs.json", values)
	return query, view
}

// zoneOf reads the time zone of a browser; "" is UTC.
func zoneOf(name string) (*time.Location, error) {
	if len(name) > 64 || name == "Local" { // which is the server's
		return nil, restart.Errorf(restart.CodeInvalid, "there is no time zone %s", restart.Quote(name))
	}
	return time.LoadLocation(name)
}

// beginOf gives the moment at which a day of a zone begins, or of UTC the day
// itself; days are added to it. What is no day stays as it is.
func beginOf(text string, zone *time.Location, days int) string {
	day, err := time.ParseInLocation(time.DateOnly, text, zone)
	if err != nil || zone == time.UTC {
		return text
	}
	return day.AddDate(0, 0, days).UTC().Format(time.RFC3339)
}

// address gives the query as it stands in the address of a page: its days as
// they were chosen.
func (f filterView) address(q wire.RunQuery) url.Values {
	q.Since, q.Until = f.Since, f.Until
	out := queryValues(q)
	if f.Zone != "" {
		out.Set("zone", f.Zone)
	}
	return out
}

// Day tells whether a field of a day has one, and not a moment from an address
// that was made by hand.
func (f filterView) Day(text string) bool {
	_, err := time.Parse(time.DateOnly, text)
	return text == "" || err == nil
}

// openStates is what a person means by "not over".
var openStates = []restart.RunState{restart.RunAwaitingApproval, restart.RunQueued, restart.RunRunning, restart.RunPaused}

// stateChoices has each state, and before them those that are asked for together.
func stateChoices(l language, chosen []restart.RunState) []option {
	joined := func(states []restart.RunState) string {
		var names []string
		for _, s := range states {
			names = append(names, string(s))
		}
		return strings.Join(names, ",")
	}
	now := joined(chosen)
	out := []option{{"", say(l, "filter.any"), now == ""}, {joined(openStates), say(l, "filter.open"), now == joined(openStates)}}
	for _, s := range restart.RunStates() {
		if s != restart.RunDraft {
			out = append(out, option{string(s), say(l, "runstate."+string(s)), now == string(s)})
		}
	}
	if !slices.ContainsFunc(out, func(c option) bool { return c.Chosen }) { // as an address has them that was made by hand
		out = append(out, option{now, now, true})
	}
	return out
}

func kindChoices(l language, chosen restart.Kind) []option {
	out := []option{{"", say(l, "filter.any"), chosen == ""}}
	for _, k := range restart.Kinds() {
		out = append(out, option{string(k), say(l, "kind."+string(k)), chosen == k})
	}
	return out
}

// environmentChoices has those of the inventory, and the one that was asked for.
func environmentChoices(l language, all []string, chosen string) []option {
	out := []option{{"", say(l, "filter.any"), chosen == ""}}
	for _, e := range all {
		out = append(out, option{e, e, e == chosen})
	}
	if chosen != "" && !slices.Contains(all, chosen) {
		out = append(out, option{chosen, chosen, true})
	}
	return out
}

// queryValues gives a query as it stands in the address of a page: the same for
// ever, for whoever may see it.
func queryValues(q wire.RunQuery) url.Values {
	out := url.Values{}
	states := ""
	for i, s := range q.States {
		if i > 0 {
			states += ","
		}
		states += string(s)
	}
	for name, value := range map[string]string{
		"service": q.Service, "env": q.Environment, "group": q.Group, "host": q.Host, "person": q.Actor, "kind": string(q.Kind),
		"since": q.Since, "until": q.Until, "q": q.Text, "state": states,
	} {
		if value != "" {
			out.Set(name, value)
		}
	}
	return out
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// option is one line of a list to choose from.
type option struct {
	Value, Text string
	Chosen      bool
}
