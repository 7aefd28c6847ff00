package audit

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// The most bytes that a text takes in the JSON, quotes not counted. Together
// they leave at least 1 KiB for the detail.
const (
	maxText   = 128
	maxHost   = 256
	maxReason = 3000 // 500 characters, all escaped: what restart.CheckReason accepts is never cut
	maxParams = 1024 // the whole object
	placeSize = 512  // what Link adds: source, epoch, seq and two hashes
)

// Clean makes a record fit to be written: the time in UTC and whole
// microseconds; text that is not printable escaped as restart.Escape does, so
// that no value can forge a line or turn a terminal, whoever prints it later;
// lengths bounded so that the linked record has at most MaxSize bytes. What is
// cut off leaves its length and SHA-256 behind, so that the whole text, where
// it is kept elsewhere, can be proved. Cleaning twice is cleaning once.
func (r *Record) Clean() {
	if !r.Time.IsZero() {
		r.Time = r.Time.UTC().Truncate(time.Microsecond)
	}
	r.Attempt = max(r.Attempt, 0)
	for _, text := range []*string{
		&r.Actor, &r.Origin, (*string)(&r.Action), &r.Run, &r.Task, &r.Service, &r.Environment, &r.ScenarioDigest, &r.Outcome,
	} {
		*text = shorten(restart.Escape(*text), maxText)
	}
	r.Host = shorten(restart.Escape(r.Host), maxHost)
	r.Reason = shorten(restart.Escape(r.Reason), maxReason)
	r.Params = cleanParams(r.Params)

	rest := *r
	rest.Detail, rest.Source, rest.PrevHash, rest.Hash, rest.Epoch, rest.Seq = "", "", "", "", 0, 0
	r.Detail = shorten(restart.Escape(r.Detail), MaxSize-placeSize-len(rest.Canonical()))
}

// cleanParams returns a cleaned copy. Parameters over the bound are replaced,
// from the end of the alphabet, by one entry that counts and proves them.
func cleanParams(params map[string]string) map[string]string {
	if len(params) == 0 {
		return nil
	}
	clean := make(map[string]string, len(params))
	for _, name := range slices.Sorted(maps.Keys(params)) {
		clean[restart.Escape(name)] = restart.Escape(params[name])
	}
	if paramsSize(clean) <= maxParams {
		return clean
	}
	const mark = "…" // sorts behind every name that restart.CheckParamName accepts
	whole := (&Record{Params: clean}).Canonical()
	kept := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(clean)) {
		kept[name] = clean[name]
		if paramsSize(kept) > maxParams-maxText {
			delete(kept, name)
			break
		}
	}
	kept[mark] = fmt.Sprintf("%d more, sha256 of all %x", len(clean)-len(kept), sha256.Sum256(whole))
	return kept
}

func paramsSize(params map[string]string) int {
	return len((&Record{Params: params}).Canonical())
}

// shorten cuts s so that it takes at most the given number of bytes in the
// JSON, and says how much was cut and the SHA-256 of the whole.
func shorten(s string, most int) string {
	if jsonSize(s) <= most {
		return s
	}
	end := fmt.Sprintf("… (%d bytes in all, sha256 %x)", len(s), sha256.Sum256([]byte(s)))
	size, cut := len(end), 0
	for i, c := range s {
		size += jsonSize(string(c))
		if size > most {
			break
		}
		cut = i + len(string(c))
	}
	return s[:cut] + end
}

// jsonSize is the number of bytes of s as a JSON string, quotes not counted.
func jsonSize(s string) int { return len(appendText(nil, s)) - 2 }
