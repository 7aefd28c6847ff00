package web

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/story"
)

// storyPage tells a run as its records do.
type storyPage struct {
	layout
	Run, Service, Environment string
	Actor, Origin, Reason     string
	Asked, Started, Ended     *moment
	Outcome, Why, Digest      string
	Tone                      tone
	Took                      time.Duration
	Params                    []memberLine
	Findings                  []toldFinding
	Hosts                     []toldHost
	Lines                     []toldLine
	More                      bool // only the beginning is told
	File                      string
}

type (
	toldFinding struct {
		Tone tone
		Text string
	}
	toldHost struct {
		Name, Outcome, Detail string
		Tone                  tone
		Attempts              int
		Took                  time.Duration
	}
	toldLine struct {
		auditLine
		Place       string // source/epoch/number
		Pause, Took time.Duration
		Attempt     int
	}
)

func (s *site) showStory(w http.ResponseWriter, v *visit) error {
	entries, more, err := s.cfg.Control.RunRecords(v.Context(), v.actor, v.PathValue("id"))
	if err != nil {
		return err
	}
	records := make([]audit.Record, len(entries))
	for i, e := range entries {
		records[i] = e.Record
	}
	told, now := story.Of(records), s.cfg.Now()
	page := storyPage{
		layout: s.layout(v, say(v.lang, "recorded.title")), Run: v.PathValue("id"), Service: restart.Escape(told.Service), Environment: restart.Escape(told.Environment),
		Actor: restart.Escape(told.Actor), Origin: restart.Escape(told.Origin), Reason: restart.Escape(told.Reason), Digest: restart.Escape(told.Digest), Why: said.In(v.lang, told.Why),
		Asked: lined(told.Asked, now), Started: lined(told.Started, now), Ended: lined(told.Ended, now), More: more, File: "/audit.jsonl?run=" + v.PathValue("id"),
	}
	if told.Outcome != "" {
		page.Tone, page.Outcome, _ = outcomeOf(v.lang, audit.Record{Action: audit.RunEnded, Outcome: told.Outcome})
		if !told.Started.IsZero() {
			page.Took = told.Ended.Sub(told.Started)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(told.Params)) {
		page.Params = append(page.Params, memberLine{Name: known(v.lang, "recordedparam."+name, name), Value: restart.Escape(told.Params[name])})
	}
	for _, f := range told.Findings {
		line := toldFinding{toneWarn, restart.Escape(f.In(string(v.lang)))}
		if f.Good {
			line.Tone = toneDone
		}
		page.Findings = append(page.Findings, line)
	}
	for _, h := range told.Hosts {
		page.Hosts = append(page.Hosts, toldHostOf(v.lang, h))
	}
	for _, x := range told.Lines {
		line := toldLine{auditLine: auditLineOf(v.lang, entries[x.Place], now), Place: story.Place(x.Record), Pause: x.Pause, Took: x.Took, Attempt: x.Attempt}
		line.Reason = restart.Escape(x.Said)
		if x.Seq == 0 {
			line.Place = say(v.lang, "audit.unplaced")
		}
		page.Lines = append(page.Lines, line)
	}
	return s.show(w, v, http.StatusOK, pageAuditStory, page)
}

func toldHostOf(l language, h story.Host) toldHost {
	out := toldHost{Name: restart.Escape(h.Name), Detail: said.In(l, shorten(h.Detail, mostDetail)), Attempts: h.Attempts, Took: h.Took, Tone: toneWarn, Outcome: say(l, "recorded.open")}
	if h.Outcome != "" {
		out.Tone, out.Outcome, _ = outcomeOf(l, audit.Record{Action: audit.TaskOutcome, Outcome: h.Outcome})
	}
	return out
}
