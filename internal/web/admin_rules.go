package web

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

type (
	rulesPage struct {
		adminPage
		File, Digest, Refused string
		Loaded                moment
		Lines                 []ruleLine
		Asked                 wire.WhyQuery
		Actions               []option
		AskedAction           string // in words
		Answer                *whyAnswer
		Who                   []whoLine
		WhoAsked              bool
		MoreWho, CSV          string
	}
	ruleLine struct {
		Number int
		Text   string
		Marked bool // it has decided
	}
	// whyAnswer is a decision with what it was made of.
	whyAnswer struct {
		Allowed                               bool
		Verdict, Why, Rule, Ask, Roles, Teams string
		Line                                  int // of the file; 0 = none
		Approval                              string
	}
	whoLine struct {
		Service, Environment, Group string
		Grants                      []grantLine
	}
	grantLine struct {
		Say, Needs, Rule string
		Line             int
	}
)

// inLine finds the line in the name of a rule.
var inLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`, line ([0-9]+)$`) })

func lineOfRule(name string) int {
	m := inLine().FindStringSubmatch(name)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}

func (s *site) adminRules(w http.ResponseWriter, v *visit) error {
	now, err := s.cfg.Control.RulesInForce(v.actor)
	if err != nil {
		return err
	}
	query := v.URL.Query()
	page := rulesPage{
		adminPage: s.adminLayout(v, say(v.lang, "adminrules.title")), File: restart.Escape(now.File), Digest: now.Digest, Refused: said.In(v.lang, now.Refused), Loaded: momentOf(now.Loaded, s.cfg.Now()),
		Asked: wire.WhyQuery{Who: query.Get("who"), Action: query.Get("action"), Service: query.Get("service"), Environment: query.Get("environment"), Group: query.Get("group")},
	}
	for _, a := range authz.Actions() {
		page.Actions = append(page.Actions, option{string(a), said.Action(v.lang, string(a)), string(a) == page.Asked.Action})
	}
	page.AskedAction = said.Action(v.lang, page.Asked.Action)
	status := http.StatusOK
	switch query.Get("ask") {
	case "why":
		err = s.answerWhy(v, &page)
	case "who":
		err = s.answerWho(v, &page)
	}
	if err != nil {
		e, ok := asProblem(err)
		if !ok {
			return err
		}
		status = http.StatusUnprocessableEntity
		page.Form = filled{Name: "ask", Values: query, Wrongs: []wrong{wrongOf(v.lang, e)}}
	}
	page.Lines = ruleLines(now, page.Answer)
	return s.show(w, v, status, pageAdminRules, page)
}

// ruleLines gives the file in force line by line; the one that has decided is marked.
func ruleLines(now control.RulesState, answer *whyAnswer) []ruleLine {
	var out []ruleLine
	for i, text := range strings.Split(strings.TrimSuffix(now.Text, "\n"), "\n") {
		out = append(out, ruleLine{Number: i + 1, Text: scriptText(text), Marked: answer != nil && answer.Line == i+1})
	}
	return out
}

func (s *site) answerWhy(v *visit, page *rulesPage) error {
	d, err := s.cfg.Control.Why(v.Context(), v.actor, page.Asked)
	if err != nil {
		return err
	}
	page.Answer = &whyAnswer{
		Allowed: d.Allowed, Why: strings.Replace(said.In(v.lang, d.Why), " ("+said.In(v.lang, d.Rule)+")", "", 1), Rule: said.In(v.lang, d.Rule), Ask: said.In(v.lang, d.Ask), Line: lineOfRule(d.Rule),
		Roles: strings.Join(roleNames(d.Roles), ", "), Teams: restart.Escape(strings.Join(d.Teams, ", ")), Approval: said.In(v.lang, d.Approval),
	}
	what := strings.TrimSpace(restart.Escape(said.Does(v.lang, d.Action) + " " + d.Service))
	page.Answer.Verdict = say(v.lang, "adminrules.no", restart.Escape(d.Who), what)
	if d.Allowed {
		page.Answer.Verdict = say(v.lang, "adminrules.yes", restart.Escape(d.Who), what)
	}
	return nil
}

func (s *site) answerWho(v *visit, page *rulesPage) error {
	page.WhoAsked = true
	q := wire.WhoCanQuery{Action: page.Asked.Action, Service: page.Asked.Service, Environment: page.Asked.Environment, Group: page.Asked.Group, After: int64(number(v, "after")), Limit: whoPerPage}
	list, next, err := s.cfg.Control.WhoCan(v.Context(), v.actor, q)
	if err != nil {
		return err
	}
	for _, line := range list {
		shown := whoLine{Service: line.Service, Environment: line.Environment, Group: line.Group}
		for _, g := range line.Who {
			shown.Grants = append(shown.Grants, grantLine{said.In(v.lang, g.Say), string(g.Needs), said.In(v.lang, g.Rule), lineOfRule(g.Rule)})
		}
		page.Who = append(page.Who, shown)
	}
	address := q.Values()
	address.Del("limit")
	address.Del("after")
	page.CSV = "/admin/rules/who.csv?" + address.Encode()
	if next != "" {
		address.Set("ask", "who")
		address.Set("after", next)
		page.MoreWho = "/admin/rules?" + address.Encode()
	}
	return nil
}

const (
	// whoPerPage is how many lines of who can one page has.
	whoPerPage = 50
	// mostWhoPages bounds the file of them: 200 lines each.
	mostWhoPages = 500
)

// whoCanFile is the whole answer as a sheet.
func (s *site) whoCanFile(w http.ResponseWriter, v *visit) error {
	if _, err := s.cfg.Control.RulesInForce(v.actor); err != nil {
		return err
	}
	query := v.URL.Query()
	q := wire.WhoCanQuery{Action: query.Get("action"), Service: query.Get("service"), Environment: query.Get("environment"), Group: query.Get("group")}
	var rows [][]string
	for range mostWhoPages {
		list, next, err := s.cfg.Control.WhoCan(v.Context(), v.actor, q)
		if err != nil {
			return err
		}
		rows = append(rows, wire.WhoCanRows(list)...)
		if next == "" {
			break
		}
		if q.After, err = strconv.ParseInt(next, 10, 64); err != nil {
			return fmt.Errorf("go on after %s: %w", next, err)
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="who-can.csv"`)
	return csv.NewWriter(w).WriteAll(append([][]string{wire.WhoCanColumns()}, rows...)) //nolint:wrapcheck // the reader has gone
}
