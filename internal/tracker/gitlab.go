package tracker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const gitlabKind = "gitlab"

// gitlabTracker is GitLab, API version 4.
var gitlabTracker = kind{
	url: "https://gitlab.com", web: func(url string) string { return url }, page: "/%s/-/issues/%d", shape: slashed,
	sign: func(Config) func(h http.Header, token string) {
		return func(h http.Header, token string) { h.Set("Private-Token", token) }
	},
	open:  func(c *caller, _ Config) api { return gitlab{c} },
	quote: codeSpan,
}

type gitlab struct{ *caller }

func (a gitlab) issues(project string) string {
	return "/api/v4/projects/" + url.PathEscape(project) + "/issues"
}

func (a gitlab) path(k key) string { return a.issues(k.project) + "/" + strconv.Itoa(k.number) }

func (a gitlab) issue(ctx context.Context, k key) (issue, error) {
	var x struct {
		IID   int    `json:"iid"`
		Title string `json:"title"`
		State string `json:"state"`
	}
	if err := a.call(ctx, http.MethodGet, a.path(k), nil, nil, &x); err != nil {
		return issue{}, err
	}
	if x.IID != k.number {
		return issue{}, errors.New("its answer is not about a ticket")
	}
	return issue{title: x.Title, status: x.State, closed: x.State == "closed"}, nil
}

// commented goes through the notes from the newest to those older than the run.
func (a gitlab) commented(ctx context.Context, k key, mark string, since time.Time) (bool, error) {
	for page := range mostPages {
		var notes []struct {
			Body      string    `json:"body"`
			CreatedAt time.Time `json:"created_at"`
		}
		q := url.Values{"order_by": {"created_at"}, "sort": {"desc"}, "per_page": {"100"}, "page": {strconv.Itoa(page + 1)}}
		if err := a.call(ctx, http.MethodGet, a.path(k)+"/notes", q, nil, &notes); err != nil {
			return false, err
		}
		for _, n := range notes {
			if n.CreatedAt.Before(since) {
				return false, nil
			}
			if strings.Contains(n.Body, mark) {
				return true, nil
			}
		}
		if len(notes) < 100 {
			return false, nil
		}
	}
	return false, errTooMany
}

func (a gitlab) comment(ctx context.Context, k key, text string) error {
	return a.call(ctx, http.MethodPost, a.path(k)+"/notes", nil, map[string]string{"body": text}, nil)
}

func (a gitlab) opened(ctx context.Context, d draft, mark string, since time.Time) (string, error) {
	for page := range mostPages {
		var issues []struct {
			IID         int    `json:"iid"`
			Description string `json:"description"`
		}
		q := url.Values{"scope": {"all"}, "created_after": {since.UTC().Format(time.RFC3339)}, "order_by": {"created_at"}, "sort": {"desc"}, "per_page": {"100"}, "page": {strconv.Itoa(page + 1)}}
		if err := a.call(ctx, http.MethodGet, a.issues(d.project), q, nil, &issues); err != nil {
			return "", err
		}
		for _, i := range issues {
			if strings.Contains(i.Description, mark) {
				return slashed.String(key{d.project, i.IID}), nil
			}
		}
		if len(issues) < 100 {
			return "", nil
		}
	}
	return "", errTooMany
}

func (a gitlab) create(ctx context.Context, d draft) (string, error) {
	in := map[string]any{"title": d.title, "description": d.text, "labels": "restartilka"}
	if d.kind != "" {
		in["issue_type"] = d.kind
	}
	var out struct {
		IID int `json:"iid"`
	}
	err := a.call(ctx, http.MethodPost, a.issues(d.project), nil, in, &out)
	return slashed.String(key{d.project, out.IID}), err
}

func (a gitlab) whoami(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, "/api/v4/user", nil, nil, nil)
}
