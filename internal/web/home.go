package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Bounds of what the first page lists.
const (
	homeRuns     = 10
	homePlanned  = 5
	homeLookBack = 20 // of one's own runs that are over, for hosts that are unknown still
)

// home is where people come in: what waits for them, what goes on, and a service
// to choose.
func (s *site) home(w http.ResponseWriter, v *visit) error {
	now := s.cfg.Now()
	page := homePage{layout: s.layout(v, say(v.lang, "home.title"))}
	list, err := s.cfg.Control.Approvals(v.Context(), v.actor)
	if err != nil {
		return err
	}
	for _, a := range list {
		if a.MayDecide && len(page.Approvals) < homeRuns {
			page.Approvals = append(page.Approvals, awaitingLineOf(v.lang, a, now))
		}
	}
	if err := s.homePlanned(v, &page, now); err != nil {
		return err
	}
	if err := s.homeRuns(v, &page, now); err != nil {
		return err
	}
	page.follow(v.URL.Query().Get("waits"))
	chooser, err := s.chooser(v, askingOf(nil, false), "")
	if err != nil {
		return err
	}
	page.Chooser, page.Scripts, page.Files = *chooser, true, []string{"start.js"}
	page.Reload = formReload
	return s.show(w, v, http.StatusOK, pageHome, page)
}

// follow makes the address to ask again, which names what waits as the reader
// has it before him. That part is never changed under his finger: News says that
// it is another by now.
func (p *homePage) follow(seen string) {
	sum := sha256.New()
	for _, a := range p.Approvals {
		io.WriteString(sum, a.ID+" ") //nolint:errcheck // a sum takes everything
	}
	for _, run := range slices.Concat(p.Mine, p.Others) {
		io.WriteString(sum, run.ID+run.State+" ") //nolint:errcheck // a sum takes everything
	}
	now := hex.EncodeToString(sum.Sum(nil)[:8])
	if seen == "" || url.QueryEscape(seen) != seen {
		seen = now
	}
	p.Poll, p.News = "/?waits="+seen, seen != now
}

// homePlanned lists what is planned next.
func (s *site) homePlanned(v *visit, page *homePage, now time.Time) error {
	next, err := s.cfg.Control.Planned(v.Context(), v.actor, false)
	for _, p := range next[:min(len(next), homePlanned)] {
		page.Planned = append(page.Planned, plannedEntryOf(v.lang, p, now))
	}
	return err
}

// homeRuns lists the reader's runs that wait for a person, and what goes on.
func (s *site) homeRuns(v *visit, page *homePage, now time.Time) error {
	runs := func(limit int, actor string, states ...restart.RunState) ([]restart.Run, string, error) {
		return s.cfg.Control.Runs(v.Context(), v.actor, store.RunFilter{Actor: actor, States: states, Limit: limit})
	}
	mine, _, err := runs(homeRuns, v.actor.Name, restart.RunPaused)
	if err != nil {
		return err
	}
	over, _, err := runs(homeLookBack, v.actor.Name, restart.RunFailed, restart.RunAborted)
	if err != nil {
		return err
	}
	for _, run := range over {
		if len(run.Undecided()) > 0 {
			mine = append(mine, run)
		}
	}
	for _, run := range mine {
		line := lineOf(v.lang, run, now)
		if run.State.Final() {
			line.Cause = count(v.lang, "home.unknown", len(run.Undecided()))
		}
		line.Own = true
		page.Mine = append(page.Mine, line)
	}
	asked, _, err := runs(homeRuns, v.actor.Name, restart.RunAwaitingApproval)
	if err != nil {
		return err
	}
	for _, run := range asked {
		line := lineOf(v.lang, run, now)
		line.Own = true
		page.Others = append(page.Others, line)
	}
	going, next, err := runs(homeRuns, "", restart.RunRunning, restart.RunQueued)
	for _, run := range going {
		line := lineOf(v.lang, run, now)
		line.Own = run.Actor == v.actor.Name
		page.Now = append(page.Now, line)
	}
	page.More = next != ""
	return err
}

// part renders a piece of a page, for a page that has the rest.
func (s *site) part(w http.ResponseWriter, v *visit, page, name string, data any) error {
	var b bytes.Buffer
	if err := s.pages[v.lang][page]().ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("render %s of %s: %w", name, page, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes()) //nolint:errcheck // the reader has gone
	return nil
}
