package web

import (
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/said"
)

// language is one that the pages are written in.
type language = said.Language

const (
	english = said.English
	russian = said.Russian
)

// preferred gives the language that an Accept-Language header (RFC 9110,
// 12.5.4) likes best among ours; English where it names none of them.
func preferred(header string) language {
	best, bestWeight := english, 0.0
	for part := range strings.SplitSeq(header[:min(len(header), 1024)], ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			w, err := strconv.ParseFloat(q, 64)
			if err != nil || !(w >= 0 && w <= 1) { // not a number, too
				continue
			}
			weight = w
		}
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		for _, l := range said.Languages() {
			if primary == string(l) && weight > bestWeight {
				best, bestWeight = l, weight
			}
		}
	}
	return best
}
