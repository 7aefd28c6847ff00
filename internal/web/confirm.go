package web

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// namesShown bounds the hosts that the second step names.
const namesShown = 20

// startRun starts a draft over the hosts that are ticked. Where it changes a
// service in production a second step wants the service's name; a plan that is
// not true any more is made anew and shown with the difference.
func (s *site) startRun(w http.ResponseWriter, v *visit) error {
	if err := readForm(w, v, maxPressed); err != nil {
		return err
	}
	run, err := s.run(v)
	if err != nil {
		return err
	}
	form := v.PostForm
	req, err := startOf(form)
	if err != nil {
		return err
	}
	waits := run.State == restart.RunDraft && run.Plan != nil && run.Actor == v.actor.Name // else control says what is the matter
	if waits && form.Has("ticked") {
		d := drawing{run: run, ticked: set(form["hosts"])}
		hosts := d.chosen()
		if len(hosts) == 0 {
			d.sent = refuse(form, "plan", control.FieldHosts, say(v.lang, "plan.none"))
			return s.drawPlan(w, v, http.StatusUnprocessableEntity, d)
		}
		req.Hosts = unlessAll(hosts, *run.Plan)
	}
	second := false
	if waits {
		if second, err = s.second(v, run); err != nil {
			return err
		}
	}
	if typed := strings.TrimSpace(form.Get("typed")); second && typed != run.Service {
		if at := confirmURL(run, req); !form.Has("typed") && len(at) <= longestURL {
			http.Redirect(w, v.Request, at, http.StatusSeeOther)
			return nil
		}
		return s.confirm(w, v, run, req)
	}
	started, err := s.cfg.Control.Start(v.Context(), v.actor, run.ID, req)
	if restart.CodeOf(err) == restart.CodePlanChanged && waits {
		now, again := s.cfg.Control.Again(v.Context(), v.actor, run.ID, req.Hosts)
		if again != nil {
			return s.planAgain(w, v, again)
		}
		http.Redirect(w, v.Request, "/runs/"+now.ID+"?instead="+run.ID, http.StatusSeeOther)
		return nil
	}
	if err != nil {
		return s.planAgain(w, v, err)
	}
	http.Redirect(w, v.Request, "/runs/"+started.ID, http.StatusSeeOther)
	return nil
}

// second tells whether a draft takes a second step, and nothing keeps it from
// that.
func (s *site) second(v *visit, run restart.Run) (bool, error) {
	if !s.cfg.Control.Deliberate(v.Context(), run) || s.cfg.Control.MayStart(v.Context(), v.actor, run) != nil {
		return false, nil
	}
	frozen, err := s.cfg.Control.FreezeOn(v.Context(), v.actor, run)
	return frozen == nil, err
}

// longestURL bounds an address in bytes, as proxies do. A choice of hosts that
// takes more is answered at once, without an address of its own.
const longestURL = 4 << 10

// confirmURL is the address of the second step. The hosts stand in it by their
// places in the plan, which a draft never changes.
func confirmURL(run restart.Run, req wire.StartRequest) string {
	q := url.Values{"version": {strconv.FormatInt(req.Version, 10)}}
	if len(req.Hosts) > 0 {
		q.Set("only", placesIn(*run.Plan, req.Hosts))
	}
	return "/runs/" + run.ID + "/confirm?" + q.Encode()
}

// placesIn writes the places of hosts among those that a plan was asked for,
// such as 1-3,7.
func placesIn(plan restart.Plan, hosts []string) string {
	named := set(hosts)
	var out []string
	first := 0
	asked := plan.Asked()
	for i := 1; i <= len(asked)+1; i++ {
		in := i <= len(asked) && named[asked[i-1].Name]
		switch {
		case in && first == 0:
			first = i
		case !in && first == i-1 && first != 0:
			out, first = append(out, strconv.Itoa(first)), 0
		case !in && first != 0:
			out, first = append(out, fmt.Sprintf("%d-%d", first, i-1)), 0
		}
	}
	return strings.Join(out, ",")
}

// hostsAt reads what placesIn has written; an error names what is none of it.
func hostsAt(plan restart.Plan, text string) ([]string, error) {
	var out []string
	asked := plan.Asked()
	place := func(text string) (int, bool) {
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= 1 && n <= len(asked)
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, several := strings.Cut(part, "-")
		if !several {
			to = from
		}
		first, ok := place(from)
		last, also := place(to)
		if !ok || !also || last < first || len(out)+last-first >= len(asked) {
			return nil, restart.Errorf(restart.CodeInvalid, "%s names no hosts of the plan", restart.Quote(text))
		}
		for _, h := range asked[first-1 : last] {
			out = append(out, h.Name)
		}
	}
	return out, nil
}

// confirmForm shows the second step at an address of its own, which a browser
// may load again. It changes nothing.
func (s *site) confirmForm(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	waits := run.State == restart.RunDraft && run.Plan != nil && run.Actor == v.actor.Name
	second := false
	if waits {
		if second, err = s.second(v, run); err != nil {
			return err
		}
	}
	if !second {
		http.Redirect(w, v.Request, "/runs/"+run.ID, http.StatusSeeOther) // which says what is the matter
		return nil
	}
	q := v.URL.Query()
	req, err := startOf(q)
	if err == nil && q.Get("only") != "" {
		req.Hosts, err = hostsAt(*run.Plan, q.Get("only"))
	}
	if err != nil {
		return err
	}
	return s.confirm(w, v, run, req)
}

// startOf reads the version of the plan that was looked at.
func startOf(form url.Values) (wire.StartRequest, error) {
	var req wire.StartRequest
	text := form.Get("version")
	if text == "" {
		return req, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return req, restart.Errorf(restart.CodeInvalid, "%s is no version of a run", restart.Quote(text))
	}
	req.Version = n
	return req, nil
}

// unlessAll gives the hosts, or none where they are those that the plan chooses.
func unlessAll(hosts []string, plan restart.Plan) []string {
	var chosen []string
	for _, h := range plan.Chosen() {
		chosen = append(chosen, h.Name)
	}
	if maps.Equal(set(hosts), set(chosen)) {
		return nil
	}
	return hosts
}

// confirm shows the second step: what will happen, once more and in numbers.
func (s *site) confirm(w http.ResponseWriter, v *visit, run restart.Run, req wire.StartRequest) error {
	plan, err := s.cfg.Control.WouldStart(v.Context(), v.actor, run, req)
	switch {
	case restart.CodeOf(err) == restart.CodePlanChanged:
		plan = *run.Plan // the start itself makes it anew
	case err != nil:
		return s.planAgain(w, v, err)
	}
	chosen := plan.Chosen()
	page := confirmPage{
		layout: s.layout(v, say(v.lang, "confirm.title")), ID: run.ID, Service: run.Service, Environment: run.Environment, Heading: heading(v.lang, run),
		Reason: restart.Escape(run.Reason), Ticked: req.Hosts, Only: placesIn(*run.Plan, req.Hosts), More: max(len(chosen)-namesShown, 0), LeftOut: len(plan.Asked()) - len(chosen),
		Version: run.Version,
	}
	now := s.cfg.Now()
	page.Approval, page.Rule = s.approvalAsked(v, run, now)
	if page.Warnings, err = s.warnings(v, run, plan, now); err != nil {
		return err
	}
	for _, h := range chosen[:min(len(chosen), namesShown)] {
		page.Hosts = append(page.Hosts, h.Name)
	}
	if page.Numbers, err = s.numbers(v, run, plan); err != nil {
		return err
	}
	page.Button, _ = buttonOf(v.lang, run, len(chosen), page.Approval != nil)
	status := http.StatusOK
	if v.PostForm.Has("typed") { // something else than the name
		page.Sent, status = refuse(v.PostForm, "confirm", "typed", say(v.lang, "confirm.failed")), http.StatusUnprocessableEntity
	}
	return s.show(w, v, status, pageConfirm, page)
}

// placeNotes says of a place what stands in the way there, with what to do.
func placeNotes(l language, p control.Place) []noteLine {
	var out []noteLine
	if e := personalOf(p.Refused); e != nil {
		out = append(out, noteLine{Tone: toneFail, Text: said.In(l, e.Message), Hint: hintWords(l, e.Hint)})
	}
	if p.Frozen != nil {
		out = append(out, noteLine{Tone: toneHold, Text: say(l, "start.frozen", exact(p.Frozen.Ends), restart.Escape(p.Frozen.Reason))})
	}
	if p.Held != nil {
		out = append(out, noteLine{Tone: toneNow, Text: say(l, "start.held", restart.Escape(p.Held.Actor), exact(p.Held.Since))})
	}
	return out
}
