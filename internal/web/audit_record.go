package web

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// recordPage is one record with all that is in it.
type recordPage struct {
	layout
	Line           auditLine
	Members        []memberLine
	Hash           string
	Fits           bool // the hash is that of these bytes
	Follows        link // the record before, in its chain
	FollowsGood    bool // whose hash it holds
	First          bool // of its chain
	Previous, Next string
	Way            []recordWay
	Bytes          string
}

// memberLine is one member of a record, by its name in the format.
type memberLine struct{ Name, Value, URL string }

// recordWay tells whether one place outside has a record.
type recordWay struct {
	Place, Level, State string
	Tone                tone
}

// link is an address with a text.
type link struct{ URL, Text string }

func recordURL(id int64) string { return "/audit/records/" + strconv.FormatInt(id, 10) }

func (s *site) showRecord(w http.ResponseWriter, v *visit) error {
	id, err := strconv.ParseInt(v.PathValue("number"), 10, 64)
	if err != nil || id < 1 {
		return restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "auditrecord.none", v.lang.Quote(v.PathValue("number"))))
	}
	r, err := s.cfg.Control.AuditRecord(v.Context(), v.actor, id)
	if err != nil {
		return err
	}
	page := recordPage{
		Line: auditLineOf(v.lang, r.AuditEntry, s.cfg.Now()), Members: membersOf(r.Record), Hash: r.Hash, Fits: r.Intact(), First: r.Seq == 1, Way: recordWays(v.lang, r),
		Bytes: string(r.Canonical()),
	}
	page.layout = s.layout(v, page.Line.Phrase)
	if before := r.Previous; before != nil {
		page.Previous = recordURL(before.ID)
		page.Follows, page.FollowsGood = link{page.Previous, strconv.FormatInt(before.Seq, 10)}, before.Hash == r.PrevHash
	}
	if r.Next != nil {
		page.Next = recordURL(r.Next.ID)
	}
	return s.show(w, v, http.StatusOK, pageAuditRecord, page)
}

// membersOf gives what a record has, in the order of its bytes. What links where
// is what the product itself has put there.
func membersOf(r audit.Record) (out []memberLine) {
	add := func(name, value, url string) {
		if value != "" {
			out = append(out, memberLine{name, restart.Escape(value), url})
		}
	}
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	at := func(ok error, path string) string {
		if ok != nil {
			return ""
		}
		return path
	}
	add("source", r.Source, "")
	add("epoch", number(r.Epoch), "")
	add("seq", number(r.Seq), "")
	add("prev_hash", r.PrevHash, "")
	add("time_utc", r.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), "")
	add("actor", r.Actor, at(restart.CheckPerson(r.Actor), "/people/"+r.Actor))
	add("origin", r.Origin, "")
	add("action", string(r.Action), "")
	add("run", r.Run, at(restart.CheckID(r.Run), "/audit/runs/"+r.Run))
	add("task", r.Task, "")
	add("attempt", number(int64(r.Attempt)), "")
	add("service", r.Service, at(restart.CheckServiceName(r.Service), "/services/"+r.Service))
	add("environment", r.Environment, "")
	add("host", r.Host, at(restart.CheckHost(r.Host), "/hosts/"+r.Host))
	add("scenario_digest", r.ScenarioDigest, at(restart.CheckDigest(r.ScenarioDigest), "/scenarios/"+r.ScenarioDigest+"/review"))
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		out = append(out, memberLine{"params." + restart.Escape(name), restart.Escape(r.Params[name]), ""})
	}
	add("reason", r.Reason, "")
	add("outcome", r.Outcome, "")
	add("detail", r.Detail, "")
	return out
}

func recordWays(l language, r control.AuditRecord) (out []recordWay) {
	for _, x := range r.Way {
		line := recordWay{Place: restart.Escape(x.Sink), State: say(l, "auditrecord.waits"), Tone: toneHold}
		if x.Level != "" {
			line.Level = say(l, "auditlevel."+string(x.Level))
		}
		if x.Settled {
			line.State, line.Tone = say(l, "auditrecord.has"), toneDone
		}
		out = append(out, line)
	}
	return out
}
