package web

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// soonDays is from when on a page says that a scenario will expire.
const soonDays = 30

// versionLine is one version of a scenario in a list.
type versionLine struct {
	Name, Digest, Short, Author, Proposed, Why string
	Serial                                     int
	Tone                                       tone
	Standing                                   string
	Signed                                     string // "1 of 2"; "" where nothing must be signed
	LastDay                                    string // "" = it does not end
	Soon                                       bool
	Mine                                       bool
	All                                        string // address of all versions; "" = that is where it is shown
	At                                         moment
}

// problemLine is a file of the folder that is not used.
type problemLine struct{ File, Why string }

// toneOfStanding gives the tone of how a version stands.
func toneOfStanding(s string) tone {
	switch review.Standing(s) {
	case review.InForce:
		return toneDone
	case review.Waiting:
		return toneHold
	case review.Superseded:
		return toneSkip
	case review.Expired, review.Lost, review.Revoked, review.Withdrawn:
		return toneFail
	}
	return toneUnknown
}

func versionOf(l language, v wire.ScenarioVersion, now time.Time) versionLine {
	line := versionLine{
		Name: v.Name, Digest: v.Digest, Short: v.Digest[:min(12, len(v.Digest))], Serial: v.Serial, Author: restart.Escape(v.Author), Proposed: v.ProposedBy, Why: said.In(l, v.Why),
		Tone: toneOfStanding(v.Standing), Standing: say(l, "standing."+v.Standing), Mine: v.Mine, All: "/scenarios/" + v.Name, At: momentOf(v.ProposedAt, now),
	}
	if v.Standing == string(review.Waiting) {
		line.Why = "" // Signed says it
	}
	if v.Mine {
		line.Standing = say(l, "scenarios.mine")
	}
	if v.Quorum > 0 {
		line.Signed = say(l, "scenarios.signed", v.Good, v.Quorum)
	}
	if v.Expires != nil {
		line.LastDay = v.Expires.Add(-time.Nanosecond).UTC().Format(time.DateOnly)
		line.Soon = v.Standing == string(review.InForce) && v.Expires.Sub(now) <= soonDays*24*time.Hour
	}
	return line
}

// listScenarios shows one line a scenario: the version in force or, where none
// is, the newest.
func (s *site) listScenarios(w http.ResponseWriter, v *visit) error {
	list, err := s.cfg.Control.ScenarioVersions(v.Context(), v.actor, "")
	if err != nil {
		return err
	}
	problems, err := s.cfg.Control.ScenarioProblems(v.Context(), v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := scenariosPage{layout: s.layout(v, say(v.lang, "scenarios.title")), Signed: s.cfg.Control.ReviewSigned()}
	for _, p := range problems {
		page.Problems = append(page.Problems, problemLine{p.File, said.In(v.lang, p.Why)})
	}
	for from := 0; from < len(list); { // by name
		to := from
		chosen := list[from]
		for ; to < len(list) && list[to].Name == list[from].Name; to++ {
			if list[to].Standing == string(review.InForce) || list[to].Standing == string(review.Expired) {
				chosen = list[to]
			}
			if list[to].Standing == string(review.Waiting) {
				page.Waiting++
			}
		}
		from = to
		if line := versionOf(v.lang, chosen, now); line.Soon {
			page.Soon = append(page.Soon, line)
		} else {
			page.Scenarios = append(page.Scenarios, line)
		}
	}
	return s.show(w, v, http.StatusOK, pageScenarios, page)
}

// listVersions shows all versions of one scenario.
func (s *site) listVersions(w http.ResponseWriter, v *visit) error {
	name := v.PathValue("name")
	if restart.CheckDigest(name) == nil { // where a form was pressed, and somebody had to sign in
		http.Redirect(w, v.Request, "/scenarios/"+name+"/review", http.StatusSeeOther)
		return nil
	}
	if err := restart.CheckScenarioName(name); err != nil {
		return err
	}
	list, err := s.cfg.Control.ScenarioVersions(v.Context(), v.actor, name)
	if err != nil {
		return err
	}
	page := versionsPage{layout: s.layout(v, name), Name: name}
	for _, one := range list {
		line := versionOf(v.lang, one, s.cfg.Now())
		line.All = ""
		page.Versions = append(page.Versions, line)
	}
	return s.show(w, v, http.StatusOK, pageVersions, page)
}

// reviewQueue shows what waits for signatures, the reader's own first.
func (s *site) reviewQueue(w http.ResponseWriter, v *visit) error {
	list, err := s.cfg.Control.ScenarioVersions(v.Context(), v.actor, "")
	if err != nil {
		return err
	}
	page := queuePage{layout: s.layout(v, say(v.lang, "queue.title")), Signed: s.cfg.Control.ReviewSigned()}
	for _, one := range list {
		if one.Standing == string(review.Waiting) {
			page.Versions = append(page.Versions, versionOf(v.lang, one, s.cfg.Now()))
		}
	}
	slices.SortStableFunc(page.Versions, func(a, b versionLine) int {
		switch {
		case a.Mine == b.Mine:
			return strings.Compare(a.At.Machine, b.At.Machine)
		case a.Mine:
			return -1
		}
		return 1
	})
	return s.show(w, v, http.StatusOK, pageQueue, page)
}

// withdrawVersion ends a version.
func (s *site) withdrawVersion(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	_, err := s.cfg.Control.WithdrawScenario(v.Context(), v.actor, v.PathValue("digest"), v.PostForm.Get("reason"))
	if restart.FieldOf(err) != "" {
		again, err := refill(v, "withdraw", err)
		if err != nil {
			return err
		}
		return s.reviewAgain(w, v, http.StatusUnprocessableEntity, again)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/scenarios/"+v.PathValue("digest")+"/review", http.StatusSeeOther)
	return nil
}
