package web

import (
	"regexp"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// browsers are what a User-Agent header may name, in the order in which they
// are to be looked for: each names those after it too.
var browsers = []struct {
	name    string
	version *regexp.Regexp
}{
	{"Edge", regexp.MustCompile(`Edg[A-Za-z]*/([0-9]{1,4})`)},
	{"Opera", regexp.MustCompile(`OPR/([0-9]{1,4})`)},
	{"Firefox", regexp.MustCompile(`(?:Firefox|FxiOS)/([0-9]{1,4})`)},
	{"Chrome", regexp.MustCompile(`(?:Chrome|CriOS)/([0-9]{1,4})`)},
	{"Safari", regexp.MustCompile(`Version/([0-9]{1,4})[^ ]* (?:Mobile/[^ ]* )?Safari/`)},
}

// systems are in the order in which they are to be looked for, too.
var systems = []struct{ word, name string }{
	{"Android", "Android"}, {"iPhone", "iOS"}, {"iPad", "iOS"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
}

// browserName gives a User-Agent header as people would say it; what it does
// not know is shown as it came, escaped.
func browserName(header string) string {
	for _, b := range browsers {
		m := b.version.FindStringSubmatch(header)
		if m == nil {
			continue
		}
		name := b.name + " " + m[1]
		for _, s := range systems {
			if strings.Contains(header, s.word) {
				return name + ", " + s.name
			}
		}
		return name
	}
	return restart.Escape(header)
}
