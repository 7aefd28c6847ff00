package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// unrecorded are the forms that change nothing that others could see: how one's
// own browser shows things, and a plan, of which nothing comes until it is
// confirmed.
var unrecorded = []string{"POST /profile/display", "POST /start"}

// What is pressed on a page is on record, done or refused, whoever has pressed it.
func TestEveryFormIsOnRecord(t *testing.T) {
	f := newFixture(t)
	form := url.Values{
		"name": {"kate"}, "secret": {"wrong"}, "reason": {"nobody needs this one any more"}, "note": {"it was needed, and it helped"}, "id": {restart.NewID(f.site.cfg.Now())}, "days": {"30"}, "life": {"30"},
		"roles": {"viewer"}, "owner": {"kate"}, "verdict": {"happened"}, "code": {"00000-00000"}, "run": {restart.NewID(f.site.cfg.Now())}, "of": {"kate"},
		"old": {"x"}, "new": {"y"}, "service": {"nginx"}, "environments": {"production"}, "serial": {"1"}, "confirm": {"yes"}, "from": {""}, "to": {""},
	}
	var seen string
	recorded := func(actor string) (own []audit.Record) {
		for { // a page may have few records, or none, and not be the last
			before := seen
			records, next, err := f.store.AuditSearch(t.Context(), store.AuditFilter{Stored: true, After: before, Limit: 200})
			f.must(err)
			seen = next
			for _, r := range records {
				if r.Actor == actor {
					own = append(own, r)
				}
			}
			if next == before {
				return own
			}
		}
	}
	for name, roles := range map[string][]restart.Role{"vera": {restart.RoleViewer}, "root": {restart.RoleAdmin}} {
		walked := 0
		for pattern := range paths(f) {
			if !strings.HasPrefix(pattern, "POST ") || slices.Contains(unrecorded, pattern) {
				continue
			}
			cookie := f.signInAs(name, roles...)
			path := paths(f)[pattern] // of a run that nobody has asked anything of
			recorded("")
			walked++
			who := name
			if pattern == "POST /sign-in" {
				who = "kate"
			}
			res := f.post(path, form, "Cookie", cookie)
			if pattern == "POST /dumps" {
				res = f.upload(cookie, "x.txt", "no dump at all")
			}
			if records := recorded(who); len(records) == 0 {
				t.Errorf("%s as %s: %s is answered, and nothing recorded: %.200s", pattern, name, res.Status, problemOf(res))
			}
		}
		if walked < 30 {
			t.Errorf("only %d forms are walked", walked)
		}
	}
}

func problemOf(res answer) string {
	if res.StatusCode == http.StatusSeeOther {
		return res.Header.Get("Location")
	}
	_, text, _ := strings.Cut(res.body, "<main")
	return text
}
