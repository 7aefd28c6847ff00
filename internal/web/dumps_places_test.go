package web

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// Each page of a large dump takes one place among those who look at much, waits
// for it where there is none, and gives it back.
func TestPagesOfALargeDumpWait(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	res := f.upload(cookie, "big.txt", apitest.JVM{Illness: apitest.OneLock, Workers: 1500, Taken: time.Now()}.Text())
	path := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther {
		t.Fatal(res.Status, readable(res.body))
	}
	pages := []string{"", "/threads", "/threads/17", "/locks", "/flame", "/text"}
	var giveBack []func()
	for range 2 {
		give, err := f.archive.Place(t.Context(), 100<<20)
		f.must(err)
		giveBack = append(giveBack, give)
	}
	for _, p := range pages {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.server.URL+path+p, nil)
		f.must(err)
		req.Header.Set("Cookie", cookie)
		if res, err := f.client.Do(req); err == nil {
			res.Body.Close()
			t.Errorf("%q does not wait: %s", p, res.Status)
		}
		cancel()
	}
	for _, give := range giveBack {
		give()
	}
	var all sync.WaitGroup
	for range 4 { // twice as many as there are places: nobody holds one and waits for another
		all.Go(func() {
			for _, p := range pages {
				if res := f.do("GET", path+p, "", "Cookie", cookie); res.StatusCode != http.StatusOK {
					t.Errorf("%q: %s", p, res.Status)
				}
			}
		})
	}
	all.Wait()
}

// A page that is being read holds no place any more.
func TestSlowReadersHoldNoPlace(t *testing.T) {
	f := newFixture(t)
	text := apitest.JVM{Illness: apitest.OneLock, Workers: 1500, Taken: time.Now()}.Text()
	run := f.newRun("nginx", 1)
	f.create(run)
	dump := f.stored(run, "web1.nginx.example.com", 1, text, "")
	w := &slowReader{header: http.Header{}}
	for _, page := range []struct {
		id   string
		show func(http.ResponseWriter, *visit) error
	}{{dump.ID, f.site.showDump}, {dump.ID, f.site.listThreads}, {dump.ID, f.site.showLocks}, {dump.ID, f.site.showFlame}, {dump.ID, f.site.showDumpText}, {run.ID, f.site.showRunDumps}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		f.must(err)
		req.SetPathValue("id", page.id)
		w.free = func() {
			for range 2 {
				give, err := f.archive.Place(t.Context(), 100<<20)
				f.must(err)
				defer give()
			}
		}
		f.must(page.show(w, &visit{Request: req, actor: restart.Actor{Name: "dana", Roles: []restart.Role{restart.RoleDeveloper}}, lang: english}))
	}
	if w.pages != 6 {
		t.Errorf("%d pages were read", w.pages)
	}
}

// slowReader reads a page while it looks whether both places are free.
type slowReader struct {
	header http.Header
	free   func()
	pages  int
}

func (w *slowReader) Header() http.Header { return w.header }

func (w *slowReader) WriteHeader(int) {}

func (w *slowReader) Write(b []byte) (int, error) {
	w.pages++
	w.free()
	return len(b), nil
}

// What dumps say is kept up to a number of reports and to an amount of text, and
// no longer than all of them are there.
func TestReportsAreForgotten(t *testing.T) {
	r := &reports{}
	of := func(looks []control.DumpLook, deleted int64) *analyse.Report {
		report, _ := r.of(looks, 0, deleted)
		return report
	}
	look := func(id string, size int64) []control.DumpLook {
		return []control.DumpLook{{Dump: wire.Dump{ID: id, Size: size}, InFile: 1, Parsed: &dump.Dump{}}}
	}
	a, b := look("a", 40<<20), look("b", 20<<20)
	first, second := of(a, 0), of(b, 0)
	if of(a, 0) != first || of(b, 0) != second {
		t.Error("it is made anew each time")
	}
	of(look("c", 10<<20), 0)
	if of(b, 0) != second {
		t.Error("more was dropped than is too much")
	}
	if of(a, 0) == first {
		t.Error("reports of 70 MiB are kept")
	}
	large := look("d", 65<<20)
	if once, again := of(large, 0), of(large, 0); once == again {
		t.Error("one of too much text is kept")
	}
	second = of(b, 0)
	if of(b, 1) == second {
		t.Error("it is kept though a dump was deleted")
	}
	for i := range 2 * reportsKept {
		r.of(look(string(rune('e'+i)), 1), 0, 1)
	}
	if len(r.kept) > reportsKept {
		t.Errorf("%d are kept", len(r.kept))
	}
}
