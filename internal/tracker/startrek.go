package tracker

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const startrekKind = "startrek"

// startrekTracker is Yandex Tracker, API version 3.
var startrekTracker = kind{
	url: "https://api.tracker.yandex.net", web: func(string) string { return "https://tracker.yandex.ru" }, page: "/%s-%d", shape: dashed,
	sign: func(c Config) func(h http.Header, token string) {
		return func(h http.Header, token string) {
			h.Set("Authorization", "OAuth "+token)
			if c.CloudOrg != "" {
				h.Set("X-Cloud-Org-ID", c.CloudOrg)
			} else {
				h.Set("X-Org-ID", c.Org)
			}
		}
	},
	open:  func(c *caller, _ Config) api { return startrek{c} },
	quote: codeSpan,
}

type startrek struct{ *caller }

func (a startrek) path(k key) string { return "/v3/issues/" + dashed.String(k) }

func (a startrek) issue(ctx context.Context, k key) (issue, error) {
	var x struct {
		Key     string `json:"key"`
		Summary string `json:"summary"`
		Status  struct {
			Key     string `json:"key"`
			Display string `json:"display"`
		} `json:"status"`
		StatusType *struct {
			Key string `json:"key"`
		} `json:"statusType"`
		Resolution *struct{} `json:"resolution"`
	}
	if err := a.call(ctx, http.MethodGet, a.path(k), nil, nil, &x); err != nil {
		return issue{}, err
	}
	if x.Key == "" {
		return issue{}, errors.New("its answer is not about a ticket")
	}
	closed := x.Resolution != nil || slices.Contains([]string{"closed", "resolved"}, x.Status.Key)
	if x.StatusType != nil {
		closed = closed || slices.Contains([]string{"done", "cancelled"}, x.StatusType.Key)
	}
	return issue{title: x.Summary, status: cmp.Or(x.Status.Display, x.Status.Key), closed: closed}, nil
}

// commented goes through the pages of comments, from the oldest.
func (a startrek) commented(ctx context.Context, k key, mark string, _ time.Time) (bool, error) {
	after := ""
	for range mostPages {
		var page []struct {
			ID   int64  `json:"id"`
			Text string `json:"text"`
		}
		q := url.Values{"perPage": {"100"}}
		if after != "" {
			q.Set("id", after)
		}
		if err := a.call(ctx, http.MethodGet, a.path(k)+"/comments", q, nil, &page); err != nil {
			return false, err
		}
		for _, c := range page {
			if strings.Contains(c.Text, mark) {
				return true, nil
			}
			after = strconv.FormatInt(c.ID, 10)
		}
		if len(page) < 100 {
			return false, nil
		}
	}
	return false, errTooMany
}

func (a startrek) comment(ctx context.Context, k key, text string) error {
	return a.call(ctx, http.MethodPost, a.path(k)+"/comments", nil, map[string]string{"text": text}, nil)
}

func (a startrek) opened(ctx context.Context, d draft, _ string, _ time.Time) (string, error) {
	var found []struct {
		Key string `json:"key"`
	}
	filter := map[string]any{"filter": map[string]string{"queue": d.project, "tags": d.tag}}
	if err := a.call(ctx, http.MethodPost, "/v3/issues/_search", nil, filter, &found); err != nil || len(found) == 0 {
		return "", err
	}
	return found[0].Key, nil
}

func (a startrek) create(ctx context.Context, d draft) (string, error) {
	in := map[string]any{"queue": d.project, "summary": d.title, "description": d.text, "tags": []string{"restartilka", d.tag}, "unique": d.tag}
	if d.kind != "" {
		in["type"] = map[string]string{"name": d.kind}
	}
	var out struct {
		Key string `json:"key"`
	}
	err := a.call(ctx, http.MethodPost, "/v3/issues", nil, in, &out)
	return out.Key, err
}

func (a startrek) whoami(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, "/v3/myself", nil, nil, nil)
}
