package notify

import (
	"context"
	"net/mail"
	"net/url"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/tracker"
)

// Settings are who is told of what: the section notify of server.yaml.
type Settings struct {
	Webhooks   []Webhook      `yaml:"webhooks"`   //
	Mail       []Mail         `yaml:"mail"`       //
	Slack      []Slack        `yaml:"slack"`      //
	Mattermost []Mattermost   `yaml:"mattermost"` //
	Telegram   []Telegram     `yaml:"telegram"`   //
	Grafana    []Grafana      `yaml:"grafana"`    // annotations of its graphs
	Juggler    []Juggler      `yaml:"juggler"`    // check events
	Digest     DigestSettings `yaml:"digest"`     // when the week's is sent
	Zone       string         `yaml:"zone"`       // IANA name of the time zone of times in messages and of the digest; "" = this machine's

	// Addresses are those of owners whom no directory knows, such as teams: owner
	// to address.
	Addresses map[string]string `yaml:"addresses"`

	Trackers     *tracker.Trackers `yaml:"-"` // that comments and tickets go to; nil = there are none
	TicketOpened tracker.Opened    `yaml:"-"` // notes a ticket that was opened; needed where trackers open any

	People People `yaml:"-"` // knows the addresses of owners; nil = nobody does
}

// People knows by which addresses owners of services get mail.
type People interface {
	// Addresses gives them, each once; owners whose addresses nobody knows have
	// none. An error means that it could not be found out.
	Addresses(ctx context.Context, owners []string) ([]string, error)
}

// Open gives the receivers of the settings. Errors are *restart.Error with
// CodeInvalid, and begin with the key.
func (s Settings) Open() (Receivers, error) {
	var r Receivers
	var err error
	if r.digest, err = s.digestTime(); err != nil {
		return Receivers{}, err
	}
	seen, labels := map[string]bool{}, map[string]bool{}
	for owner, address := range s.Addresses {
		if _, err := mail.ParseAddress(address); err != nil {
			return Receivers{}, restart.Errorf(restart.CodeInvalid, "notify.addresses: %s is no address of mail, for %s", restart.Quote(address), restart.Quote(owner))
		}
	}
	for _, open := range kinds {
		found, err := open(s)
		if err != nil {
			return Receivers{}, err
		}
		for _, c := range found {
			if seen[c.Name()] {
				return Receivers{}, restart.Errorf(restart.CodeInvalid, "notify: %s is there twice", c).WithHint("name all its events in one place")
			}
			if l := c.label(); labels[l] {
				return Receivers{}, restart.Errorf(restart.CodeInvalid, "notify: two receivers are named %s", restart.Quote(l)).WithHint("restartilka notify test NAME must tell them apart")
			}
			seen[c.Name()], labels[c.label()] = true, true
		}
		r.all = append(r.all, found...)
	}
	return r, nil
}

// zone gives the time zone of the settings.
func (s Settings) zone() (*time.Location, error) {
	if s.Zone == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(s.Zone)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "notify.zone: there is no time zone %s", restart.Quote(s.Zone)).WithHint("such as Europe/Berlin")
	}
	return zone, nil
}

// Files gives the paths among the settings, for who makes them absolute.
func (s *Settings) Files() (out []*string) {
	for i := range s.Webhooks {
		out = append(out, &s.Webhooks[i].SecretFile, &s.Webhooks[i].CAFile)
	}
	for i := range s.Mail {
		out = append(out, &s.Mail[i].PasswordFile, &s.Mail[i].CAFile)
	}
	for i := range s.Slack {
		out = append(out, &s.Slack[i].TokenFile, &s.Slack[i].CAFile)
	}
	for i := range s.Mattermost {
		out = append(out, &s.Mattermost[i].TokenFile, &s.Mattermost[i].CAFile)
	}
	for i := range s.Grafana {
		out = append(out, &s.Grafana[i].TokenFile, &s.Grafana[i].CAFile)
	}
	for i := range s.Juggler {
		out = append(out, &s.Juggler[i].TokenFile, &s.Juggler[i].CAFile)
	}
	for i := range s.Telegram {
		out = append(out, &s.Telegram[i].TokenFile, &s.Telegram[i].CAFile)
	}
	return out
}

// Redacted is the settings for people to look at: a webhook's address may be a
// secret by itself, so that only its host is left.
func (s Settings) Redacted() Settings {
	s.Webhooks = slices.Clone(s.Webhooks)
	for i := range s.Webhooks {
		hook := &s.Webhooks[i]
		if u, err := url.Parse(hook.URL); err == nil {
			hook.URL = u.Scheme + "://" + u.Host + "/…"
		} else {
			hook.URL = "…"
		}
	}
	return s
}
