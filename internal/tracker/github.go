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

const githubKind = "github"

// githubTracker is GitHub, or a company's own GitHub Enterprise Server, whose
// API is at https://HOST/api/v3.
var githubTracker = kind{
	url: "https://api.github.com", page: "/%s/issues/%d", shape: slashed,
	web: func(url string) string {
		if strings.TrimRight(url, "/") == "https://api.github.com" {
			return "https://github.com"
		}
		return strings.TrimSuffix(strings.TrimRight(url, "/"), "/api/v3")
	},
	sign: func(Config) func(h http.Header, token string) {
		return func(h http.Header, token string) {
			h.Set("Authorization", "Bearer "+token)
			h.Set("Accept", "application/vnd.github+json")
			h.Set("X-GitHub-Api-Version", "2022-11-28")
		}
	},
	open:  func(c *caller, _ Config) api { return github{c} },
	quote: codeSpan,
}

type github struct{ *caller }

// issues is the address of a repository's; each part of its name is safe.
func (a github) issues(project string) string { return "/repos/" + project + "/issues" }

func (a github) path(k key) string { return a.issues(k.project) + "/" + strconv.Itoa(k.number) }

func (a github) issue(ctx context.Context, k key) (issue, error) {
	var x struct {
		Number int    `json:"number"`
		Title  string `json:"title"`
		State  string `json:"state"`
	}
	if err := a.call(ctx, http.MethodGet, a.path(k), nil, nil, &x); err != nil {
		return issue{}, err
	}
	if x.Number != k.number {
		return issue{}, errors.New("its answer is not about a ticket")
	}
	return issue{title: x.Title, status: x.State, closed: x.State == "closed"}, nil
}

// commented goes through the comments that are younger than the run.
func (a github) commented(ctx context.Context, k key, mark string, since time.Time) (bool, error) {
	for page := range mostPages {
		var comments []struct {
			Body string `json:"body"`
		}
		q := url.Values{"since": {since.UTC().Format(time.RFC3339)}, "per_page": {"100"}, "page": {strconv.Itoa(page + 1)}}
		if err := a.call(ctx, http.MethodGet, a.path(k)+"/comments", q, nil, &comments); err != nil {
			return false, err
		}
		for _, c := range comments {
			if strings.Contains(c.Body, mark) {
				return true, nil
			}
		}
		if len(comments) < 100 {
			return false, nil
		}
	}
	return false, errTooMany
}

func (a github) comment(ctx context.Context, k key, text string) error {
	return a.call(ctx, http.MethodPost, a.path(k)+"/comments", nil, map[string]string{"body": text}, nil)
}

// opened looks at what was opened since then, the newest first: its search would
// not have that yet.
func (a github) opened(ctx context.Context, d draft, mark string, since time.Time) (string, error) {
	for page := range mostPages {
		var issues []struct {
			Number    int       `json:"number"`
			Body      string    `json:"body"`
			CreatedAt time.Time `json:"created_at"`
		}
		q := url.Values{"state": {"all"}, "sort": {"created"}, "direction": {"desc"}, "per_page": {"100"}, "page": {strconv.Itoa(page + 1)}}
		if err := a.call(ctx, http.MethodGet, a.issues(d.project), q, nil, &issues); err != nil {
			return "", err
		}
		for _, i := range issues {
			if i.CreatedAt.Before(since) {
				return "", nil
			}
			if strings.Contains(i.Body, mark) {
				return slashed.String(key{d.project, i.Number}), nil
			}
		}
		if len(issues) < 100 {
			return "", nil
		}
	}
	return "", errTooMany
}

func (a github) create(ctx context.Context, d draft) (string, error) {
	in := map[string]any{"title": d.title, "body": d.text, "labels": []string{"restartilka"}}
	if d.kind != "" {
		in["type"] = d.kind
	}
	var out struct {
		Number int `json:"number"`
	}
	err := a.call(ctx, http.MethodPost, a.issues(d.project), nil, in, &out)
	return slashed.String(key{d.project, out.Number}), err
}

func (a github) whoami(ctx context.Context) error { // what a token may see at all, it may ask of
	return a.call(ctx, http.MethodGet, "/rate_limit", nil, nil, nil)
}
