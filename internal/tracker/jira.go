package tracker

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const jiraKind = "jira"

// jiraTracker is Jira, API version 2, which a company's own and the one in the
// cloud both have.
var jiraTracker = kind{
	web: func(url string) string { return url }, page: "/browse/%s-%d", shape: dashed,
	sign: func(c Config) func(h http.Header, token string) {
		return func(h http.Header, token string) {
			h.Set("X-Atlassian-Token", "no-check")
			if c.User == "" {
				h.Set("Authorization", "Bearer "+token)
				return
			}
			h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.User+":"+token)))
		}
	},
	open: func(c *caller, _ Config) api { return jira{c} },
	quote: func(text string) string {
		return "{noformat}" + strings.ReplaceAll(text, "{noformat}", "{ noformat}") + "{noformat}"
	},
	late: 2 * time.Minute, // it is there after some seconds as a rule
}

type jira struct{ *caller }

func (a jira) path(k key) string { return "/rest/api/2/issue/" + dashed.String(k) }

func (a jira) issue(ctx context.Context, k key) (issue, error) {
	var x struct {
		Fields *struct {
			Summary string `json:"summary"`
			Status  struct {
				Name     string `json:"name"`
				Category struct {
					Key string `json:"key"`
				} `json:"statusCategory"`
			} `json:"status"`
		} `json:"fields"`
	}
	if err := a.call(ctx, http.MethodGet, a.path(k), url.Values{"fields": {"summary,status"}}, nil, &x); err != nil {
		return issue{}, err
	}
	if x.Fields == nil {
		return issue{}, errors.New("its answer is not about a ticket")
	}
	return issue{title: x.Fields.Summary, status: x.Fields.Status.Name, closed: x.Fields.Status.Category.Key == "done"}, nil
}

// remark is a comment, as the API has it.
type remark struct {
	Body    string `json:"body"`
	Created string `json:"created"`
}

// before tells whether a comment was certainly written before then.
func (r remark) before(then time.Time) bool {
	at, err := time.Parse("2006-01-02T15:04:05.000-0700", r.Created)
	return err == nil && at.Before(then)
}

// commented goes through the comments that are younger than the run, from the
// newest. A server that does not know how to order them gives the oldest first:
// of that one the last pages are looked at.
func (a jira) commented(ctx context.Context, k key, mark string, since time.Time) (bool, error) {
	at, passed := 0, false // passed: there are comments that are not looked at
	for n := range mostPages {
		var page struct {
			Total    int      `json:"total"`
			Comments []remark `json:"comments"`
		}
		q := url.Values{"startAt": {strconv.Itoa(at)}, "maxResults": {"100"}, "orderBy": {"-created"}}
		if err := a.call(ctx, http.MethodGet, a.path(k)+"/comment", q, nil, &page); err != nil {
			return false, err
		}
		for _, c := range page.Comments {
			if strings.Contains(c.Body, mark) {
				return true, nil
			}
		}
		if len(page.Comments) == 0 {
			return false, nil
		}
		first, last := page.Comments[0], page.Comments[len(page.Comments)-1]
		oldestFirst, newestFirst := first.Created < last.Created, first.Created > last.Created // of one zone: that of the token's owner
		switch {
		case oldestFirst && passed && !first.before(since):
			return false, errTooMany
		case newestFirst && last.before(since):
			return false, nil
		}
		passed = false
		at += len(page.Comments)
		if at >= page.Total {
			return false, nil
		}
		if newest := page.Total - (mostPages-1)*len(page.Comments); n == 0 && oldestFirst && newest > at {
			at, passed = newest, true
		}
	}
	return false, errTooMany
}

func (a jira) comment(ctx context.Context, k key, text string) error {
	return a.call(ctx, http.MethodPost, a.path(k)+"/comment", nil, map[string]string{"body": text}, nil)
}

// opened searches by our label. The cloud has done away with the older address.
// There is no way to find a ticket by what it has that does not lead over the
// index of the search, which has a new one late: see Tracker.create.
func (a jira) opened(ctx context.Context, d draft, _ string, _ time.Time) (string, error) {
	var found struct {
		Issues []struct {
			Key string `json:"key"`
		} `json:"issues"`
	}
	q := url.Values{"jql": {fmt.Sprintf("project = %q AND labels = %q", d.project, d.tag)}, "fields": {"summary"}, "maxResults": {"1"}}
	err := a.call(ctx, http.MethodGet, "/rest/api/2/search", q, nil, &found)
	if errors.Is(err, errMissing) {
		err = a.call(ctx, http.MethodGet, "/rest/api/2/search/jql", q, nil, &found)
	}
	if err != nil || len(found.Issues) == 0 {
		return "", err
	}
	return found.Issues[0].Key, nil
}

func (a jira) create(ctx context.Context, d draft) (string, error) {
	in := map[string]any{"fields": map[string]any{
		"project": map[string]string{"key": d.project}, "summary": d.title, "description": d.text,
		"issuetype": map[string]string{"name": cmp.Or(d.kind, "Task")}, "labels": []string{"restartilka", d.tag},
	}}
	var out struct {
		Key string `json:"key"`
	}
	err := a.call(ctx, http.MethodPost, "/rest/api/2/issue", nil, in, &out)
	return out.Key, err
}

func (a jira) whoami(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, "/rest/api/2/myself", nil, nil, nil)
}
