package silence

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Settings are the section monitoring of server.yaml.
type Settings struct {
	Systems []System `yaml:"systems"` //
	Gates   []Gate   `yaml:"gates"`   //
}

// System is one system that watches hosts.
type System struct {
	Name            string        `yaml:"name"`             // by which runs, gates and the log call it
	Kind            string        `yaml:"kind"`             // alertmanager | zabbix
	URLs            []string      `yaml:"urls"`             // of it, the first that answers; several of an Alertmanager's cluster
	CredentialsFile string        `yaml:"credentials_file"` // value of the header Authorization; read each time
	CAFile          string        `yaml:"ca_file"`          // PEM certificates to believe; "" = the system's
	AllowNetworks   []string      `yaml:"allow_networks"`   // that are called although they are refused otherwise: see internal/outgoing
	HostLabel       string        `yaml:"host_label"`       // alertmanager: of an alert, that names its host; "" = instance
	AlertTag        string        `yaml:"alert_tag"`        // zabbix: of a problem, that has the alert's name; "" = alertname
	HostNames       string        `yaml:"host_names"`       // how it calls a host: fqdn (""), short or address
	Silence         string        `yaml:"silence"`          // none | try ("") | require
	Margin          time.Duration `yaml:"margin"`           // of a silence, beyond the longest that a host's task lasts; 0 = 1m; at most 10m
	Environments    []string      `yaml:"environments"`     // globs; empty = every one
	Services        []string      `yaml:"services"`         // globs; empty = every one
}

// Gate is alerts that no run goes on beside.
type Gate struct {
	System       string            `yaml:"system"`       // name of an Alertmanager among the systems
	Alerts       []string          `yaml:"alerts"`       // whole names
	Labels       map[string]string `yaml:"labels"`       // that the alert must have; #service#, #environment#, #group# and #project# are filled in
	Environments []string          `yaml:"environments"` // globs of runs; empty = every one
	Services     []string          `yaml:"services"`     // globs of runs; empty = every one
	WhenDown     string            `yaml:"when_down"`    // lenient ("") | strict
}

// The values of System.Silence, System.HostNames and Gate.WhenDown.
const (
	silenceNone    = "none"
	silenceTry     = "try"
	silenceRequire = "require"

	namesFQDN    = "fqdn"
	namesShort   = "short"
	namesAddress = "address"

	lenient = "lenient"
	strict  = "strict"
)

const (
	defaultMargin = time.Minute
	mostMargin    = 10 * time.Minute
	mostAlerts    = 100 // that a gate names
)

// Files lists the paths in the settings, for them to be made absolute.
func (s *Settings) Files() []*string {
	var out []*string
	for i := range s.Systems {
		out = append(out, &s.Systems[i].CredentialsFile, &s.Systems[i].CAFile)
	}
	return out
}

// bad is an error about one key of the settings.
func bad(key, format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "%s "+format, append([]any{key}, args...)...)
}

// check refuses what can't work, and fills in the defaults.
func (s System) check(key string) (System, error) {
	if err := restart.CheckServiceName(s.Name); err != nil {
		return s, bad(key+".name", "%s is not a name", restart.Quote(s.Name)).WithHint("such as main: by it runs and gates call the system")
	}
	if _, known := kinds[s.Kind]; !known {
		return s, bad(key+".kind", "%s is not known", restart.Quote(s.Kind)).WithHint("one of: %s", strings.Join(Kinds(), ", "))
	}
	for _, k := range []struct{ key, value, kind string }{{"host_label", s.HostLabel, "alertmanager"}, {"alert_tag", s.AlertTag, "zabbix"}} {
		if k.value != "" && k.kind != s.Kind {
			return s, bad(key+"."+k.key, "is not used by kind %s", s.Kind)
		}
	}
	for _, k := range []struct {
		key   string
		value *string
		words []string // the first is the default
	}{
		{"host_names", &s.HostNames, []string{namesFQDN, namesShort, namesAddress}},
		{"silence", &s.Silence, []string{silenceTry, silenceNone, silenceRequire}},
	} {
		if *k.value == "" {
			*k.value = k.words[0]
		}
		if !slices.Contains(k.words, *k.value) {
			return s, bad(key+"."+k.key, "%s is not known", restart.Quote(*k.value)).WithHint("one of: %s", strings.Join(k.words, ", "))
		}
	}
	if s.Margin == 0 {
		s.Margin = defaultMargin
	}
	if s.Margin < 0 || s.Margin > mostMargin {
		return s, bad(key+".margin", "%s is not from 0s to %s", s.Margin, mostMargin)
	}
	return s, checkGlobs(key, s.Environments, s.Services)
}

func (g Gate) check(key string) (Gate, error) {
	if len(g.Alerts) == 0 {
		return g, bad(key+".alerts", "is empty: nothing would ever be in a run's way")
	}
	if len(g.Alerts) > mostAlerts {
		return g, bad(key+".alerts", "has %d names; at most %d are asked for", len(g.Alerts), mostAlerts)
	}
	for _, name := range g.Alerts {
		if err := restart.CheckAlert(name); err != nil {
			return g, bad(key+".alerts", "%s is not the name of an alert", restart.Quote(name)).WithHint("whole names, such as DataCentreDown; patterns are not read")
		}
	}
	for label, value := range g.Labels {
		if !labelName.MatchString(label) || value == "" {
			return g, bad(key+".labels", "%s can't be asked for", restart.Quote(label+": "+value)).WithHint("the name of a label and its whole value")
		}
	}
	switch g.WhenDown {
	case "":
		g.WhenDown = lenient
	case lenient, strict:
	default:
		return g, bad(key+".when_down", "%s is neither lenient nor strict", restart.Quote(g.WhenDown))
	}
	return g, checkGlobs(key, g.Environments, g.Services)
}

func checkGlobs(key string, lists ...[]string) error {
	for _, list := range lists {
		for _, glob := range list {
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				return bad(key, "has the pattern %s, which can't be read", restart.Quote(glob)).WithHint("such as production, or test*")
			}
		}
	}
	return nil
}

// Open makes what the settings name. Nothing is connected to. Errors are
// *restart.Error with CodeInvalid, and begin with the key.
func (s Settings) Open() (Systems, error) {
	var out Systems
	for i, settings := range s.Systems {
		key := fmt.Sprintf("monitoring.systems, number %d", i+1)
		settings, err := settings.check(key)
		if err != nil {
			return Systems{}, err
		}
		if out.named(settings.Name) != nil {
			return Systems{}, bad(key+".name", "%s is there twice", settings.Name)
		}
		c, err := newCaller(key, settings)
		if err != nil {
			return Systems{}, err
		}
		out.all = append(out.all, &system{System: settings, monitor: kinds[settings.Kind](settings, c), slots: make(chan struct{}, atOnce)})
	}
	for i, settings := range s.Gates {
		key := fmt.Sprintf("monitoring.gates, number %d", i+1)
		settings, err := settings.check(key)
		if err != nil {
			return Systems{}, err
		}
		sys := out.named(settings.System)
		if sys == nil {
			return Systems{}, bad(key+".system", "%s is none of the systems", restart.Quote(settings.System))
		}
		tells, can := sys.monitor.(teller)
		if !can {
			return Systems{}, bad(key+".system", "%s is of kind %s, which is not asked what fires", sys.Name, sys.Kind).WithHint("an alertmanager")
		}
		out.gates = append(out.gates, &gate{Gate: settings, system: sys, tells: tells, answers: map[string]*answer{}})
	}
	return out, nil
}
