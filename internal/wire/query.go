package wire

import (
	"net/url"
	"strconv"

	"github.com/restartilka/restartilka/internal/restart"
)

// RunQuery narrows a list of runs, the newest first; empty fields do not.
type RunQuery struct {
	Service     string             `query:"service"`
	Environment string             `query:"environment"`
	Host        string             `query:"host" doc:"runs with a task on this host"`
	Actor       string             `query:"actor"`
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

// AuditQuery narrows a search of the audit trail; empty fields do not.
type AuditQuery struct {
	Run     string `query:"run"`
	Actor   string `query:"actor"`
	Action  string `query:"action" doc:"such as run.requested"`
	Service string `query:"service"`
	Newest  bool   `query:"newest" doc:"from the end of the trail backwards"`
	After   int64  `query:"after" minimum:"0" doc:"next of the page before"`
	Limit   int    `query:"limit" minimum:"1" maximum:"200" doc:"50 where it is not given"`
}

// Values gives the query as it stands in a URL.
func (q AuditQuery) Values() url.Values {
	v := values{}
	v.set("run", q.Run)
	v.set("actor", q.Actor)
	v.set("action", q.Action)
	v.set("service", q.Service)
	v.set("after", number(q.After))
	v.set("limit", number(int64(q.Limit)))
	if q.Newest {
		v.set("newest", "true")
	}
	return url.Values(v)
}

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
