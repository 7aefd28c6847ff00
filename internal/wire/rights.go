package wire

import (
	"net/url"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// WhoCanQuery asks who can do something.
type WhoCanQuery struct {
	Action      string `query:"action" required:"true" doc:"such as restart or break-glass"`
	Service     string `query:"service" doc:"empty: every service"`
	Environment string `query:"environment" doc:"empty: each"`
	Group       string `query:"group" doc:"empty: each"`
	After       int64  `query:"after" minimum:"0" doc:"next of the page before"`
	Limit       int    `query:"limit" minimum:"1" maximum:"200" doc:"200 where it is not given"`
}

// Values gives the query as it stands in a URL.
func (q WhoCanQuery) Values() url.Values {
	v := values{}
	v.set("action", q.Action)
	v.set("service", q.Service)
	v.set("environment", q.Environment)
	v.set("group", q.Group)
	v.set("after", number(q.After))
	v.set("limit", number(int64(q.Limit)))
	return url.Values(v)
}

// WhoCan tells who can do something to a service in one of its groups.
type WhoCan struct {
	Action      string  `json:"action"`
	Service     string  `json:"service,omitempty"`
	Environment string  `json:"environment,omitempty"`
	Group       string  `json:"group,omitempty"`
	Who         []Grant `json:"who"`
}

// Grant is somebody who can.
type Grant struct {
	Kind  string       `json:"kind" doc:"person, team, role or everybody"`
	Name  string       `json:"name,omitempty" doc:"of the person, the team or the role"`
	Needs restart.Role `json:"needs,omitempty" doc:"the role that is needed as well"`
	Say   string       `json:"say" doc:"in words, such as: team web"`
	Rule  string       `json:"rule" doc:"that says so"`
}

// WhoCanColumns and WhoCanRows give answers as a sheet has them, a line for each
// who can.
func WhoCanColumns() []string {
	return []string{"action", "service", "environment", "group", "kind", "name", "needs_role", "rule"}
}

// WhoCanRows gives the lines without their heading.
func WhoCanRows(list []WhoCan) [][]string {
	var rows [][]string
	for _, line := range list {
		for _, g := range line.Who {
			rows = append(rows, []string{line.Action, line.Service, line.Environment, line.Group, g.Kind, plainCell(g.Name), string(g.Needs), g.Rule})
		}
		if len(line.Who) == 0 {
			rows = append(rows, []string{line.Action, line.Service, line.Environment, line.Group, "nobody", "", "", ""})
		}
	}
	return rows
}

// plainCell keeps a name from being taken for a formula where the file is opened
// as a sheet, and from holding anything that can't be printed.
func plainCell(s string) string {
	s = restart.Escape(s)
	if s != "" && strings.ContainsAny(s[:1], "=+-@") {
		return "'" + s
	}
	return s
}

// WhyQuery asks whether somebody may do something, and why.
type WhyQuery struct {
	Who         string `query:"who" doc:"empty: who asks" maxLength:"256"`
	Action      string `query:"action" required:"true" doc:"such as restart or break-glass"`
	Service     string `query:"service" doc:"empty: the product itself"`
	Environment string `query:"environment" doc:"empty, and no group: anywhere"`
	Group       string `query:"group"`
}

// Values gives the query as it stands in a URL.
func (q WhyQuery) Values() url.Values {
	v := values{}
	v.set("who", q.Who)
	v.set("action", q.Action)
	v.set("service", q.Service)
	v.set("environment", q.Environment)
	v.set("group", q.Group)
	return url.Values(v)
}

// Why is a decision with all that it was made of.
type Why struct {
	Who         string         `json:"who"`
	Roles       []restart.Role `json:"roles"`
	Teams       []string       `json:"teams"`
	Action      string         `json:"action"`
	Service     string         `json:"service,omitempty"`
	Environment string         `json:"environment,omitempty"`
	Group       string         `json:"group,omitempty"`
	Allowed     bool           `json:"allowed"`
	Why         string         `json:"why"`
	Rule        string         `json:"rule,omitempty" doc:"that decided; empty: none allows it"`
	Ask         string         `json:"ask,omitempty" doc:"of a refusal: who could, such as anna, team web or an admin"`
	NotIn       []string       `json:"not_in,omitempty" doc:"where the question names no environment or group, and he may somewhere: the groups of the service in which he may not"`
	Approval    string         `json:"approval,omitempty" doc:"the rule by which somebody else must approve it"`
}
