package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// Bounds of a replay, which somebody may send by mail.
const (
	maxStory    = 2000     // moments
	replayTail  = 32 << 10 // bytes of the output of a host that did not succeed
	replayShort = 4 << 10  // of another
)

// replay is a run as one file that needs no server: it tells what happened,
// when, on which host, and shows it again.
type replay struct {
	Lang      language
	Policy    string // of what the file may load and run: nothing but its own style and script
	Title     string
	Made      moment
	Run       runView
	Facts     facts
	Decisions []string
	Chart     chartView
	Story     []storyLine
	Cut       int // moments that are left out
	Hosts     []replayHost
}

// storyLine is a moment of a run.
type storyLine struct {
	At   moment
	Ms   int64 // after the start of the run
	Host string
	Text string
	Tone tone
	when time.Time
}

// replayHost is one host at the end of its run.
type replayHost struct {
	Host, State string
	Tone        tone
	Error       string
	Decision    string
	Phases      []phaseLine
	Output      []row
	Shown, Size int64
}

func (s *site) showReplay(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	details, err := s.cfg.Control.Details(v.Context(), v.actor, run.ID, maxCharted)
	if err != nil {
		return err
	}
	policy, err := s.replayPolicy()
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	b := newBoard(v.lang, run)
	r := replay{
		Lang: v.lang, Policy: policy, Title: b.title(run), Made: momentOf(now, now.AddDate(1, 0, 0)), Run: b.view(run, now), Facts: b.facts(run, now), Chart: b.chart(run, details, now),
	}
	r.Chart.Run = ""                                              // a file has no pages beside it
	r.Run.Created = momentOf(run.CreatedAt, now.AddDate(1, 0, 0)) // with its date: a file is read on any day
	r.Story, r.Cut = b.story(run, details, now)
	for _, t := range hostsOf(run)[:len(r.Chart.Rows)] {
		h, err := s.replayHost(v, t, details[t.ID], now)
		if err != nil {
			return err
		}
		r.Hosts = append(r.Hosts, h)
		if d := decisionOf(v.lang, t); d != "" {
			r.Decisions = append(r.Decisions, t.Host+": "+d+" – "+restart.Escape(t.Decision.Reason))
		}
	}
	var body bytes.Buffer
	if err := s.pages[v.lang][pageRun]().ExecuteTemplate(&body, "replay", r); err != nil {
		return fmt.Errorf("render a replay: %w", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="restartilka-`+run.ID+`.html"`) // it is not one of our pages
	reply(w, v, http.StatusOK, body.Bytes())
	return nil
}

func (s *site) replayHost(v *visit, t restart.Task, status protocol.TaskStatus, now time.Time) (replayHost, error) {
	h := replayHost{Host: t.Host, State: say(v.lang, "taskstate."+string(t.State)), Tone: toneOf(t), Error: said.In(v.lang, t.Error), Decision: decisionOf(v.lang, t)}
	for _, p := range status.Phases {
		line := phaseLineOf(v.lang, p, t.State, now)
		line.Ticking = false
		h.Phases = append(h.Phases, line)
	}
	if t.ID == "" || t.StartedAt == nil {
		return h, nil
	}
	most := replayTail
	if t.State == restart.TaskSucceeded {
		most = replayShort
	}
	var err error
	h.Output, h.Shown, h.Size, err = s.outputTail(v, t, most)
	return h, err
}

// story tells a run in the order of time, and how many moments it leaves out.
func (b *board) story(run restart.Run, details map[string]protocol.TaskStatus, now time.Time) (out []storyLine, cut int) {
	add := func(at time.Time, host, text string, tone tone) {
		out = append(out, storyLine{Host: host, Text: text, Tone: tone, when: at})
	}
	add(run.CreatedAt, "", say(b.lang, "story.asked", run.Actor)+": "+restart.Escape(run.Reason), toneWait)
	if a := run.Approval; a != nil && a.At != nil {
		x := approvalOf(b.lang, run, now)
		add(*a.At, "", strings.TrimSuffix(x.Text+" "+x.Reason, " "), toneHold)
	}
	if run.StartedAt != nil {
		add(*run.StartedAt, "", say(b.lang, "story.started"), toneNow)
	}
	for _, t := range run.Tasks {
		b.taskStory(t, details[t.ID], add)
	}
	if run.FinishedAt != nil {
		end := say(b.lang, "runstate."+string(run.State))
		if c := causeOf(b.lang, run); c != "" {
			end += ": " + c
		}
		add(*run.FinishedAt, "", end, toneOfRun(run.State))
	}
	slices.SortStableFunc(out, func(x, y storyLine) int { return x.when.Compare(y.when) })
	cut = max(len(out)-maxStory, 0)
	out = out[:len(out)-cut]
	start := run.CreatedAt
	if run.StartedAt != nil {
		start = *run.StartedAt
	}
	for i := range out {
		out[i].At, out[i].Ms = momentOf(out[i].when, out[i].when), max(out[i].when.Sub(start).Milliseconds(), 0)
	}
	return out, cut
}

// taskStory tells what happened on one host.
func (b *board) taskStory(t restart.Task, status protocol.TaskStatus, add func(time.Time, string, string, tone)) {
	for _, p := range status.Phases {
		add(p.StartedAt, t.Host, phaseName(b.lang, string(p.Phase)), toneNow)
	}
	if t.FinishedAt != nil {
		text := say(b.lang, "taskstate."+string(t.State))
		if t.Error != "" {
			text += ": " + said.In(b.lang, t.Error)
		}
		add(*t.FinishedAt, t.Host, text, toneOfTask(t.State))
	}
	if d := t.Decision; d != nil {
		add(d.At, t.Host, decisionOf(b.lang, t)+" – "+restart.Escape(d.Reason), toneHold)
	}
}

// policyOfReplay is the content security policy that a replay carries: by the
// hashes of its style and its script, which are the same in each.
func policyOfReplay(p pages) (string, error) {
	var b bytes.Buffer
	if err := p[english][pageRun]().ExecuteTemplate(&b, "replay", replay{Lang: english}); err != nil {
		return "", fmt.Errorf("render a replay: %w", err)
	}
	hash := func(element string) string {
		_, rest, _ := strings.Cut(b.String(), "<"+element+">")
		content, _, _ := strings.Cut(rest, "</"+element+">")
		sum := sha256.Sum256([]byte(content))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash("style") + "; script-src " + hash("script") + "; base-uri 'none'; form-action 'none'", nil
}
