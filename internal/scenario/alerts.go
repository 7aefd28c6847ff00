package scenario

import (
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// Alerts gives the names of the alerts that a scenario silences, filled in as
// far as they are the same on every host: #host# is left in them, for AlertOn.
// Package and unit of the reviewed file win over those of f, as on the host.
// What can't be filled in is in the second list, as it stands in the file: it is
// not silenced.
func Alerts(s restart.Scenario, f Facts) (names, left []string) {
	if s.Package != "" {
		f.Package = s.Package
	}
	if s.Unit != "" {
		f.Unit = s.Unit
	}
	for _, text := range s.Silence {
		name, err := fill(text, func(word placeholder) (string, error) {
			v := word.value(f)
			switch {
			case word.word == hostWord:
				return "#" + hostWord + "#", nil
			case v == "":
				return "", errUnknown
			}
			return v, word.check(v)
		})
		if _, unfit := AlertOn(name, "host.example.com"); err != nil || unfit != nil {
			left = append(left, text)
			continue
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, left
}

// errUnknown is of a placeholder whose value nobody knows.
var errUnknown = restart.Errorf(restart.CodeInvalid, "the name of the alert can't be filled in")

// hostWord is the placeholder of a host's own name.
const hostWord = "host"

// AlertOn gives the name of an alert, one of Alerts, about one host: a whole
// name, never a pattern (CodeInvalid).
func AlertOn(name, host string) (string, error) {
	filled, err := fill(name, func(word placeholder) (string, error) {
		if word.word != hostWord {
			return "", errUnknown
		}
		return host, restart.CheckHost(host)
	})
	if err == nil {
		err = restart.CheckAlert(filled)
	}
	return filled, err
}
