package browser

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
)

// A developer finds a run again, and what came of it: by the filters, on the
// pages of its service, its host and its person, and in the statistics.
func TestHistory(t *testing.T) {
	f := newFixture(t)
	b := f.signedIn()
	run := f.Start(reason)
	for _, task := range run.Tasks {
		f.release(task)
	}
	f.Until(run.ID, restart.RunCompleted)

	b.visit("/runs")
	b.fill("#f-q", "WORKERS hang")
	b.press(".filter .search button")
	b.until("location.search.includes('WORKERS') && document.readyState === 'complete' && document.querySelectorAll('.runs tbody tr').length === 1")
	if open := eval[bool](b, "document.querySelector('.filter details').open"); open {
		t.Error("the other filters push what was found off a phone")
	}
	f.fits(b, "history")
	b.press(".filter summary")
	b.until("document.querySelector('#f-since').checkVisibility()")
	// A phone's own calendar gives days such as these, and no others.
	eval[string](b, "document.querySelector('#f-since').value = '2026-02-02'; document.querySelector('#f-until').value = '2026-01-01'")
	b.press(".filter details button")
	b.until("document.activeElement.id === 'f-until' && document.querySelector('#filter-until-wrong') !== null")
	if open := eval[bool](b, "document.querySelector('.filter details').open"); !open {
		t.Error("a narrowed list does not show its filters")
	}
	if kept := eval[string](b, "document.querySelector('#f-q').value + document.querySelector('#f-since').value + document.querySelector('#f-until').value"); kept != "WORKERS hang2026-02-022026-01-01" {
		t.Errorf("what was typed is %q now", kept)
	}
	f.fits(b, "history-wrong")

	b.visit("/services")
	f.fits(b, "services")
	b.press("a[href='/services/" + demo.ServiceName + "']")
	b.until("document.querySelector('h1').textContent === '" + demo.ServiceName + "' && document.querySelectorAll('.runs tbody tr').length === 1")
	f.fits(b, "service")
	if n := eval[int](b, "document.querySelectorAll('main img, main b, main script').length"); n != 0 {
		t.Errorf("%d elements of the page come from a reason", n)
	}
	b.visit("/hosts/" + run.Tasks[0].Host)
	b.until("document.querySelector('#agent .badge') !== null") // asked by itself
	f.fits(b, "machine")
	b.visit("/people/" + demo.Developer)
	f.fits(b, "person")

	b.visit("/statistics")
	b.until("document.querySelectorAll('svg.plot').length === 3")
	b.until("document.querySelector('#slowest p.quiet') !== null && document.querySelector('#reasons p.quiet') !== null") // asked for by themselves
	// A picture has a name and what it says, a pattern for each part, and a table.
	if told := eval[string](b, `[...document.querySelectorAll('svg.plot')].map(s => s.getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id).textContent).join(': ')).join('\n')`); !strings.Contains(told, "What was done: Bars over time: 1 restarts") {
		t.Errorf("the pictures say:\n%s", told)
	}
	if fills := eval[int](b, "new Set([...document.querySelectorAll('svg.plot > path[fill]')].map(p => getComputedStyle(p).fill)).size"); fills == 0 {
		t.Error("nothing is drawn")
	}
	b.press(".columns summary")
	b.until("document.querySelector('.columns table').checkVisibility()")
	f.fits(b, "statistics")
	b.quiet("status of 422")
}
