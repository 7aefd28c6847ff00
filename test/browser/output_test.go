package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
)

// printed is how many lines the script of talking prints before its gate.
const printed = 300_000

// talking is a scenario whose script prints very much, and then waits.
func (f *fixture) talking(*company.Company) (name, content string) {
	return "talking", fmt.Sprintf(`format: 1
name: talking
serial: 1
author: test@restartilka.invalid
kind: restart
services: [%s]
description: Prints very much, and waits for its gate
strategy: {batches: [1], task_timeout: 60s}
steps:
  run:
    script: |
      seq -f "%%08.0f worker answered in time, nothing to see" %[3]d
      printf '\033[31mneedle\033[0m <script>alert(1)</script> \033[2J\033]0;owned\007 \342\200\256gnp.exe\n'
      while [ ! -e %[2]s/$RESTARTILKA_TASK ]; do
        [ -d %[2]s ] || exit 1
        sleep 0.05
      done
      echo "the very end"
      exit 3
`, demo.ServiceName, f.gates, printed)
}

// jank is the longest time for which the page could do nothing, in ms.
const jank = `window.longest = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) window.longest = Math.max(window.longest, e.duration) }).observe({ type: 'longtask', buffered: true }); true`

// visibleRows gives the text of the rows that the viewer has made.
const visibleRows = "[...document.querySelectorAll('.window > div')].map(e => e.textContent).join('\\n')"

// An output of 300,000 lines is shown, searched and followed without the page
// standing still; what is hostile in it is harmless.
func TestALongOutput(t *testing.T) {
	program := chromium(t)
	f := &fixture{t: t, gates: filepath.Join(t.TempDir(), "gates")}
	must(t, os.Mkdir(f.gates, 0o700))
	f.Company = company.New(t, company.Options{Scenario: f.talking, Hosts: 1})
	t.Cleanup(func() { os.RemoveAll(f.gates) })
	f.browser = start(t, program, publicKey(t, f.URL, f.CA))
	b := f.signedIn()
	run := f.Start("workers hang since the deploy")
	f.untilOutput(run, printed*48)

	begun := time.Now()
	b.visit("/runs/" + run.ID + "/hosts/" + run.Tasks[0].Host)
	eval[bool](b, jank)
	b.until("document.querySelector('.plain-output pre').textContent.includes('needle')")
	const paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
	b.until("(" + paint + ") > 0")
	painted := eval[float64](b, paint)
	b.until("!document.querySelector('.viewer').hidden")
	t.Logf("first paint after %.0f ms, all there after %s, at most %.0f ms without an answer", painted, time.Since(begun).Round(time.Millisecond), eval[float64](b, "window.longest"))
	if made := eval[int](b, "document.querySelectorAll('.window > div').length"); made > 200 {
		t.Errorf("%d rows are elements of the page", made)
	}
	b.until(visibleRows + ".includes('needle')") // it is at the end
	rows := eval[string](b, visibleRows)
	for _, want := range []string{"<script>alert(1)</script>", `\x1b[2J`, "owned", `\u{202e}gnp.exe`, fmt.Sprintf("%08d worker", printed)} {
		if !strings.Contains(rows, want) {
			t.Errorf("%q is missing at the end: %q", want, rows)
		}
	}
	if red := eval[string](b, "document.querySelector('.window .t2').textContent"); red != "needle" {
		t.Errorf("red is %q", red)
	}
	f.keep(b, "output")

	// Searched: forth, back, and around.
	b.press(".viewer input")
	b.fill(".viewer input", "00123456 WORKER")
	b.until("document.querySelector('.found').textContent.includes('1 of 1') && document.querySelector('.window .here mark')?.textContent === '00123456 worker'")
	if pressed := eval[string](b, "document.querySelector('.follow').getAttribute('aria-pressed')"); pressed != "false" {
		t.Error("it follows the end though somebody looks elsewhere")
	}
	eval[bool](b, "(() => { const i = document.querySelector('.viewer input'); i.value = '000'; i.dispatchEvent(new Event('input')); return true })()")
	b.until("document.querySelector('.found').textContent.endsWith(' of 100,560')") // all with three zeros in their number
	before := eval[string](b, "document.querySelector('.found').textContent")
	b.press(".viewer .forth")
	b.until("document.querySelector('.found').textContent !== '" + before + "'")
	b.press(".viewer .back")
	b.until("document.querySelector('.found').textContent === '" + before + "'")

	// Scrolled from end to end.
	eval[bool](b, `(() => {
		const box = document.querySelector('.rows'), start = performance.now();
		let n = 0;
		const step = () => { box.scrollTop = box.scrollHeight * n / 60; if (n++ < 60) requestAnimationFrame(step); else window.scrolled = performance.now() - start };
		step();
		return true;
	})()`)
	b.until("window.scrolled > 0")
	took := eval[float64](b, "window.scrolled")
	longest := eval[float64](b, "window.longest")
	t.Logf("61 steps of scrolling in %.0f ms, at most %.0f ms without an answer", took, longest)
	if longest > 1500 { // 50 ms on a machine that does nothing else
		t.Errorf("the page stood still for %.0f ms", longest)
	}

	// Followed again: the end comes by itself, and so does the outcome.
	eval[bool](b, "(() => { const box = document.querySelector('.rows'); box.scrollTop = box.scrollHeight; return true })()")
	b.until("document.querySelector('.follow').getAttribute('aria-pressed') === 'true'")
	f.release(run.Tasks[0])
	b.until(visibleRows + ".includes('the very end') && document.querySelector('.report .badge').textContent === 'Failed'")
	if eval[bool](b, "document.querySelector('.viewer').hidden") {
		t.Error("the viewer went with the host's new state")
	}

	// The run's page says that it stands, why, and what one can do.
	b.visit("/runs/" + run.ID)
	b.until(badge + " === 'Paused' && " + tones + " === 'fail'")
	said := eval[string](b, "document.querySelector('#summary .callout').innerText + document.querySelector('#acts').innerText")
	for _, want := range []string{"a host failed", "No host is left", "Abort", "the run is over"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in %q", want, said)
		}
	}
	f.replays(b, run)
	b.quiet()
}

// An opened row of a run's page follows the output of its host, and is searched
// there; a link beside it leads to the host's own page, and a mark of the strip to it.
func TestAnOpenRowFollowsTheOutput(t *testing.T) {
	program := chromium(t)
	f := &fixture{t: t, gates: filepath.Join(t.TempDir(), "gates")}
	must(t, os.Mkdir(f.gates, 0o700))
	f.Company = company.New(t, company.Options{Scenario: f.thrice, Hosts: 2})
	t.Cleanup(func() { os.RemoveAll(f.gates) })
	f.browser = start(t, program, publicKey(t, f.URL, f.CA))
	b := f.signedIn()
	run := f.Start("workers hang since the deploy")
	b.visit("/runs/" + run.ID)
	b.until(tones + " === 'now wait' && " + live)
	b.press(".strip #cell-0 a")
	const rows = "[...document.querySelectorAll('#host-0 .window > div')].map(e => e.textContent).join('\\n')"
	b.until("location.hash === '#host-0' && document.querySelector('#host-0 details').open && " + rows + ".includes('line 500 of the first')")
	version := eval[string](b, "document.querySelector('#host-0 details').dataset.version")

	// At the end it follows; who has scrolled up stays where he is.
	f.signal(run.Tasks[0], "second")
	b.until(rows + ".includes('line 500 of the second')")
	eval[bool](b, "(() => { document.querySelector('#host-0 .rows').scrollTop = 200; return true })()")
	b.until("document.querySelector('#host-0 .follow').getAttribute('aria-pressed') === 'false'")
	f.signal(run.Tasks[0], "third")
	b.until("parseFloat(document.querySelector('#host-0 .tall').style.height) > 1500 * 19")
	if top := eval[float64](b, "document.querySelector('#host-0 .rows').scrollTop"); top != 200 {
		t.Errorf("the reader was moved from 200 to %.0f px", top)
	}
	if now := eval[string](b, "document.querySelector('#host-0 details').dataset.version"); now != version {
		t.Logf("the host has changed meanwhile, from %s to %s", version, now)
	}
	b.fill("#host-0 .viewer input", "line 77 of the third")
	b.until("document.querySelector('#host-0 .found').textContent.includes('1 of 1')")
	f.keep(b, "row-output")
	b.press("#host-0 .page")
	b.until("location.pathname === '/runs/" + run.ID + "/hosts/" + run.Tasks[0].Host + "' && document.querySelector('.viewer')?.hidden === false")
	f.release(run.Tasks[0])
	b.quiet()
}

// thrice is a scenario that prints three times, when the test says so.
func (f *fixture) thrice(*company.Company) (name, content string) {
	return "thrice", fmt.Sprintf(`format: 1
name: thrice
serial: 1
author: test@restartilka.invalid
kind: restart
services: [%s]
description: Prints, waits, and prints again
strategy: {batches: [1], task_timeout: 60s}
steps:
  run:
    script: |
      gate() { while [ ! -e %[2]s/$RESTARTILKA_TASK${1:-} ]; do [ -d %[2]s ] || exit 1; sleep 0.05; done; }
      seq -f "line %%.0f of the first" 500
      gate .second
      seq -f "line %%.0f of the second" 500
      gate .third
      seq -f "line %%.0f of the third" 500
      gate
`, demo.ServiceName, f.gates)
}

// signal lets the script of a task go on to a part of its work.
func (f *fixture) signal(task restart.Task, part string) {
	f.t.Helper()
	must(f.t, os.WriteFile(filepath.Join(f.gates, task.ID+"."+part), nil, 0o600))
}

// replays opens the replay of a run from disk, without a server.
func (f *fixture) replays(b *tab, run restart.Run) {
	f.t.Helper()
	eval[bool](b, "(() => { fetch('/runs/"+run.ID+"/replay.html').then(r => r.text()).then(text => { window.replay = text }); return true })()")
	b.until("window.replay !== undefined")
	file := filepath.Join(f.t.TempDir(), "replay.html")
	must(f.t, os.WriteFile(file, []byte(eval[string](b, "window.replay")), 0o600))
	b.do(chromedp.Navigate("file://" + file))
	b.until("document.querySelector('.player')?.checkVisibility() === true && document.querySelectorAll('.story .later').length === 0")
	b.harmlessReplay()
	eval[bool](b, "(() => { const r = document.querySelector('.player input'); r.value = 0; r.dispatchEvent(new Event('input')); return true })()")
	b.until("document.querySelectorAll('.story .later').length > 0 && document.querySelector('.gantt line').getAttribute('x2') !== document.querySelector('.gantt line').dataset.x2")
	f.keep(b, "replay")
}

func (b *tab) harmlessReplay() {
	b.t.Helper()
	output := eval[string](b, "[...document.querySelectorAll('pre')].map(e => e.textContent).join('')")
	if !strings.Contains(output, "<script>alert(1)</script>") || !strings.Contains(output, "the very end") {
		b.t.Errorf("the replay shows the output %q", output[max(0, len(output)-300):])
	}
	if n := eval[int](b, "document.querySelectorAll('script').length + document.querySelectorAll('img').length"); n != 1 {
		b.t.Errorf("%d scripts and pictures in a replay, want its own script", n)
	}
}

// untilOutput waits until so many bytes of the output of the run's first host
// are stored.
func (f *fixture) untilOutput(run restart.Run, size int64) {
	f.t.Helper()
	late := time.Now().Add(patience)
	for offset := int64(0); offset < size; {
		_, next, _, err := f.Dev.Output(f.t.Context(), run.ID, run.Tasks[0].ID, offset, 1<<20)
		must(f.t, err)
		if time.Now().After(late) {
			f.t.Fatalf("only %d bytes of output came", next)
		}
		offset = max(offset, next)
	}
}
