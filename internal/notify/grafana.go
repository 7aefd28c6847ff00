package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Grafana is a Grafana whose graphs show when runs went over their hosts, as
// annotations.
type Grafana struct {
	Choice        `yaml:",inline"`
	URL           string   `yaml:"url"`            // what comes before /api
	TokenFile     string   `yaml:"token_file"`     // file with a service account's token, which may write annotations
	Dashboard     string   `yaml:"dashboard"`      // UID of the one that has them; "" = every one that asks for the tag restartilka
	Updates       string   `yaml:"updates"`        // edit (default): one region for a run | each: one mark for an event
	CAFile        string   `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
}

var grafanaUID = regexp.MustCompile(`^[A-Za-z0-9_-]{0,40}$`)

type grafana struct {
	cfg    Grafana
	api    *api
	teller teller
}

func openGrafanas(s Settings) ([]opened, error) {
	zone, err := s.zone()
	if err != nil {
		return nil, err
	}
	var out []opened
	for i, c := range s.Grafana {
		key := fmt.Sprintf("notify.grafana, number %d", i+1)
		if err := c.check(key); err != nil {
			return nil, err
		}
		if c.Updates, err = checkUpdates(key, c.Updates, updatesEdit, updatesEach); err != nil {
			return nil, err
		}
		if !grafanaUID.MatchString(c.Dashboard) {
			return nil, restart.Errorf(restart.CodeInvalid, "%s.dashboard: %s is not the UID of a dashboard", key, restart.Quote(c.Dashboard)).WithHint("its address has it, behind /d/")
		}
		a, err := openAPI(apiSettings{key: key, url: c.URL, tokenFile: c.TokenFile, caFile: c.CAFile, networks: c.AllowNetworks})
		if err != nil {
			return nil, err
		}
		out = append(out, opened{Channel: &grafana{cfg: c, api: a, teller: teller{c.language(), zone}}, choice: c.Choice})
	}
	return out, nil
}

func (g *grafana) Name() string { return named("grafana", g.api.base.String(), g.cfg.Dashboard) }

func (g *grafana) String() string { return "grafana " + g.api.base.Host }

// Deliver is for what belongs to no run.
func (g *grafana) Deliver(ctx context.Context, d store.Delivery) error {
	_, err := g.Keep(ctx, d, nil)
	return err
}

// annotation is one as the API takes it. Without an end it is a moment.
type annotation struct {
	Dashboard string   `json:"dashboardUID,omitempty"`
	Time      int64    `json:"time,omitempty"` // in milliseconds
	TimeEnd   int64    `json:"timeEnd,omitempty"`
	Tags      []string `json:"tags"`
	Text      string   `json:"text"`
}

// Keep marks a moment, or makes the region of a run or moves its end.
func (g *grafana) Keep(ctx context.Context, d store.Delivery, _ []json.RawMessage) (post string, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	n, _, err := read(d.Body, nil)
	if err != nil {
		return "", err
	}
	a := g.annotation(n)
	if g.cfg.Updates == updatesEach || n.Run == "" {
		_, err := g.post(ctx, a)
		return "", err
	}
	post = d.Post
	if post == "" { // it may be there all the same: an answer was lost
		if post, err = g.find(ctx, n.Run); err != nil {
			return "", err
		}
	}
	if post != "" {
		if err := g.change(ctx, post, a); !errors.Is(err, errGone) {
			return post, err
		}
	}
	return g.post(ctx, a)
}

// annotation says of an event when it was and what it is.
func (g *grafana) annotation(n wire.Notification) annotation {
	c := g.teller.card(n, nil)
	text := html.EscapeString(c.mark + " " + c.title + ": " + c.state)
	for _, f := range c.facts {
		if f.key != "owners" {
			text += "<br>" + html.EscapeString(f.name+": "+f.text)
		}
	}
	if c.url != "" {
		text += fmt.Sprintf(`<br><a href="%s">%s</a>`, html.EscapeString(c.url), html.EscapeString(c.link))
	}
	a := annotation{Dashboard: g.cfg.Dashboard, Time: n.At.UnixMilli(), Tags: []string{"restartilka"}, Text: text}
	for _, tag := range []string{n.Service, n.Environment, n.Group} {
		if tag != "" {
			a.Tags = append(a.Tags, tag)
		}
	}
	if n.Run != "" && g.cfg.Updates == updatesEdit {
		a.Tags = append(a.Tags, runTag(n.Run))
		if n.StartedAt != nil {
			a.Time, a.TimeEnd = n.StartedAt.UnixMilli(), n.At.UnixMilli()
		}
		if n.FinishedAt != nil {
			a.TimeEnd = n.FinishedAt.UnixMilli()
		}
		a.TimeEnd = max(a.TimeEnd, a.Time)
	}
	return a
}

// runTag is by what the annotation of a run is found.
func runTag(run string) string { return "run:" + run }

// grafanaSaid is what the API answers to a change.
type grafanaSaid struct {
	ID      int64  `json:"id"`
	Message string `json:"message"`
}

func (g *grafana) post(ctx context.Context, a annotation) (string, error) {
	var said grafanaSaid
	status, err := g.call(ctx, http.MethodPost, "api/annotations", a, &said)
	switch {
	case err != nil:
		return "", err
	case status != http.StatusOK || said.ID <= 0:
		return "", fmt.Errorf("it answers %d: %s", status, short(restart.Escape(said.Message), 200))
	}
	return strconv.FormatInt(said.ID, 10), nil
}

func (g *grafana) change(ctx context.Context, post string, a annotation) error {
	if id, err := strconv.ParseInt(post, 10, 64); err != nil || id <= 0 {
		return errGone
	}
	a.Dashboard = "" // stays where it is
	var said grafanaSaid
	status, err := g.call(ctx, http.MethodPatch, "api/annotations/"+post, a, &said)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return errGone
	case status != http.StatusOK:
		return fmt.Errorf("it answers %d: %s", status, short(restart.Escape(said.Message), 200))
	}
	return nil
}

// find gives the annotation of a run; "" = there is none.
func (g *grafana) find(ctx context.Context, run string) (string, error) {
	var found []struct {
		ID int64 `json:"id"`
	}
	// Without a time the API looks at all of them; the tags have an index there.
	query := url.Values{"tags": {"restartilka", runTag(run)}, "type": {"annotation"}, "limit": {"1"}}
	status, err := g.call(ctx, http.MethodGet, "api/annotations?"+query.Encode(), nil, &found)
	switch {
	case err != nil:
		return "", err
	case status != http.StatusOK:
		return "", fmt.Errorf("it answers %d where it was asked for an annotation", status)
	case len(found) == 0:
		return "", nil
	}
	return strconv.FormatInt(found[0].ID, 10), nil
}

func (g *grafana) call(ctx context.Context, method, path string, in, out any) (int, error) {
	token, err := g.api.token()
	if err != nil {
		return 0, err
	}
	return g.api.call(ctx, method, path, token, in, out)
}
