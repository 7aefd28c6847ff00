package web

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// dumped is a run over hosts with three dumps of each; their ids by host.
func (f *fixture) dumped(kind restart.Kind, illnesses ...apitest.Illness) (restart.Run, map[string][]string) {
	f.t.Helper()
	run := f.newRun("nginx", len(illnesses))
	run.Kind = kind
	f.create(run)
	f.to(run, restart.RunRunning, "", "")
	run, err := f.store.Run(f.t.Context(), run.ID)
	f.must(err)
	at := time.Now().UTC().Truncate(time.Second).Add(-time.Minute)
	ids := map[string][]string{}
	for i, t := range restart.Latest(run.Tasks) {
		var series []apitest.JVM
		for n := range 3 {
			series = append(series, apitest.JVM{Illness: illnesses[i], Workers: 40, Taken: at.Add(time.Duration(n) * 5 * time.Second), Number: n, Named: hostile})
		}
		f.must(apitest.KeepDumps(f.t.Context(), f.store, run, t, protocol.DumpRun, 0, series...))
		list, _, err := f.store.Dumps(f.t.Context(), store.DumpFilter{Task: t.ID})
		f.must(err)
		for _, d := range slices.Backward(list) { // the newest comes first
			ids[t.Host] = append(ids[t.Host], d.ID)
		}
	}
	return run, ids
}

var tags = regexp.MustCompile(`<[^>]*>`)

// readable gives what a page says, without its marks.
func readable(body string) string {
	return strings.Join(strings.Fields(tags.ReplaceAllString(body, " ")), " ")
}

// ok asks for a page that is there, and harmless.
func (f *fixture) ok(path string, headers ...string) string {
	f.t.Helper()
	res := f.do("GET", path, "", headers...)
	if res.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s\n%s", path, res.Status, readable(res.body))
	}
	if bad := inline.FindString(unquoted(res.body)); bad != "" {
		f.t.Errorf("%s has %q", path, bad)
	}
	return readable(res.body)
}

func (f *fixture) says(path, cookie, lang string, wanted ...string) {
	f.t.Helper()
	text := f.ok(path, "Cookie", cookie, "Accept-Language", lang)
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			f.t.Errorf("%s in %s does not say %q:\n%s", path, lang, w, text)
		}
	}
}

// What a dump says first, in both languages, and what each view of it shows.
func TestDumpSaysWhatIsWrong(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run, ids := f.dumped(restart.KindThreadDump, apitest.PoolIsEmpty, apitest.PoolIsEmpty, apitest.Healthy, apitest.OneLock, apitest.Circle)
	pool, locked, circle := ids["web1.nginx.example.com"], ids["web4.nginx.example.com"][2], ids["web5.nginx.example.com"][2]
	last := pool[2]
	f.says("/dumps", cookie, "en", "web1.nginx.example.com", "37 of 49 threads wait for a connection from HikariCP", "and 2 before it")
	f.says("/dumps?host=web3.nginx.example.com", cookie, "ru", "Спокойно", "49 потоков")
	f.says("/dumps/"+last, cookie, "en", "Alarm 37 of 49 threads wait for a connection from HikariCP in HikariPool.getConnection", "price-feed used 98 % of a core", "waiting, timed 39", "http-nio-8080-exec", "37 of 40", "Dump 2 &#43;5 s", "4211", "OpenJDK")
	f.says("/dumps/"+last, cookie, "ru", "Тревога 37 из 49 потоков ждут соединения из HikariCP в HikariPool.getConnection", "price-feed занял 98 % ядра за 10 с", "Не сдвинулись за серию", "каждый ждёт соединения")
	f.says("/dumps/"+pool[0], cookie, "en", "37 of 49 threads wait for a connection", "price-feed") // of the first; what is hot is of the series
	f.says("/dumps/"+locked, cookie, "en", "32 of 49 threads wait for http-nio-8080-exec-17 , which waits for the database in Rates.load", "32 threads wait")
	f.says("/dumps/"+locked, cookie, "ru", "32 из 49 потоков ждут http-nio-8080-exec-17 , а он ждёт ответа от базы данных в Rates.load")
	f.says("/dumps/"+circle+"/locks", cookie, "en", "Deadlock order-writer waits for Basket", "14 more threads wait behind them", "14 threads wait")
	f.says("/dumps/"+locked+"/locks", cookie, "ru", "32 потока", "http-nio-8080-exec-17")
	f.says("/dumps/"+last+"/flame", cookie, "en", "Basket.load", "95 %")
	f.says("/dumps/"+last+"/flame?threads=all&at=0.0", cookie, "ru", "Все стеки")
	f.says("/dumps/"+last+"/text?line=14&to=16", cookie, "en", "1–500 of", "jdk.internal.misc.Unsafe.park")
	f.says("/runs/"+run.ID+"/dumps", cookie, "en", "2 of 5 hosts hang in HikariPool.getConnection : 74 threads, each waits for a connection. On 2 of 5 hosts: 74 of 98 threads wait for a connection from HikariCP in HikariPool.getConnection : the pool has none to give.", "Dumps of 5 of 5 hosts", "web3", "Each host")
	if page := f.ok("/runs/"+run.ID+"/dumps", "Cookie", cookie, "Accept-Language", "en"); strings.Count(page, "On 2 of 5 hosts: 74 of 98 threads") != 1 {
		t.Errorf("the page says twice what its verdict is about:\n%s", page)
	}
	f.says("/runs/"+run.ID+"/dumps", cookie, "ru", "2 из 5 хостов стоят в HikariPool.getConnection : 74 потока, каждый ждёт соединения")
	f.says("/dumps/"+pool[0]+"/compare/"+last, cookie, "en", "Still there: 37 of 49 threads")
	f.says("/dumps/"+pool[0]+"/compare/"+ids["web3.nginx.example.com"][2], cookie, "ru", "Прошло: нет свободных соединений", "было: тревога")
	f.says("/runs/"+run.ID, cookie, "en", "What the thread dumps say", "On 2 of 5 hosts: 74 of 98 threads wait for a connection from HikariCP in HikariPool.getConnection : the pool has none to give.")
	f.says("/services/nginx", cookie, "en", "Thread dumps Where What it says", "All thread dumps")
	f.says("/hosts/web1.nginx.example.com", cookie, "ru", "Дампы потоков Где")
	for path, want := range map[string]int{
		"/dumps/nosuch": 404, "/dumps/" + run.ID: 404, "/dumps/" + last + "?dump=2": 404, "/dumps/" + last + "/threads/999": 404, "/dumps/" + last + "/threads/x": 404,
		"/dumps?service=A%20b": 422, "/dumps?host=..": 422, "/dumps?run=1": 422, "/dumps/" + last + "/compare/nosuch": 404, "/runs/" + run.ID + "/dumps?of=after": 404,
	} {
		if res := f.do("GET", path, "", "Cookie", cookie); res.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, res.Status, want)
		}
	}
}

// The table of threads narrows by every field, pages, and links what waits to
// who holds it.
func TestThreadsOfADump(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	_, ids := f.dumped(restart.KindThreadDump, apitest.OneLock)
	base := "/dumps/" + ids["web1.nginx.example.com"][2]
	for query, want := range map[string]string{
		"": "49 threads", "state=blocked": "32 of 49 threads", "name=EXEC-17": "1 of 49 threads", "text=rates.CURRENT": "33 of 49 threads", "pool=http-nio-8080-exec": "40 of 49 threads",
		"lock=0x0000000712bb0100": "32 of 49 threads", "finding=0": "of 49 threads", "state=blocked&name=exec-1": "of 49 threads", "name=nobody": "No thread fits these filters.",
		"state=%3Cscript%3E&sort=x&page=-4": "49 threads", "pool=none": "No thread fits these filters.", "group=none": "No thread fits these filters.",
	} {
		f.says(base+"/threads?"+query, cookie, "en", want)
	}
	body := f.do("GET", base+"/threads?sort=cpu", "", "Cookie", cookie).body
	if strings.Index(body, "price-feed") > strings.Index(body, "http-nio-8080-exec-1<") {
		t.Error("the busiest thread is not the first")
	}
	if !strings.Contains(body, "held by") || !strings.Contains(body, `/threads/17">http-nio-8080-exec-17</a>`) {
		t.Error("the holder of the lock is not linked")
	}
	f.says(base+"/threads/17", cookie, "en", "http-nio-8080-exec-17", "Rates.load", "32 threads wait for it:", "and 28 more", "The same thread through the series", "same stack", "Lines")
	f.says(base+"/threads/1", cookie, "ru", "ждёт захвата shop.checkout.Rates", "держит http-nio-8080-exec-17")
	f.says(base+"/threads?name=script", cookie, "en", "alert(1)") // as text: ok looks for what is not
}

// A page of a dump of 20,000 threads comes at once, whatever it is narrowed by:
// sooner than the first, for which the dump was read.
func TestTwentyThousandThreads(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	res := f.upload(cookie, "big.txt", apitest.JVM{Illness: apitest.OneLock, Workers: 20_000, Taken: time.Now()}.Text())
	if res.StatusCode != http.StatusSeeOther {
		t.Fatal(res.Status, readable(res.body))
	}
	path := res.Header.Get("Location")
	first := func() time.Duration {
		f.archive.Forget(strings.TrimPrefix(path, "/dumps/"))
		f.site.reports = &reports{}
		began := time.Now()
		f.ok(path, "Cookie", cookie) // parsed and judged once
		return time.Since(began)
	}
	whole := first()
	paths := []string{"/threads", "/threads?page=100", "/threads?text=rates", "/threads?state=blocked&sort=name", "/threads?pool=http-nio-8080-exec&sort=cpu", "/threads/17", "/locks", ""}
	var took []time.Duration
	for range 2 {
		for _, p := range paths {
			began := time.Now()
			body := f.do("GET", path+p, "", "Cookie", cookie, "Accept-Encoding", "gzip").body
			took = append(took, time.Since(began))
			if len(body) > 128<<10 {
				t.Errorf("%s has %d KiB", p, len(body)>>10)
			}
		}
	}
	slices.Sort(took)
	whole = max(whole, first()) // others may work on this machine, then or now
	t.Logf("half within %s, all within %s, the first within %s", took[len(took)/2], took[len(took)-1], whole)
	if half := took[len(took)/2]; half > whole/2 { // a tenth, where nobody else works
		t.Errorf("half of the pages take %s and more, the first took %s", half, whole)
	}
	f.says(path+"/threads?page=2", cookie, "en", "20008 threads", "201–400 on this page")
	if text := f.ok(path+"/threads?page=9999", "Cookie", cookie); !strings.Contains(text, "20001–20008") {
		t.Error("the last page does not stand for all after it")
	}
}

func (f *fixture) upload(cookie, name, text string) answer {
	f.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", name)
	f.must(err)
	_, err = part.Write([]byte(text))
	f.must(err)
	f.must(form.Close())
	return f.do("POST", "/dumps", b.String(), "Content-Type", form.FormDataContentType(), "Origin", f.server.URL, "Sec-Fetch-Site", "same-origin", "Cookie", cookie)
}

// A file from elsewhere is looked at by whoever has put it in, and by nobody
// else; what is wrong with it stands beside the field.
func TestUploadedDump(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	now := time.Now()
	two := "2026-11-23 INFO start\n" + apitest.JVM{Illness: apitest.Healthy, Workers: 5, Taken: now}.Text() + "WARN between\n" + apitest.JVM{Illness: apitest.Circle, Workers: 9, Taken: now.Add(time.Minute)}.Text()
	res := f.upload(cookie, hostile, two)
	path := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(path, "/dumps/") {
		t.Fatal(res.Status, path, readable(res.body))
	}
	f.says(path, cookie, "en", "Dump 1", "Dump 2")
	f.says(path+"?dump=2", cookie, "en", "Deadlock: order-writer and basket-sweeper")
	f.says(path+"/threads?dump=2&name=order", cookie, "en", "1 of 19 threads")
	f.says(path+"/threads/1?dump=2", cookie, "en", "http-nio-8080-exec-1")
	text := f.do("GET", path+"/text?dump=2&line=1", "", "Cookie", cookie).body
	for _, want := range []string{`<input type="hidden" name="dump" value="2">`, `href="` + path + `/threads?dump=2"`, `aria-current="true">Dump 2`} {
		if !strings.Contains(text, want) {
			t.Errorf("the text forgets which dump it is of: there is no %s", want)
		}
	}
	long := f.upload(cookie, "long.txt", apitest.JVM{Illness: apitest.Healthy, Workers: 60, Taken: now}.Text()+apitest.JVM{Illness: apitest.Healthy, Workers: 60, Taken: now.Add(time.Minute)}.Text()).Header.Get("Location")
	text = f.do("GET", long+"/text?dump=2&line=700", "", "Cookie", cookie).body
	for _, want := range []string{`href="` + long + `/text?dump=2"`, `href="` + long + `/text?dump=2&amp;line=1"`, `href="` + long + `/text?dump=2&amp;line=1001"`} {
		if !strings.Contains(text, want) {
			t.Errorf("from one page of the text to the next: there is no %s", want)
		}
	}
	f.says("/dumps", cookie, "en", "Files of yours", "alert(2)")
	f.post(strings.TrimSuffix(long, "/")+"/delete", url.Values{}, "Cookie", cookie)
	other, _ := f.token("eve", restart.RoleDeveloper)
	in := f.post("/sign-in", url.Values{"name": {"eve"}, "secret": {other}})
	eve := in.Cookies()[0].Name + "=" + in.Cookies()[0].Value
	if res := f.do("GET", path, "", "Cookie", eve); res.StatusCode != http.StatusNotFound {
		t.Errorf("somebody else's file: %s", res.Status)
	}
	for name, c := range map[string]struct{ file, text, want string }{
		"no dump":   {"cat.jpg", "\x00\x01\x02 nothing at all", "upload-file-wrong"},
		"empty":     {"empty.txt", "", "upload-file-wrong"},
		"no file":   {"", "", "Choose a file first."},
		"too large": {"huge.txt", strings.Repeat("x", 70_000_000), "The file is larger than"},
	} {
		res := f.upload(cookie, c.file, c.text)
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, c.want) || !strings.Contains(res.body, `aria-invalid="true" aria-describedby="file-help upload-file-wrong" autofocus`) {
			t.Errorf("%s: %s\n%s", name, res.Status, readable(res.body))
		}
	}
	id := strings.TrimPrefix(path, "/dumps/")
	if res := f.post("/dumps/"+id+"/delete", url.Values{}, "Cookie", cookie); res.StatusCode != http.StatusSeeOther {
		t.Errorf("delete: %s", res.Status)
	}
	f.says("/dumps?done=deleted", cookie, "ru", "Дамп удалён.")
	if res := f.do("GET", path, "", "Cookie", cookie); res.StatusCode != http.StatusNotFound {
		t.Errorf("after it was deleted: %s", res.Status)
	}
}

// Each page is a record; a page that asks whether there is more is none.
func TestLooksAtDumpsAreRecorded(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run, ids := f.dumped(restart.KindThreadDump, apitest.PoolIsEmpty)
	id := ids["web1.nginx.example.com"][0]
	looks := func() int {
		records, _, err := f.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.DumpViewed, Actor: "dana", Limit: 200})
		f.must(err)
		return len(records)
	}
	pages := []string{"/dumps/" + id, "/dumps/" + id + "/threads", "/dumps/" + id + "/threads/3", "/dumps/" + id + "/locks", "/dumps/" + id + "/flame", "/dumps/" + id + "/text", "/runs/" + run.ID + "/dumps"}
	for i, p := range pages {
		f.ok(p, "Cookie", cookie)
		if n := looks(); n != i+1 {
			t.Errorf("after %s there are %d records, want %d", p, n, i+1)
		}
	}
	body := f.do("GET", "/runs/"+run.ID+"/dumps", "", "Cookie", cookie).body
	poll := regexp.MustCompile(`hx-get="(/runs/[^"]*seen=[^"]*)"`).FindStringSubmatch(body)
	if poll == nil {
		t.Fatal("the page of a run that goes on does not ask for more")
	}
	before := looks()
	if res := f.do("GET", strings.ReplaceAll(poll[1], "&amp;", "&"), "", "Cookie", cookie); res.StatusCode != http.StatusNoContent || looks() != before {
		t.Errorf("nothing is new: %s, %d records more", res.Status, looks()-before)
	}
	viewer, _ := f.token("vic", restart.RoleViewer)
	in := f.post("/sign-in", url.Values{"name": {"vic"}, "secret": {viewer}})
	vic := in.Cookies()[0].Name + "=" + in.Cookies()[0].Value
	for _, p := range pages {
		res := f.do("GET", p, "", "Cookie", vic)
		if text := readable(res.body); res.StatusCode != http.StatusForbidden || !strings.Contains(text, "ask dana") {
			t.Errorf("%s by a viewer: %s\n%s", p, res.Status, text)
		}
	}
	if text := f.ok("/runs/"+run.ID, "Cookie", vic); strings.Contains(text, "What the thread dumps say") {
		t.Error("the run's page leads a viewer to what he may not see")
	}
}

// A page of a large run notices each dump that comes, however many there are.
func TestALargeGroupGoesOn(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1)
	f.create(run)
	f.to(run, restart.RunRunning, "", "")
	place := 0
	add := func() {
		place++
		now := time.Now()
		f.must(f.store.AddDump(t.Context(), store.Dump{
			ID: restart.NewID(now), RunID: run.ID, TaskID: run.Tasks[0].ID, Host: run.Tasks[0].Host, Service: "nginx", Environment: run.Environment, Group: run.Group, Origin: store.DumpOfRun,
			Place: place, Number: 1, Of: 1, TakenAt: now, CreatedAt: now, Error: "no such process",
		}, nil))
	}
	for range wire.MaxPage + 2 {
		add()
	}
	path := "/runs/" + run.ID + "/dumps"
	ask := func() int {
		poll := regexp.MustCompile(`hx-get="(/runs/[^"]*seen=[^"]*)"`).FindStringSubmatch(f.do("GET", path, "", "Cookie", cookie).body)
		if poll == nil {
			t.Fatal("the page does not ask for more")
		}
		path = strings.ReplaceAll(poll[1], "&amp;", "&")
		return f.do("GET", path, "", "Cookie", cookie).StatusCode
	}
	if got := ask(); got != http.StatusNoContent {
		t.Errorf("nothing is new: %d", got)
	}
	add()
	if got := f.do("GET", path, "", "Cookie", cookie).StatusCode; got != http.StatusOK {
		t.Errorf("one more: %d", got)
	}
}

// What a host said before a run is kept with its dump, and without one too.
func TestEvidenceIsShown(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1)
	f.create(run)
	d := store.Dump{
		ID: restart.NewID(time.Now()), RunID: run.ID, Host: run.Tasks[0].Host, Service: "nginx", Environment: run.Environment, Group: run.Group, Origin: store.DumpBefore, Number: 1, Of: 1,
		TakenAt: time.Now(), CreatedAt: time.Now(), Error: "the process is a zombie <b>", Evidence: []byte(`[{"kind":"journal","text":"FATAL <script>alert(1)</script>"},{"kind":"process","error":"gone"}]`),
	}
	f.must(f.store.AddDump(t.Context(), d, nil))
	f.says("/dumps", cookie, "en", "Not taken the process is a zombie")
	f.says("/dumps/"+d.ID, cookie, "en", "This dump could not be taken: the process is a zombie", "Journal", "FATAL &lt;script&gt;")
	f.says("/dumps/"+d.ID, cookie, "ru", "Этот дамп снять не удалось", "Журнал", "не удалось снять: gone")
	if res := f.do("GET", "/dumps/"+d.ID+"/threads", "", "Cookie", cookie); res.StatusCode != http.StatusNotFound {
		t.Errorf("threads of no dump: %s", res.Status)
	}
}

func TestSaidParts(t *testing.T) {
	first, more := saidParts("2 threads wait for `a. b`, now. Look at `c`.")
	if got := fmt.Sprint(first, more); got != "[{2 threads wait for  false} {a. b true} {, now. false}] [{Look at  false} {c true} {. false}]" {
		t.Error(got)
	}
}
