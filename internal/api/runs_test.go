package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api"
	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const shopRestart = `{"service":"shop","reason":"workers hang since noon"}`

func draft(t *testing.T, s *apitest.Server, token, key string) restart.Run {
	t.Helper()
	return decode[restart.Run](t, s.Request("POST", "/api/v1/runs", token, []byte(shopRestart), http.Header{"Idempotency-Key": {key}}), 201)
}

func start(t *testing.T, s *apitest.Server, token, id string) restart.Run {
	t.Helper()
	return decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+id+"/start", token, []byte("{}"), nil), 200)
}

// events reads a stream to its end: the runs in it, and whether it was ended
// on purpose.
func events(t *testing.T, resp apitest.Answer) (runs []restart.Run, ids []string, ended bool) {
	t.Helper()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("status %d, content type %q: %s", resp.StatusCode, got, read(t, resp))
	}
	kind := ""
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
			ended = ended || kind == "end"
		case "id":
			ids = append(ids, value)
		case "data":
			if kind == "run" {
				var run restart.Run
				if err := json.Unmarshal([]byte(value), &run); err != nil {
					t.Fatal(err)
				}
				runs = append(runs, run)
			}
		}
	}
	return runs, ids, ended
}

func TestARunFromEndToEnd(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, boris := s.Token("anna", developer), s.Token("boris", developer)

	run := draft(t, s, anna, "key-1")
	if run.State != restart.RunDraft || run.Plan == nil || len(run.Plan.Hosts) != 3 || run.Actor != "anna" || run.Via != "api" {
		t.Fatalf("draft: %+v", run)
	}
	if again := draft(t, s, anna, "key-1"); again.ID != run.ID {
		t.Errorf("the same key gave another run")
	}
	if p := problem(t, s.Request("POST", "/api/v1/runs/"+run.ID+"/start", boris, []byte("{}"), nil), 403); p.Code != restart.CodeForbidden {
		t.Errorf("%+v", p)
	}
	if got := start(t, s, anna, run.ID); got.State.Final() || len(got.Tasks) != 3 {
		t.Errorf("started: %s, %d tasks", got.State, len(got.Tasks))
	}
	if again := start(t, s, anna, run.ID); again.ID != run.ID {
		t.Error("starting twice gave another run")
	}

	runs, ids, ended := events(t, s.Request("GET", "/api/v1/runs/"+run.ID+"/events", boris, nil, nil))
	if len(runs) == 0 || !ended || runs[0].Plan == nil || len(runs[0].Tasks) != 3 {
		t.Fatalf("%d events, ended %v", len(runs), ended)
	}
	last := runs[len(runs)-1]
	if last.State != restart.RunCompleted {
		t.Errorf("last event: %s", last.State)
	}
	for i, r := range runs[1:] {
		if r.Plan != nil || r.Version <= runs[i].Version {
			t.Errorf("event %d: version %d after %d, plan %v", i+1, r.Version, runs[i].Version, r.Plan != nil)
		}
	}
	// Who has seen everything is told only that it is over.
	none, _, ended := events(t, s.Request("GET", "/api/v1/runs/"+run.ID+"/events", anna, nil, http.Header{"Last-Event-Id": {ids[len(ids)-1]}}))
	if len(none) != 0 || !ended {
		t.Errorf("again: %d events, ended %v", len(none), ended)
	}

	final := decode[restart.Run](t, s.Request("GET", "/api/v1/runs/"+run.ID, boris, nil, nil), 200)
	task := final.Tasks[0]
	detail := decode[wire.TaskDetail](t, s.Request("GET", "/api/v1/runs/"+run.ID+"/tasks/"+task.ID, boris, nil, nil), 200)
	if detail.Task.State != restart.TaskSucceeded || len(detail.Status.Phases) == 0 {
		t.Errorf("detail: %+v", detail)
	}
	output := decode[wire.List[protocol.Output]](t, s.Request("GET", "/api/v1/runs/"+run.ID+"/tasks/"+task.ID+"/output?offset=2", boris, nil, nil), 200)
	if len(output.Items) == 0 || output.Next != "10" || string(output.Items[0].Data) != "started\n" {
		t.Errorf("output: %+v", output)
	}
	if rest := read(t, s.Request("GET", "/api/v1/runs/"+run.ID+"/tasks/"+task.ID+"/output?offset=10", boris, nil, nil)); rest != `{"items":[],"next":""}`+"\n" {
		t.Errorf("output at its end: %s", rest)
	}
	file := s.Request("GET", "/api/v1/runs/"+run.ID+"/tasks/"+task.ID+"/output.txt", boris, nil, nil)
	if got := read(t, file); got != "restarted\n" || file.Header.Get("Content-Type") != "text/plain; charset=utf-8" ||
		!strings.HasPrefix(file.Header.Get("Content-Disposition"), "attachment") || file.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("output.txt: %q %v", got, file.Header)
	}
	problem(t, s.Request("GET", "/api/v1/runs/"+run.ID+"/tasks/"+run.ID+"/output.txt", boris, nil, nil), 404)
	if p := problem(t, s.Request("POST", "/api/v1/runs/"+run.ID+"/abort", anna, nil, nil), 409); p.Code != restart.CodeConflict {
		t.Errorf("%+v", p)
	}
	for query, want := range map[string]int{"": 1, "?service=shop&state=completed,failed": 1, "?state=failed": 0, "?host=web2": 1, "?host=web9": 0, "?actor=boris": 0, "?environment=production&limit=1": 1} {
		list := decode[map[string]json.RawMessage](t, s.Request("GET", "/api/v1/runs"+query, boris, nil, nil), 200)
		var items []restart.Run
		if err := json.Unmarshal(list["items"], &items); err != nil || len(items) != want || string(list["items"]) == "null" || string(list["next"]) != `""` {
			t.Errorf("runs%s: %d items, next %s, %v", query, len(items), list["next"], err)
		}
	}
}

func TestStartAtOnceAndStop(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, vera := s.Token("anna", developer), s.Token("vera", developer)
	s.Agents.Set("web1", apitest.Hangs)
	body := strings.TrimSuffix(shopRestart, "}") + `,"start":true}`
	run := decode[restart.Run](t, s.Request("POST", "/api/v1/runs", anna, []byte(body), nil), 201)
	if run.State == restart.RunDraft {
		t.Fatalf("state %s", run.State)
	}
	problem(t, s.Request("POST", "/api/v1/runs/"+run.ID+"/abort", vera, nil, nil), 403)
	stream := s.Request("GET", "/api/v1/runs/"+run.ID+"/events", vera, nil, nil)
	// {} in a body that is not asked for does no harm.
	if got := decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+run.ID+"/abort", anna, []byte("{}"), nil), 200); got.Control != restart.ControlAbort {
		t.Errorf("control %q", got.Control)
	}
	locks := decode[wire.List[wire.Lock]](t, s.Request("GET", "/api/v1/locks", vera, nil, nil), 200)
	if len(locks.Items) > 1 {
		t.Errorf("locks: %+v", locks.Items)
	}
	s.Agents.Set("web1", apitest.Succeeds)
	runs, _, ended := events(t, stream)
	if last := runs[len(runs)-1]; !ended || last.State != restart.RunAborted {
		t.Errorf("ended %v, %s", ended, last.State)
	}
}

// TestAStreamEndsWithTheToken: who loses the right to look stops seeing.
func TestAStreamEndsWithTheToken(t *testing.T) {
	s := apitest.Start(t, func(c *api.Config) { c.Keepalive = 20 * time.Millisecond })
	anna, watcher := s.Token("anna", developer), s.Token("vera", developer)
	s.Agents.Set("web1", apitest.Hangs)
	run := draft(t, s, anna, "")
	start(t, s, anna, run.ID)
	stream := s.Request("GET", "/api/v1/runs/"+run.ID+"/events", watcher, nil, nil)
	line := bufio.NewReader(stream.Body)
	for { // it is alive first
		text, err := line.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(text, ": alive") {
			break
		}
	}
	tokens, err := s.Store.Tokens(t.Context(), "vera")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Control.RevokeToken(t.Context(), restart.Actor{Name: "vera", Roles: []restart.Role{developer}}, tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	for {
		text, err := line.ReadString('\n')
		if err != nil {
			break // the stream has ended
		}
		if strings.HasPrefix(text, "event: end") {
			t.Error("the stream says that the run is over")
		}
	}
}

func TestAdministration(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, root, olga := s.Token("anna", developer), s.Token("root", admin), s.Token("olga", auditor)

	made := decode[wire.NewToken](t, s.Request("POST", "/api/v1/tokens", anna, []byte(`{"name":"pipeline","life":"1h"}`), nil), 201)
	if made.Owner != "anna" || made.Secret == "" {
		t.Fatalf("%+v", made)
	}
	if who := decode[restart.Actor](t, s.Request("GET", "/api/v1/whoami", made.Secret, nil, nil), 200); who.Name != "anna" || who.Token != made.ID {
		t.Errorf("%+v", who)
	}
	problem(t, s.Request("POST", "/api/v1/tokens", anna, []byte(`{"name":"more","roles":["admin"]}`), nil), 403)
	listed := read(t, s.Request("GET", "/api/v1/tokens", anna, nil, nil))
	if strings.Contains(listed, made.Secret) || strings.Contains(listed, "hash") || strings.Contains(listed, "root") {
		t.Errorf("tokens: %s", listed)
	}
	if resp := s.Request("DELETE", "/api/v1/tokens/"+made.ID, anna, nil, nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("revoke: %d", resp.StatusCode)
	}
	problem(t, s.Request("GET", "/api/v1/whoami", made.Secret, nil, nil), 401)

	problem(t, s.Request("GET", "/api/v1/certificates", anna, nil, nil), 403)
	problem(t, s.Request("POST", "/api/v1/certificates", root, []byte(`{"host":"web9.example.com","csr":"nonsense"}`), nil), 422)
	if list := decode[wire.List[wire.Certificate]](t, s.Request("GET", "/api/v1/certificates", root, nil, nil), 200); list.Items == nil {
		t.Error("items is null")
	}

	problem(t, s.Request("GET", "/api/v1/audit", anna, nil, nil), 403)
	page := decode[wire.AuditList](t, s.Request("GET", "/api/v1/audit?actor=anna&limit=1", olga, nil, nil), 200)
	if len(page.Items) != 1 || page.Next == "" || page.Items[0].Actor != "anna" {
		t.Fatalf("%+v", page)
	}
	rest := decode[wire.AuditList](t, s.Request("GET", "/api/v1/audit?actor=anna&after="+page.Next, olga, nil, nil), 200)
	if len(rest.Items) == 0 {
		t.Error("nothing follows the first record")
	}
	if empty := read(t, s.Request("GET", "/api/v1/audit?actor=nobody", olga, nil, nil)); !strings.Contains(empty, `"items":[]`) {
		t.Error(empty)
	}
}

func TestLooking(t *testing.T) {
	s := apitest.Start(t, nil)
	token := s.Token("anna", developer)
	services := decode[wire.List[restart.Service]](t, s.Request("GET", "/api/v1/services", token, nil, nil), 200)
	if len(services.Items) != 2 || services.FetchedAt == nil || services.Stale {
		t.Errorf("%+v", services)
	}
	if one := decode[restart.Service](t, s.Request("GET", "/api/v1/services/shop", token, nil, nil), 200); one.Unit != "shop.service" {
		t.Errorf("%+v", one)
	}
	problem(t, s.Request("GET", "/api/v1/services/none", token, nil, nil), 404)
	if now := decode[wire.InventoryState](t, s.Request("GET", "/api/v1/inventory", token, nil, nil), 200); now.Hosts != 4 || now.Services != 2 || len(now.Sources) != 1 || now.Sources[0].Kind != "yaml" || now.Sources[0].FetchedAt == nil || now.Problem != "" {
		t.Errorf("%+v", now)
	}
	if groups := decode[wire.List[restart.Group]](t, s.Request("GET", "/api/v1/groups", token, nil, nil), 200); len(groups.Items) != 2 {
		t.Errorf("%+v", groups)
	}
	if hosts := decode[wire.List[restart.Host]](t, s.Request("GET", "/api/v1/hosts?expr=web%5B1-3%5D,-web2", token, nil, nil), 200); len(hosts.Items) != 2 {
		t.Errorf("%+v", hosts)
	}
	problem(t, s.Request("GET", "/api/v1/hosts?expr=wep1", token, nil, nil), 404)
	s.Agents.Set("web2", apitest.Away)
	checks := decode[wire.List[wire.HostCheck]](t, s.Request("POST", "/api/v1/hosts/check", token, []byte(`{"hosts":"web1,web2","service":"shop"}`), nil), 200)
	if len(checks.Items) != 2 || checks.Items[0].State != wire.HostReady || checks.Items[1].State != wire.HostClosed || checks.Items[1].Error == nil {
		t.Errorf("%+v", checks)
	}
	scenarios := decode[wire.List[wire.Scenario]](t, s.Request("GET", "/api/v1/scenarios", token, nil, nil), 200)
	if len(scenarios.Items) != 1 {
		t.Fatalf("%+v", scenarios)
	}
	if one := decode[wire.Scenario](t, s.Request("GET", "/api/v1/scenarios/"+scenarios.Items[0].Digest, token, nil, nil), 200); one.Body != apitest.Scenario {
		t.Errorf("%+v", one)
	}
}

// An inventory that can't be read any more is answered from what it was, and
// every list says so.
func TestListsSayThatTheyAreOld(t *testing.T) {
	s := apitest.Start(t, nil)
	token := s.Token("anna", developer)
	s.Request("GET", "/api/v1/hosts", token, nil, nil).Body.Close() // read once while it is good
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.CAFile), "inventory.yaml"), []byte("hosts: [{nam: web1}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"hosts", "services", "groups"} {
		page := decode[wire.List[any]](t, s.Request("GET", "/api/v1/"+list, token, nil, nil), 200)
		if !page.Stale || page.FetchedAt == nil || len(page.Items) < 2 {
			t.Errorf("%s: %+v", list, page)
		}
	}
}
