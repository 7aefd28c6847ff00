package notify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Juggler is a monitoring system that takes check events as JSON: of runs, and
// of how the server itself is.
type Juggler struct {
	Choice        `yaml:",inline"`
	URL           string        `yaml:"url"`            // what comes before /events; http where there is no token
	TokenFile     string        `yaml:"token_file"`     // file with a token; "" = none is sent
	CAFile        string        `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string      `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
	Source        string        `yaml:"source"`         // of the events; "" = restartilka
	Host          string        `yaml:"host"`           // that the events are of; "" = restartilka
	Health        time.Duration `yaml:"health"`         // how often it is told how the server is; 0 = never; 5s to 1h
}

// The statuses of a check event.
const (
	CheckOK   = "OK"
	CheckWarn = "WARN"
	CheckCrit = "CRIT"
)

// CheckEvent says how one thing is. Host, service and instance name it: a later
// event takes the place of the one before.
type CheckEvent struct {
	Host        string   `json:"host"`
	Service     string   `json:"service"`
	Instance    string   `json:"instance"`
	Status      string   `json:"status"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}

// The services of our events.
const (
	checkOfRuns   = "restartilka-run"
	checkOfServer = "restartilka-server"
)

const (
	mostDescribed = 1000 // characters
	leastHealth   = 5 * time.Second
	mostHealth    = time.Hour
)

type juggler struct {
	cfg    Juggler
	api    *api
	teller teller
}

func openJugglers(s Settings) ([]opened, error) {
	var out []opened
	for i, c := range s.Juggler {
		j, err := c.open(fmt.Sprintf("notify.juggler, number %d", i+1), s)
		if err != nil {
			return nil, err
		}
		out = append(out, opened{Channel: j, choice: c.Choice})
	}
	return out, nil
}

func (c Juggler) open(key string, s Settings) (*juggler, error) {
	zone, err := s.zone()
	if err != nil {
		return nil, err
	}
	if err := c.check(key); err != nil {
		return nil, err
	}
	for _, word := range []struct {
		key   string
		value *string
	}{{"source", &c.Source}, {"host", &c.Host}} {
		if *word.value == "" {
			*word.value = "restartilka"
		}
		if err := restart.CheckTag(*word.value); err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "%s.%s: %s is not a name", key, word.key, restart.Quote(*word.value)).WithHint("such as restartilka.example.com")
		}
	}
	if c.Health != 0 && (c.Health < leastHealth || c.Health > mostHealth) {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.health: %s is not from %s to %s", key, c.Health, leastHealth, mostHealth)
	}
	a, err := openAPI(apiSettings{key: key, url: c.URL, tokenFile: c.TokenFile, caFile: c.CAFile, networks: c.AllowNetworks, open: c.TokenFile == ""})
	if err != nil {
		return nil, err
	}
	return &juggler{cfg: c, api: a, teller: teller{c.language(), zone}}, nil
}

func (j *juggler) Name() string { return named("juggler", j.api.base.String(), j.cfg.Host) }

func (j *juggler) String() string { return "juggler " + j.api.base.Host }

// Deliver tells how a service stands after a run, or after what became of it.
// What says nothing of that is not told: it would take the place of what does.
func (j *juggler) Deliver(ctx context.Context, d store.Delivery) error {
	n, _, err := read(d.Body, nil)
	if err != nil {
		return err
	}
	status := checkStatus(n)
	if status == "" {
		return nil
	}
	told := j.teller.card(n, nil)
	text := told.title + ": " + told.state
	for _, f := range told.facts {
		if f.key == "reason" || f.key == "why" || f.key == "trouble" || f.key == "by" {
			text += "; " + f.name + ": " + f.text
		}
	}
	e := CheckEvent{Host: j.cfg.Host, Service: checkOfRuns, Instance: n.Service, Status: status, Description: short(text, mostDescribed) + " " + told.url, Tags: []string{"restartilka"}}
	for _, word := range []string{n.Service, n.Environment} {
		if word != "" {
			e.Tags = append(e.Tags, word)
		}
	}
	if n.Environment != "" {
		e.Instance += "." + n.Environment
	}
	return j.push(ctx, e)
}

// checkStatus judges an event: what needs a person, or was not done, is no longer
// well. "" = it says nothing of how the service stands.
func checkStatus(n wire.Notification) string {
	switch n.Event {
	case wire.EventRunFailed:
		if n.State == restart.RunAborted {
			return CheckWarn
		}
		return CheckCrit
	case wire.EventRunPaused, wire.EventBreakGlass, wire.EventScenarioExpires, wire.EventApprovalRequested, wire.EventScheduleMissed:
		return CheckWarn
	case wire.EventApprovalDecided:
		if n.Verdict == restart.ApprovalGiven {
			return CheckOK // a run follows, and tells more
		}
		return CheckWarn
	case wire.EventRunScheduled, wire.EventScheduleCancelled, wire.EventRecurrence, wire.EventDigest:
		return ""
	}
	return CheckOK
}

// push hands events over. Each has an answer of its own.
func (j *juggler) push(ctx context.Context, events ...CheckEvent) error {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	token, err := j.api.token()
	if err != nil {
		return err
	}
	var said struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
		Events  []struct {
			Code  int    `json:"code"`
			Error string `json:"error"`
		} `json:"events"`
	}
	body := struct {
		Source string       `json:"source"`
		Events []CheckEvent `json:"events"`
	}{j.cfg.Source, events}
	status, err := j.api.call(ctx, http.MethodPost, "events", token, body, &said)
	if err != nil {
		return err
	}
	if status != http.StatusOK || !said.Success || len(said.Events) != len(events) {
		return fmt.Errorf("it answers %d, and does not say that it has taken the events: %s", status, short(restart.Escape(said.Message), 200))
	}
	for _, e := range said.Events {
		if e.Code != http.StatusOK {
			return fmt.Errorf("it refuses an event: %d, %s", e.Code, short(restart.Escape(e.Error), 200))
		}
	}
	return nil
}

// Health is a receiver that is told how the server is.
type Health struct {
	Every   time.Duration
	juggler *juggler
}

// Health gives those that are. An error is the one that Open gives.
func (s Settings) Health() ([]Health, error) {
	var out []Health
	for i, c := range s.Juggler {
		if c.Health == 0 {
			continue
		}
		j, err := c.open(fmt.Sprintf("notify.juggler, number %d", i+1), s)
		if err != nil {
			return nil, err
		}
		out = append(out, Health{c.Health, j})
	}
	return out, nil
}

func (h Health) String() string { return h.juggler.String() }

// Tell says how a server is: what is wrong, and what is worth knowing, each in a
// few words.
func (h Health) Tell(ctx context.Context, server string, wrong, notes []string) error {
	e := CheckEvent{Host: h.juggler.cfg.Host, Service: checkOfServer, Instance: server, Status: CheckOK, Description: "ready", Tags: []string{"restartilka"}}
	switch {
	case len(wrong) > 0:
		e.Status, e.Description = CheckCrit, "not ready: "+strings.Join(append(wrong, notes...), "; ")
	case len(notes) > 0:
		e.Status, e.Description = CheckWarn, strings.Join(notes, "; ")
	}
	e.Description = short(restart.Escape(e.Description), mostDescribed)
	return h.juggler.push(ctx, e)
}
