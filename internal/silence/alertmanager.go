package silence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// alertmanager is one Alertmanager, or a cluster of them, by its API v2.
type alertmanager struct {
	call  *caller
	label string // that names the host
	names string // how: System.HostNames
}

func newAlertmanager(s System, c *caller) monitor {
	label := s.HostLabel
	if label == "" {
		label = "instance"
	}
	return &alertmanager{call: c, label: label, names: s.HostNames}
}

// matcher is one condition on a label, as the API has it. A silence is of the
// alerts that all its matchers fit.
type matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

const alertLabel = "alertname"

// ours is who silences are created by, as the API has it.
const ours = "restartilka"

// matchers are of these alerts, by their whole names, and of this host, on
// whatever port. They fit nothing else: each text is quoted, and the API anchors
// a pattern at both ends. Without a name of an alert, or of a host, there are
// none.
func matchers(label, host string, alerts []string) ([]matcher, error) {
	if host == "" {
		return nil, restart.Errorf(restart.CodeInvalid, "what monitoring calls the host is not known")
	}
	if len(alerts) == 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "no alert is named")
	}
	var names []string
	for _, name := range alerts {
		if err := restart.CheckAlert(name); err != nil {
			return nil, err
		}
		names = append(names, regexp.QuoteMeta(name))
	}
	named := matcher{Name: alertLabel, Value: strings.Join(names, "|"), IsRegex: true, IsEqual: true}
	if len(alerts) == 1 {
		named = matcher{Name: alertLabel, Value: alerts[0], IsEqual: true}
	}
	return []matcher{named, {Name: label, Value: hostPattern(host), IsRegex: true, IsEqual: true}}, nil
}

// hostPattern fits a host's name or address, with a port or without.
func hostPattern(host string) string {
	quoted := regexp.QuoteMeta(host)
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		return quoted + `|\[` + quoted + `\](:[0-9]{1,5})?`
	}
	return quoted + `(:[0-9]{1,5})?`
}

// shortName is a host's name without its domain.
func shortName(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}

// foreign is a silence as the API has it.
type foreign struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    *struct {
		State string `json:"state"`
	} `json:"status,omitempty"`
}

const expired = "expired"

func (a *alertmanager) Place(ctx context.Context, w wanted) (string, error) {
	m, err := matchers(a.label, w.HostName, w.Alerts)
	if err != nil {
		return "", err
	}
	body := foreign{Matchers: m, StartsAt: w.From.UTC(), EndsAt: w.EndsAt.UTC(), CreatedBy: ours, Comment: w.Comment}
	var said struct {
		SilenceID string `json:"silenceID"`
	}
	doubted := false
	err = a.call.do(ctx, request{method: http.MethodPost, path: "api/v2/silences", body: body, doubted: &doubted}, func(r io.Reader) error {
		if err := into(&said)(r); err != nil {
			return err
		}
		if !foreignID.MatchString(said.SilenceID) {
			return errors.New("no id of a silence")
		}
		return nil
	})
	if doubted {
		return "", err
	}
	return said.SilenceID, err
}

// foreignID is what an id of a system may look like: it becomes part of a path.
var foreignID = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func (a *alertmanager) Lift(ctx context.Context, s restart.Silence) error {
	if s.Foreign != "" {
		return a.expire(ctx, s.Foreign)
	}
	found, err := a.find(ctx, s)
	if err != nil {
		return err
	}
	for _, id := range found {
		if err := a.expire(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// Fades: what has expired is kept there only to be looked at.
func (*alertmanager) Fades() bool { return true }

// expire ends one silence. One that has ended already is refused, by some
// versions with 500.
func (a *alertmanager) expire(ctx context.Context, id string) error {
	path := "api/v2/silence/" + id
	err := a.call.do(ctx, request{method: http.MethodDelete, path: path}, nil)
	if err == nil || gone(err) {
		return nil
	}
	var now foreign
	look := a.call.do(ctx, request{method: http.MethodGet, path: path}, into(&now))
	if gone(look) || look == nil && now.Status != nil && now.Status.State == expired {
		return nil
	}
	return err
}

func gone(err error) bool {
	e, ok := errors.AsType[*callError](err)
	return ok && e.status == http.StatusNotFound
}

// filter is the matcher as the API reads it in a query.
func (m matcher) filter() string {
	if m.IsRegex {
		return m.Name + "=~" + quoted(m.Value)
	}
	return m.Name + "=" + quoted(m.Value)
}

// find gives the ids of what is, or will be, silent because of a task: those of
// ours that name it. The API is asked for silences by the same matchers alone;
// a host's address may be another one by now.
func (a *alertmanager) find(ctx context.Context, s restart.Silence) ([]string, error) {
	host := s.Host
	if a.names == namesShort {
		host = shortName(host)
	}
	m, err := matchers(a.label, host, s.Alerts)
	if err != nil {
		return nil, err
	}
	query := url.Values{"filter": {m[0].filter()}}
	if a.names != namesAddress {
		query.Add("filter", m[1].filter())
	}
	var found []string
	err = a.call.do(ctx, request{method: http.MethodGet, path: "api/v2/silences", query: query}, func(r io.Reader) error {
		return each(r, func(f foreign) bool {
			if f.CreatedBy == ours && strings.Contains(f.Comment, taskMark(s.Task)) && f.Status != nil && f.Status.State != expired && foreignID.MatchString(f.ID) {
				found = append(found, f.ID)
			}
			return true
		})
	})
	return found, err
}

// each decodes a list one by one, until more says no.
func each[T any](r io.Reader, more func(T) bool) error {
	d := json.NewDecoder(r)
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return errors.Join(errors.New("no list"), err)
	}
	for d.More() {
		var v T
		if err := d.Decode(&v); err != nil {
			return err
		}
		if !more(v) {
			return nil
		}
	}
	_, err := d.Token()
	return err
}

// quoted is a value as the API reads it in a filter.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

// mostNamed bounds the alerts that a sentence names.
const mostNamed = 5

// Firing asks for alerts that are active: those that are silent, or held back by
// others, are left out.
func (a *alertmanager) Firing(ctx context.Context, alerts []string, labels map[string]string) ([]string, error) {
	m, err := matchers(a.label, "any", alerts)
	if err != nil {
		return nil, err
	}
	filters := []string{m[0].filter()}
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		filters = append(filters, label+"="+quoted(labels[label]))
	}
	query := url.Values{"filter": filters, "active": {"true"}, "silenced": {"false"}, "inhibited": {"false"}, "unprocessed": {"false"}}
	var firing []string
	err = a.call.do(ctx, request{method: http.MethodGet, path: "api/v2/alerts", query: query}, func(r io.Reader) error {
		firing = nil
		return each(r, func(f firingAlert) bool {
			if slices.Contains(alerts, f.Labels[alertLabel]) && f.Status.State == "active" {
				firing = append(firing, f.said(a.label))
			}
			return len(firing) < mostNamed
		})
	})
	if len(firing) > 0 {
		err = nil // whatever else was to come
	}
	return firing, err
}

// firingAlert is an alert as the API has it.
type firingAlert struct {
	Labels map[string]string `json:"labels"`
	Status struct {
		State string `json:"state"`
	} `json:"status"`
}

// said names an alert, with where it is.
func (f firingAlert) said(label string) string {
	name := f.Labels[alertLabel]
	if where := f.Labels[label]; where != "" {
		return fmt.Sprintf("%s (%s)", name, bounded(where))
	}
	return name
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
