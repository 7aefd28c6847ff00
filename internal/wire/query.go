package wire

import (
	"net/url"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// RunQuery narrows a list of runs, the newest first; empty fields do not.
type RunQuery struct {
	Service     string             `query:"service"`
	Environment string             `query:"environment"`
	Group       string             `query:"group"`
	Host        string             `query:"host" doc:"runs with a task on this host"`
	Actor       string             `query:"actor"`
	Kind        restart.Kind       `query:"kind" doc:"restart, thread-dump or custom"`
	Since       string             `query:"since" doc:"asked for on that day or later, in UTC; or a moment of RFC 3339"`
	Until       string             `query:"until" doc:"asked for on that day or earlier; or before a moment"`
	Text        string             `query:"q" maxLength:"200" doc:"words, or parts of words, of reason and ticket, in any case"`
	States      []restart.RunState `query:"state" doc:"several, separated by commas"`
	Cursor      string             `query:"cursor" doc:"next of the page before"`
	Limit       int                `query:"limit" minimum:"1" maximum:"200" doc:"50 where it is not given"`
}

// Values gives the query as it stands in a URL.
func (q RunQuery) Values() url.Values {
	v := values{}
	v.set("service", q.Service)
	v.set("environment", q.Environment)
	v.set("host", q.Host)
	v.set("actor", q.Actor)
	v.set("group", q.Group)
	v.set("kind", string(q.Kind))
	v.set("since", q.Since)
	v.set("until", q.Until)
	v.set("q", q.Text)
	v.set("cursor", q.Cursor)
	v.set("limit", number(int64(q.Limit)))
	states := ""
	for i, s := range q.States {
		if i > 0 {
			states += ","
		}
		states += string(s)
	}
	v.set("state", states)
	return url.Values(v)
}

// Bounds gives the moments of Since and Until: a day counts whole. The zero
// time is no bound.
func (q RunQuery) Bounds() (since, until time.Time, err error) { return bounds(q.Since, q.Until) }

func bounds(from, to string) (since, until time.Time, err error) {
	since, _, err = moment("since", from)
	if err != nil {
		return since, until, err
	}
	until, day, err := moment("until", to)
	if day {
		until = until.AddDate(0, 0, 1)
	}
	return since, until, err
}

// moment reads a day or a moment; "" is the zero time.
func moment(name, text string) (at time.Time, day bool, err error) {
	if text == "" {
		return at, false, nil
	}
	if at, err = time.Parse(time.DateOnly, text); err == nil {
		return at, true, nil
	}
	if at, err = time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), false, nil
	}
	return time.Time{}, false, restart.Errorf(restart.CodeInvalid, "%s is no day and no moment: %s", name, restart.Quote(text)).
		WithHint("such as 2026-11-22, or 2026-11-22T20:00:00Z")
}

// AuditQuery narrows a search of the audit trail; empty fields do not.
type AuditQuery struct {
	Run         string     `query:"run"`
	Actor       string     `query:"actor"`
	Action      string     `query:"action" doc:"such as run.requested"`
	Area        audit.Area `query:"area" doc:"what it is about in the large: runs, dumps, scenarios, people, hosts, server or trail"`
	Service     string     `query:"service"`
	Environment string     `query:"environment"`
	Host        string     `query:"host"`
	Since       string     `query:"since" doc:"happened on that day or later, in UTC; or a moment of RFC 3339"`
	Until       string     `query:"until" doc:"happened on that day or earlier; or before a moment"`
	Text        string     `query:"q" maxLength:"200" doc:"words, or parts of words, that the record has, in any case"`
	Seals       bool       `query:"seals" doc:"with the seals, of which there is one a minute"`
	Newest      bool       `query:"newest" doc:"the newest first"`
	Stored      bool       `query:"stored" doc:"in the order in which records were stored, to follow the trail: next is then never the end"`
	After       string     `query:"after" doc:"next of the page before"`
	Limit       int        `query:"limit" minimum:"1" maximum:"200" doc:"50 where it is not given"`
}

// Bounds gives the moments of Since and Until, as RunQuery's does.
func (q AuditQuery) Bounds() (since, until time.Time, err error) { return bounds(q.Since, q.Until) }

// Values gives the query as it stands in a URL.
func (q AuditQuery) Values() url.Values {
	v := values{}
	v.set("run", q.Run)
	v.set("actor", q.Actor)
	v.set("action", q.Action)
	v.set("area", string(q.Area))
	v.set("service", q.Service)
	v.set("environment", q.Environment)
	v.set("host", q.Host)
	v.set("since", q.Since)
	v.set("until", q.Until)
	v.set("q", q.Text)
	v.set("after", q.After)
	v.set("limit", number(int64(q.Limit)))
	for name, set := range map[string]bool{"seals": q.Seals, "newest": q.Newest, "stored": q.Stored} {
		if set {
			v.set(name, "true")
		}
	}
	return url.Values(v)
}

// The forms of an export of the audit trail.
const (
	AuditLines = "jsonl" // a record a line, in its canonical bytes
	AuditTable = "csv"   // for spreadsheets
)

type values url.Values

// set leaves out what says nothing.
func (v values) set(name, value string) {
	if value != "" {
		v[name] = []string{value}
	}
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
