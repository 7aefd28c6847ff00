package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// entry is what one line of a stored trail is, without a look at the others.
type entry struct {
	line   int64 // in its input
	kind   entryKind
	torn   bool   // a piece of a line stands before it
	why    string // of entryBad and entryNewer, for people
	intact bool   // the hash is that of the contents

	source     string
	place      place
	prev, hash digest
	micros     int64  // its time, since 1970
	action     Action // only those that tell whether the source was alive; "" = another
	fromHost   bool   // a host has told of it: its time is the host's
	record     *Record
}

type entryKind byte

const (
	entryRecord  entryKind = iota
	entryForeign           // a line of another program
	entryBad               // could have been a record, and is none
	entryNewer             // an intact record with a member that this program does not know
)

// judge tells what lines are. Each worker has one.
type judge struct {
	sources map[string]string // that are good, so that each is kept once
	actions map[string]Action // that matter here
}

// heeded are the actions that tell whether a source was alive, and who signs.
var heeded = []Action{AuditSealed, AuditKeyChanged, ServerStarted, ServerStopped}

func (j *judge) block(b *block) {
	if len(j.actions) == 0 {
		for _, a := range heeded {
			j.actions[string(a)] = a
		}
	}
	number := b.first
	for rest := b.text; len(rest) > 0; number++ {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		e := j.line(line)
		e.line = number
		if e.kind == entryBad && len(line) > maxLine {
			b.torn = false // that is said enough
		}
		b.entries = append(b.entries, e)
	}
}

var recordBegins = []byte(`{"source":`)

// line takes one line apart. Lines of other programs in a file of rsyslog's
// are passed over; a line that could ever have been ours has to be a record.
func (j *judge) line(line []byte) entry {
	if len(line) > maxLine {
		return entry{kind: entryBad, why: tooLong}
	}
	start := bytes.Index(line, recordBegins)
	if start < 0 {
		prefix, _, _ := bytes.Cut(line, []byte("{"))
		if len(bytes.TrimSpace(prefix)) > 0 && !bytes.Contains(prefix, []byte(appName)) {
			return entry{kind: entryForeign}
		}
		return entry{kind: entryBad, why: "this is not a record"}
	}
	e, err := j.record(line[start:])
	if err != nil {
		// A receiver that was killed left a piece of a line, and went on behind
		// it. The piece was not acknowledged: its record must come again.
		if again := bytes.LastIndex(line, recordBegins); again > start {
			if whole, wholeErr := j.record(line[again:]); wholeErr == nil {
				e, err = whole, nil
				e.torn = true
			}
		}
	}
	if err != nil {
		return entry{kind: entryBad, why: "this is not a record as it was written: " + restart.Escape(err.Error())}
	}
	return e
}

var tooLong = fmt.Sprintf("the line has more than %d bytes", maxLine)

var errNoPlace = errors.New("it has no place in the trail")

// record reads one record.
func (j *judge) record(text []byte) (entry, error) {
	s, ok := scan(text)
	if !ok {
		_, err := Decode(text)
		if newer, ok := j.newer(text); ok {
			return newer, nil
		}
		if err == nil {
			err = errNotCanonical // scan and Decode are of one opinion
		}
		return entry{}, err
	}
	e, err := j.entry(&s)
	if err != nil {
		return entry{}, err
	}
	if s.hashAt > 0 {
		sum := sumWithout(text, s.hashAt)
		e.intact = e.hash == digest{sum: sum, kind: isDigest}
	}
	if e.action == AuditSealed || e.action == AuditKeyChanged {
		r, err := Decode(text)
		if err != nil {
			return entry{}, err
		}
		e.record = &r
	}
	return e, nil
}

func (j *judge) entry(s *scanned) (entry, error) {
	source, known := j.sources[string(s.source)]
	if !known {
		source = string(s.source)
		if err := checkAnySource(source); err != nil {
			return entry{}, err
		}
		if len(j.sources) < 2*maxSources {
			j.sources[source] = source
		}
	}
	if s.epoch < 1 || s.seq < 1 {
		return entry{}, errNoPlace
	}
	return entry{
		source: source, place: place{s.epoch, s.seq}, prev: digestOf(s.prev), hash: digestOf(s.hash),
		micros: s.micros, action: j.actions[string(s.action)], fromHost: string(s.origin) == restart.ViaHost,
	}, nil
}

// newer reads a record that has members which this program does not know. Its
// hash vouches for its bytes, whatever they mean.
func (j *judge) newer(text []byte) (entry, bool) {
	hashAt := bytes.LastIndex(text, []byte(`,"hash":"`))
	var has map[string]json.RawMessage
	if hashAt < 0 || json.Unmarshal(text, &has) != nil {
		return entry{}, false
	}
	unknown := ""
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if !slices.Contains(members[:], name) {
			unknown = name
			break
		}
	}
	var w struct {
		Source string `json:"source"`
		Epoch  int64  `json:"epoch"`
		Seq    int64  `json:"seq"`
		Prev   string `json:"prev_hash"`
		Time   string `json:"time_utc"`
		Hash   string `json:"hash"`
	}
	sum := sumWithout(text, hashAt)
	if unknown == "" || json.Unmarshal(text, &w) != nil || w.Hash != hex.EncodeToString(sum[:]) || !bytes.HasSuffix(text, []byte(`,"hash":"`+w.Hash+`"}`)) {
		return entry{}, false
	}
	s := scanned{source: []byte(w.Source), epoch: w.Epoch, seq: w.Seq, prev: []byte(w.Prev), hash: []byte(w.Hash)}
	s.micros, _ = scanTime([]byte(`"` + w.Time + `"`))
	e, err := j.entry(&s)
	if err != nil {
		return entry{}, false
	}
	e.kind, e.intact = entryNewer, true
	e.why = fmt.Sprintf("it has the member %s, which this version does not know: a newer restartilka wrote it, and can verify it", restart.Quote(unknown))
	return e, true
}
