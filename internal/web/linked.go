package web

import (
	"regexp"

	"github.com/restartilka/restartilka/internal/restart"
)

// linked is a piece of a sentence; Run is the run that it names, "" = none.
type linked struct{ Text, Run string }

var idLike = regexp.MustCompile(`\b[0-9a-z]{26}\b`)

// runsIn takes a sentence of the program apart, so that the runs which it names
// can be links.
func runsIn(sentence string) (out []linked) {
	at := 0
	for _, m := range idLike.FindAllStringIndex(sentence, -1) {
		id := sentence[m[0]:m[1]]
		if restart.CheckID(id) != nil {
			continue
		}
		if m[0] > at {
			out = append(out, linked{Text: sentence[at:m[0]]})
		}
		out, at = append(out, linked{Text: id, Run: id}), m[1]
	}
	if at < len(sentence) {
		out = append(out, linked{Text: sentence[at:]})
	}
	return out
}
