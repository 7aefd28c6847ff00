package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// stored is a dump of a run with whatever text.
func (f *fixture) stored(run restart.Run, host string, place int, text, why string) store.Dump {
	f.t.Helper()
	packed, err := pack.Pack([]byte(text))
	f.must(err)
	now := time.Now()
	d := store.Dump{
		ID: restart.NewID(now), RunID: run.ID, TaskID: run.Tasks[0].ID, Host: host, Service: run.Service, Environment: run.Environment, Group: run.Group, Origin: store.DumpOfRun,
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
