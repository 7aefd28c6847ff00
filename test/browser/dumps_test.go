package browser

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// pastDumps writes thread dumps of some runs: of one that took them on all hosts
// of checkout, of which one is well, and the evidence of a restart.
func (s *shop) pastDumps(now time.Time) {
	at := now.Truncate(time.Second).Add(-20 * time.Minute)
	s.was(was{name: "dumped", service: checkout, kind: restart.KindThreadDump, by: developer, ago: 20 * time.Minute, took: 15 * time.Second, reason: "checkout hangs, customers wait for the basket", state: restart.RunCompleted}, now)
	for i, t := range s.runs["dumped"].Tasks {
		illness := apitest.PoolIsEmpty
		if i == 2 {
			illness = apitest.Healthy
		}
		ids := s.series("dumped", t, illness, protocol.DumpRun, 0, at, 3, 200)
		if i == 0 {
			s.dumps["first"], s.dumps["pool"] = ids[0], ids[2]
		}
	}
	s.was(was{name: "evidence", service: "catalogue", by: developer, ago: 5 * time.Hour, took: 2 * time.Minute, reason: "pictures are not saved, orders hang", state: restart.RunCompleted}, now)
	at = now.Truncate(time.Second).Add(-5 * time.Hour)
	for i, t := range s.runs["evidence"].Tasks {
		illness, name := apitest.OneLock, "lock"
		if i == 1 {
			illness, name = apitest.Circle, "circle"
		}
		s.dumps[name] = s.series("evidence", t, illness, protocol.DumpEvidence, 0, at, 1, 60)[0]
		after := s.series("evidence", t, apitest.Healthy, protocol.DumpAfter, 1, at.Add(time.Minute), 1, 60)[0]
		if i == 0 {
			s.dumps["before"], s.dumps["after"] = s.dumps[name], after
		}
	}
}

// A file is dropped onto the list of dumps: what it says comes at once; the way
// goes from the verdict to its threads, to one of them, and to who holds the lock
// that it waits for.
func (f *fixture) dropped() {
	b := f.signedIn()
	b.visit("/dumps")
	text, err := json.Marshal(apitest.JVM{Illness: apitest.OneLock, Workers: 60, Taken: time.Now(), Named: "<img src=x onerror=alert(1)>"}.Text())
	must(f.t, err)
	eval[bool](b, `(() => {
		const files = new DataTransfer();
		files.items.add(new File([`+string(text)+`], "stack <b>.txt", {type: "text/plain"}));
		const send = (name) => document.body.dispatchEvent(new DragEvent(name, {dataTransfer: files, bubbles: true, cancelable: true}));
		send("dragenter");
		const shown = document.querySelector("#upload .dropping").checkVisibility();
		send("drop");
		return shown;
	})()`)
	b.until("location.pathname.startsWith('/dumps/') && document.readyState === 'complete' && document.querySelector('.verdict .said').textContent.startsWith('49 of 69 threads wait for http-nio-8080-exec-17')")
	f.fits(b, "dropped")
	b.press(".verdict a")
	b.until("document.querySelectorAll('.threads tbody tr').length === 49")
	b.press(".threads tbody tr:first-child th a")
	b.until("document.querySelector('.onethread .callout') !== null")
	b.press(".onethread .callout a")
	b.until("document.querySelector('#thread-title').textContent === 'http-nio-8080-exec-17'")
	b.visit(eval[string](b, "document.querySelector('.tabs a:nth-child(4)').getAttribute('href')"))
	// A bar reaches beyond what is seen of it: what is below the pointer counts.
	eval[bool](b, `(() => {
		const at = document.querySelector("svg.flame").getBoundingClientRect();
		return document.elementFromPoint(at.left + at.width / 3, at.top + 2.5 * 19).closest("a").dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
	})()`)
	b.until("location.search.includes('at=') && document.querySelector('.trail') !== null")
	b.quiet()
}

// series stores dumps of one task, and gives their ids in order.
func (s *shop) series(run string, t restart.Task, illness apitest.Illness, when protocol.DumpWhen, from int, at time.Time, n, workers int) (ids []string) {
	s.t.Helper()
	var texts []apitest.JVM
	for i := range n {
		texts = append(texts, apitest.JVM{Illness: illness, Workers: workers, Taken: at.Add(time.Duration(i) * 5 * time.Second), Number: i, Named: "mirror <b>of</b> prices"})
	}
	must(s.t, apitest.KeepDumps(s.t.Context(), s.store, s.runs[run], t, when, from, texts...))
	list, _, err := s.store.Dumps(s.t.Context(), store.DumpFilter{Task: t.ID})
	must(s.t, err)
	for _, d := range slices.Backward(list) { // the newest comes first
		if d.Place > from {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func ofDump(name, more string) func(*shop) string {
	return func(s *shop) string { return "/dumps/" + s.dumps[name] + more }
}

var dumpPlaces = []place{
	{name: "dumps", as: developer, path: at("/dumps")},
	{name: "dumps-empty", as: approver, path: at("/dumps?service=mail-out")},
	{name: "dump", as: developer, path: ofDump("pool", "")},
	{name: "dump-open", as: developer, path: ofDump("pool", ""), open: ".stacks summary"},
	{name: "dump-locked", as: developer, path: ofDump("lock", "")},
	{name: "dump-threads", as: developer, path: ofDump("pool", "/threads?name=exec&state=timed-waiting")},
	{name: "dump-thread", as: developer, path: ofDump("lock", "/threads/17")},
	{name: "dump-locks", as: developer, path: ofDump("lock", "/locks")},
	{name: "dump-deadlock", as: developer, path: ofDump("circle", "/locks")},
	{name: "dump-flame", as: developer, path: ofDump("pool", "/flame")},
	{name: "dump-text", as: developer, path: ofDump("pool", "/text?line=20&to=32")},
	{name: "dump-compare", as: developer, path: func(s *shop) string { return "/dumps/" + s.dumps["before"] + "/compare/" + s.dumps["after"] }},
	{name: "run-dumped", as: developer, path: ofRun("dumped", "")},
	{name: "run-dumps", as: developer, path: ofRun("dumped", "/dumps")},
	{name: "run-evidence", as: developer, path: ofRun("evidence", "/dumps")},
}
