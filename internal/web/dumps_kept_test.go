package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/intake"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// stored is a dump of a run with whatever text.
func (f *fixture) stored(run restart.Run, host string, place int, text, why string) store.Dump {
	f.t.Helper()
	packed, err := pack.Pack([]byte(text))
	f.must(err)
	now := time.Now()
	i := slices.IndexFunc(run.Tasks, func(t restart.Task) bool { return t.Host == host })
	d := store.Dump{
		ID: restart.NewID(now), RunID: run.ID, TaskID: run.Tasks[i].ID, Host: host, Service: run.Service, Environment: run.Environment, Group: run.Group, Origin: store.DumpOfRun,
		Place: place, Number: 1, Of: 1, Size: int64(len(text)), Error: why, TakenAt: now, CreatedAt: now,
	}
	f.must(f.store.AddDump(f.t.Context(), d, packed))
	return d
}

// What nobody has understood is kept and shown, and can be deleted like any other.
func TestADumpThatIsNotUnderstood(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1)
	f.create(run)
	d := f.stored(run, "web1.nginx.example.com", 1, "a line <b>of</b> another kind\nand its end\n", "no thread dump is in this text")
	f.says("/dumps", cookie, "en", "not analysed no thread dump is in this text")
	f.says("/dumps/"+d.ID, cookie, "en", "This dump is kept, but could not be read: no thread dump is in this text.", "as it was taken")
	f.says("/dumps/"+d.ID, cookie, "ru", "Этот дамп сохранён, но прочитать его не удалось: дампа потоков в этом тексте нет.")
	body := f.do("GET", "/dumps/"+d.ID, "", "Cookie", cookie).body
	for _, want := range []string{`href="/dumps/` + d.ID + `/text"`, `href="/api/v1/dumps/` + d.ID + `/raw"`} {
		if !strings.Contains(body, want) {
			t.Errorf("its page has no %s", want)
		}
	}
	if strings.Contains(body, d.ID+"/threads") || strings.Contains(body, d.ID+"/delete") {
		t.Error("its page offers what is not there, or what dana may not")
	}
	f.says("/dumps/"+d.ID+"/text", cookie, "en", "a line &lt;b&gt;of&lt;/b&gt; another kind", "1–2 of 2")
	if text := f.ok("/dumps/"+d.ID+"/text", "Cookie", cookie, "Accept-Language", "en"); strings.Contains(text, "Flame graph") {
		t.Errorf("its text offers what is not there:\n%s", text)
	}
	root := f.signInAs("root", restart.RoleAdmin)
	path := "/dumps/" + d.ID + "/delete"
	res := f.post(path, url.Values{"reason": {""}}, "Cookie", root)
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `action="`+path+`"`) || !strings.Contains(res.body, `aria-invalid="true"`) {
		t.Errorf("without a reason: %s\n%s", res.Status, readable(res.body))
	}
	if res := f.post(path, url.Values{"reason": {"it holds a customer's data"}}, "Cookie", root); res.StatusCode != http.StatusSeeOther {
		t.Errorf("deleted: %s", res.Status)
	}
}

// The page of a group leads to the dump that the report of a host is of, whatever
// else of that host is kept, and wherever in its file it stands.
func TestAGroupLeadsToThePicture(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 2)
	f.create(run)
	text := apitest.JVM{Illness: apitest.Circle, Workers: 9, Taken: time.Now()}.Text()
	f.stored(run, "web1.nginx.example.com", 1, "no dump at all\n", "no thread dump is in this text")
	first := f.stored(run, "web1.nginx.example.com", 2, text, "")
	second := f.stored(run, "web2.nginx.example.com", 3, apitest.JVM{Illness: apitest.Healthy, Workers: 9, Taken: time.Now()}.Text()+text, "")
	body := f.do("GET", "/runs/"+run.ID+"/dumps", "", "Cookie", cookie).body
	for _, want := range []string{`href="/dumps/` + first.ID + `">web1`, `href="/dumps/` + second.ID + `?dump=2">web2`, `/dumps/` + second.ID + `/threads?dump=2&amp;group=`} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %s in\n%s", want, body)
		}
	}
}

// Virtual threads that only the second form of a JVM's dump has are in every list
// of the first, which the report is of, wherever that form is kept.
func TestVirtualThreadsAreListed(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 2)
	f.create(run)
	text := apitest.JVM{Illness: apitest.Healthy, Workers: 4, Taken: time.Now()}.Text()
	stack := `["java.base/java.lang.VirtualThread.park(VirtualThread.java:582)", "shop.checkout.Basket.wait(Basket.java:7)"]`
	threads := ""
	for n := range 3 {
		threads += fmt.Sprintf(`, {"tid": "90%d", "name": "order-%d", "virtual": true, "state": "WAITING", "stack": %s}`, n, n, stack)
	}
	form := `{"threadDump": {"processId": "4211", "time": "2026-11-23T04:03:26Z", "runtimeVersion": "25.0.3+9-LTS", "threadContainers": [{"container": "<root>", "parent": null, "owner": null, "threads": [` +
		`{"tid": "1", "name": "main", "state": "RUNNABLE", "stack": []}` + threads + `], "threadCount": "4"}]}}` + "\n"
	one := f.stored(run, "web1.nginx.example.com", 1, text+form, "")
	two := f.stored(run, "web2.nginx.example.com", 1, text, "")
	f.stored(run, "web2.nginx.example.com", 2, form, "")
	for _, d := range []store.Dump{one, two} {
		path := "/dumps/" + d.ID
		body := f.do("GET", path+"/threads?text=Basket.wait", "", "Cookie", cookie).body
		link := regexp.MustCompile(path + `/threads/\d+">order-2<`).FindString(body)
		if link == "" || !strings.Contains(readable(body), "3 of ") {
			t.Errorf("%s: the list has\n%s", d.Host, readable(body))
			continue
		}
		page := f.do("GET", strings.TrimSuffix(link, `">order-2<`), "", "Cookie", cookie)
		if page.StatusCode != http.StatusOK || strings.Contains(page.body, path+"/text?line=") != (d.ID == one.ID) {
			t.Errorf("%s: its page, %s:\n%s", d.Host, page.Status, readable(page.body))
		}
	}
}

// timed is an answer whose request may be given more time.
type timed struct {
	*httptest.ResponseRecorder

	until time.Time
}

func (t *timed) SetReadDeadline(at time.Time) error {
	t.until = at
	return nil
}

// A file that comes slowly has as much time in the browser as by the API.
func TestASlowUploadHasTime(t *testing.T) {
	f := newFixture(t)
	form := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n" + apitest.JVM{Illness: apitest.Healthy, Workers: 3, Taken: time.Now()}.Text() + "\r\n--x--\r\n"
	req := httptest.NewRequestWithContext(t.Context(), "POST", "/dumps", strings.NewReader(form))
	req.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	began := time.Now()
	f.must(f.site.uploadDump(w, &visit{Request: req, actor: restart.Actor{Name: "dana", Roles: []restart.Role{restart.RoleDeveloper}}, lang: english}))
	if w.Code != http.StatusSeeOther || w.until.Before(began.Add(intake.Patience)) {
		t.Errorf("%d: the server reads until %s, as of any request", w.Code, w.until)
	}
}
