package security

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// services stand in this order in every cell of the matrix.
var services = []string{"own", "teams", "others", "ownerless"}

// The matrix has, of each row, one cell a person, and in each cell one letter a
// service (own, the team's, another's, nobody's), or one for what is no
// service's. "+" is allowed, "-" refused with who could, "." not there for him,
// and "0" not let in at all.
const matrix = `
             nobody viewer owner team  stranger reviewer auditor on-call admin revoked expired
see          0000   ++++   ++++  ++++  ++++     ++++     ++++    ++++    ++++  0000    0000
restart      0000   ----   +---  -+--  ----     ----     ----    +---    ++++  0000    0000
dump         0000   ----   +---  -+--  ----     ----     ----    +---    ++++  0000    0000
view-dump    0000   ----   +---  -+--  ----     ----     ++++    +---    ++++  0000    0000
own-upload   0      .      .     .     +        .        .       .       .     0       0
control      0000   ----   +---  -+--  ----     ----     ----    +---    ++++  0000    0000
approve      0000   ----   +---  -+--  ----     ----     ----    +---    ----  0000    0000
break-glass  0000   ----   ----  ----  ----     ----     ----    +---    ++++  0000    0000
confirm      0000   ----   ----  ----  ----     ----     ----    ----    ++++  0000    0000
look         0      +      +     +     +        +        +       +       +     0       0
freeze       0      -      -     -     -        -        -       -       +     0       0
review-glass 0      -      -     -     -        -        +       -       +     0       0
audit        0      -      -     -     -        -        +       -       +     0       0
administer   0      -      -     -     -        -        -       -       +     0       0
others-token 0      .      .     .     .        .        .       .       +     0       0
ask-of       0      -      -     -     -        -        +       -       +     0       0
nothing      0      .      .     .     .        .        .       .       .     0       0
propose      0      -      +     +     +        +        -       +       +     0       0
review       0      -      -     -     -        +        -       -       +     0       0
`

// expected gives the matrix by row and person.
func expected(t *testing.T) (people []string, cells map[string]map[string]string) {
	t.Helper()
	cells = map[string]map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(matrix)) {
		fields := strings.Fields(line)
		if people == nil {
			people = fields
			continue
		}
		if len(fields) != len(people)+1 {
			t.Fatalf("the row %s has %d cells", fields[0], len(fields)-1)
		}
		cells[fields[0]] = map[string]string{}
		for i, p := range people {
			cells[fields[0]][p] = fields[i+1]
		}
	}
	return people, cells
}

// verb is one operation of the API and its row of the matrix.
type verb struct {
	row, method, path, body string
}

const v1 = "/api/v1"

// verbs has every operation that the API describes: a new one needs its line.
// {service}, {run}, {task}, {host}, {draft}, {token}, {user}, {digest}, {planned} and {dump} stand for one.
func verbs() []verb {
	return []verb{
		{"see", "GET", v1 + "/services/{service}", ""},
		{"see", "GET", v1 + "/runs/{run}", ""},
		{"see", "GET", v1 + "/runs/{run}/tasks/{task}", ""},
		{"see", "GET", v1 + "/runs/{run}/tasks/{task}/output", ""},
		{"see", "GET", v1 + "/runs/{run}/tasks/{task}/output.txt", ""},
		{"see", "GET", v1 + "/runs/{run}/events", ""},
		{"see", "GET", v1 + "/runs/{run}/steps", ""},
		{"restart", "POST", v1 + "/plans", `{"service":"{service}",` + reasonJSON + `}`},
		{"restart", "POST", v1 + "/plans", `{"service":"{service}","group":"{service}-production",` + reasonJSON + `}`},
		{"dump", "POST", v1 + "/plans", `{"service":"{service}","scenario":"plain-dump",` + reasonJSON + `}`},
		{"dump", "POST", v1 + "/runs", `{"service":"{service}","scenario":"plain-dump",` + reasonJSON + `}`},
		{"restart", "POST", v1 + "/runs", `{"service":"{service}",` + reasonJSON + `}`},
		{"view-dump", "GET", v1 + "/runs/{run}/dumps", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}/report", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}/report?series=true", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}/threads", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}/raw", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}/collapsed", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}/speedscope", ""},
		{"view-dump", "GET", v1 + "/dumps/{dump}/compare/{dump}", ""},
		{"own-upload", "GET", v1 + "/dumps/{upload}", ""},
		{"own-upload", "GET", v1 + "/dumps/{upload}/raw", ""},
		{"own-upload", "GET", v1 + "/dumps/{upload}/report", ""},
		{"look", "GET", v1 + "/dumps", ""}, // each sees those that he may look at
		{"look", "POST", v1 + "/dumps?name=x.txt", "no dump at all"},
		{"administer", "DELETE", v1 + "/dumps/{kept}", ""}, // no reason is given, so that it stays
		{"control", "POST", v1 + "/runs/{run}/pause", `{}`},
		{"control", "POST", v1 + "/runs/{run}/abort", `{}`},
		{"control", "POST", v1 + "/runs/{run}/force-abort", `{}`},
		{"restart", "POST", v1 + "/runs/{run}/resume", `{}`},
		{"restart", "POST", v1 + "/runs/{run}/decide", `{"host":"{host}","verdict":"happened",` + reasonJSON + `}`},
		{"restart", "POST", v1 + "/runs/{run}/retry", `{` + reasonJSON + `}`},
		{"restart", "POST", v1 + "/runs/{run}/undrain", `{` + reasonJSON + `}`},
		{"approve", "POST", v1 + "/runs/{run}/approve", `{` + reasonJSON + `}`}, // the admin's own: never by him
		{"approve", "POST", v1 + "/runs/{run}/reject", `{` + reasonJSON + `}`},
		{"confirm", "POST", v1 + "/runs/{draft}/start", `{"hosts":["not-in-the-plan"]}`},
		{"confirm", "POST", v1 + "/runs/{draft}/later", `{"at":"2020-01-01T00:00:00Z"}`},
		{"see", "GET", v1 + "/planned/{planned}", ""},
		{"approve", "POST", v1 + "/planned/{planned}/approve", `{` + reasonJSON + `}`}, // the admin's own: never by him
		{"approve", "POST", v1 + "/planned/{planned}/reject", `{` + reasonJSON + `}`},
		{"control", "POST", v1 + "/planned/{planned}/cancel", ""},
		{"look", "GET", v1 + "/planned", ""},
		{"look", "GET", v1 + "/planned.ics", ""},
		{"look", "GET", v1 + "/windows", ""},
		{"nothing", "DELETE", v1 + "/calendar", ""}, // nobody has one
		{"look", "POST", v1 + "/calendar", ""},
		{"look", "GET", v1 + "/calendar", ""},

		{"look", "GET", v1 + "/whoami", ""},
		{"look", "GET", v1 + "/inventory", ""},
		{"look", "GET", v1 + "/services", ""},
		{"look", "GET", v1 + "/groups", ""},
		{"look", "GET", v1 + "/hosts", ""},
		{"look", "POST", v1 + "/hosts/check", `{"hosts":"web1"}`},
		{"look", "GET", v1 + "/scenarios", ""},
		{"look", "GET", v1 + "/scenarios/{digest}", ""},
		{"look", "GET", v1 + "/locks", ""},
		{"look", "GET", v1 + "/scenario-versions", ""},
		{"look", "GET", v1 + "/scenario-versions/{digest}", ""},
		{"look", "GET", v1 + "/scenario-problems", ""},
		{"look", "GET", v1 + "/scenario-coverage?without=kate", ""},
		{"propose", "POST", v1 + "/scenario-versions", `{"body":"name: x"}`},
		{"look", "POST", v1 + "/scenario-versions/{digest}/signatures", `{"principal":"kate","signature":"x"}`}, // the signature itself is judged
		{"review", "POST", v1 + "/scenario-versions/{digest}/withdraw", `{` + reasonJSON + `}`},
		{"look", "GET", v1 + "/runs", ""},
		{"look", "GET", v1 + "/freezes", ""},
		{"look", "GET", v1 + "/approvals", ""},
		{"look", "GET", v1 + "/break-glass", ""},
		{"look", "GET", v1 + "/tokens", ""},
		{"look", "POST", v1 + "/tokens", `{"name":"mine"}`},
		{"look", "GET", v1 + "/rights/whocan?action=restart", ""},
		{"look", "GET", v1 + "/rights/why?action=restart&service=own", ""},
		{"look", "GET", "/api/openapi.json", ""},
		{"look", "GET", "/api/openapi-3.0.json", ""},
		{"ask-of", "GET", v1 + "/rights/why?who=kate&action=restart&service=own", ""},
		{"freeze", "POST", v1 + "/freezes", `{"environments":["production"],"weekly":"sun 03:00-sun 03:01",` + reasonJSON + `}`},
		{"freeze", "DELETE", v1 + "/freezes/00000000000000000000000000?reason=nobody+needs+this+one", ""},
		{"review-glass", "POST", v1 + "/break-glass/{run}/review", `{"note":"it was needed, and it helped"}`},
		{"audit", "GET", v1 + "/audit", ""},
		{"audit", "GET", v1 + "/audit/export", ""},
		{"administer", "POST", v1 + "/tokens", `{"name":"a gift","owner":"kate"}`},
		{"others-token", "DELETE", v1 + "/tokens/{token}", ""},
		{"administer", "POST", v1 + "/hosts/discover", `{"hosts":"web1"}`},
		{"administer", "GET", v1 + "/certificates", ""},
		{"administer", "POST", v1 + "/certificates", `{"host":"web1","csr":"x"}`},
		{"administer", "POST", v1 + "/certificates/revoke", `{"host":"web1",` + reasonJSON + `}`},
		{"administer", "GET", v1 + "/join-tokens", ""},
		{"administer", "POST", v1 + "/join-tokens", `{"host":"web9.example.com"}`},
		{"administer", "DELETE", v1 + "/join-tokens/00000000000000000000000000", ""},
		{"look", "GET", v1 + "/sessions", ""},
		{"administer", "GET", v1 + "/sessions?all=true", ""},
		{"nothing", "DELETE", v1 + "/sessions/00000000000000000000000000", ""}, // nobody has it
		{"look", "GET", v1 + "/keys", ""},
		{"administer", "GET", v1 + "/keys?all=true", ""},
		{"look", "POST", v1 + "/keys", `{"key":"no key at all"}`},
		{"nothing", "DELETE", v1 + "/keys/00000000000000000000000000", ""}, // nobody has it
		{"administer", "GET", v1 + "/users", ""},
		{"administer", "POST", v1 + "/users", `{"name":"newcomer"}`},
		{"administer", "PATCH", v1 + "/users/{user}", `{"disabled":true}`},
		{"administer", "POST", v1 + "/users/{user}/password", `{}`},
		{"administer", "DELETE", v1 + "/users/{user}/sessions", ""},
		{"administer", "DELETE", v1 + "/locks/{run}?reason=nobody+needs+this+one", ""},
		{"administer", "GET", v1 + "/receivers", ""},
		{"administer", "POST", v1 + "/receivers/00000000000000000000000000/test", ""},
		{"nothing", "GET", "/api/v1/nothing", ""},
	}
}

// fill puts a service's names into a path or body.
func (w *world) fill(text, service string) string {
	run := w.runs[service]
	return strings.NewReplacer("{service}", service, "{run}", run.ID, "{task}", run.Tasks[0].ID, "{host}", run.Tasks[0].Host, "{draft}", w.drafts[service].ID, "{planned}", w.planned[service],
		"{token}", w.other, "{user}", "kate", "{digest}", run.Digest, "{dump}", w.dumps[service], "{kept}", w.dumps["own"], "{upload}", w.upload).Replace(text)
}

// letter reads an answer as one letter of the matrix.
func letter(t *testing.T, answer apitest.Answer) (string, string) {
	t.Helper()
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		line, err := bufio.NewReader(answer.Body).ReadString('\n') // the first event comes at once
		if err != nil || !strings.HasPrefix(line, "id: ") {
			t.Errorf("the stream begins with %q: %v", line, err)
		}
		return "+", line
	}
	b, err := io.ReadAll(answer.Body)
	must(t, err)
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		return "0", string(b)
	case http.StatusForbidden:
		return "-", string(b)
	case http.StatusNotFound:
		return ".", string(b)
	case http.StatusInternalServerError:
		return "!", string(b)
	}
	return "+", string(b)
}

// names are the people's own, as the audit trail has them.
var names = map[string]string{
	"viewer": "anna", "owner": "anna", "team": "boris", "stranger": "vera", "reviewer": "rita", "auditor": "olga", "on-call": "anna", "admin": "root",
}

// unrecorded change nothing, whatever their method says.
var unrecorded = []string{v1 + "/plans", v1 + "/hosts/check"}

// onRecord wants a record of each request that changes something, and of each
// that was to and was refused. Who is let in by nobody has no name for one.
func (w *world) onRecord(v verb, person, letter, said string) {
	w.t.Helper()
	if v.method == "GET" || letter == "0" || slices.Contains(unrecorded, v.path) {
		return
	}
	records := w.recorded(names[person])
	if strings.Contains(said, `"state":"draft"`) { // a plan that is looked at: nothing comes of it until it is confirmed
		return
	}
	refused := letter == "-" || letter == "." || strings.Contains(said, `"status":4`)
	if !slices.ContainsFunc(records, func(r audit.Record) bool {
		return (r.Outcome != "") == refused || refused && r.Action == audit.RunRefused
	}) {
		w.t.Errorf("%s %s as %s: %q is answered, and recorded is only: %v", v.method, v.path, person, said, records)
	}
}

// TestMatrixOfTheAPI asks every operation as everybody, of every service.
func TestMatrixOfTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.recorded("")
	asked := 0
	for _, v := range verbs() {
		for _, p := range w.people {
			cell, got, said := w.cells[v.row][p], "", []string{}
			of := services
			if len(cell) == 1 {
				of = services[:1]
			}
			for _, s := range of {
				var body []byte
				if v.body != "" {
					body = []byte(w.fill(v.body, s))
				}
				l, text := letter(t, w.Request(v.method, w.fill(v.path, s), w.tokens[p], body, nil))
				if l == "." && p == "admin" && v.row != "nothing" && v.row != "own-upload" { // what the admin may, and is not there
					l = "+"
				}
				if l == "." && v.row == "review-glass" && p == "auditor" { // of a run whose glass is whole
					l = "+"
				}
				got, said = got+l, append(said, text)
				w.onRecord(v, p, l, text)
				asked++
				if l == "-" && !explained(text) {
					t.Errorf("%s: %s %s does not say who could: %s", p, v.method, v.path, text)
				}
				if strings.HasSuffix(v.path, "/cancel") && l == "+" {
					w.planned[s] = w.plan(s)
				}
				if v.row == "others-token" && l == "+" {
					w.other = w.again()
				}
			}
			if got != cell {
				t.Errorf("%s as %s: %s %s %s: got %s, want %s\n%s", v.row, p, v.method, v.path, v.body, got, cell, strings.Join(said, ""))
			}
		}
	}
	if asked < 1000 {
		t.Errorf("only %d questions were asked", asked)
	}
}

// explained tells whether a refusal says what to do, but for the one that names
// its rule in the sentence.
func explained(text string) bool {
	var p wire.Problem
	if json.Unmarshal([]byte(text), &p) != nil || p.Code != restart.CodeForbidden {
		return false
	}
	return p.Hint != "" || strings.Contains(p.Detail, "only an admin")
}

// TestEveryOperationHasItsRow: what the API describes stands in the matrix.
func TestEveryOperationHasItsRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	public := []string{"GET /ping", "GET /readyz", "POST /api/v1/join", "POST /api/v1/logins", "POST /api/v1/logins/claim", "GET /calendar.ics"} // nobody's, hosts', and of the token of a calendar
	doc := as[struct {
		Paths map[string]map[string]any `json:"paths"`
	}](w, "GET", "/api/openapi.json", "")
	known := map[string]bool{"POST /api/v1/runs/{}/start": true}
	for _, v := range verbs() {
		path, _, _ := strings.Cut(v.path, "?")
		known[v.method+" "+shape(path)] = true
	}
	count := 0
	for path, methods := range doc.Paths {
		for method := range methods {
			count++
			op := strings.ToUpper(method) + " " + path
			if !known[strings.ToUpper(method)+" "+shape(path)] && !slices.Contains(public, op) {
				t.Errorf("%s has no line in verbs(): who may?", op)
			}
		}
	}
	if count < 40 {
		t.Errorf("only %d operations are described", count)
	}
}

// shape makes every name in a path the same.
func shape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") || strings.Trim(p, "0") == "" && p != "" {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// TestMatrixOfBrokenGlass starts past a freeze what may be started at all; with
// the glass whole nobody does.
func TestMatrixOfBrokenGlass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as[wire.Freeze](w, "POST", v1+"/freezes", `{"environments":["production"],"to":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`",`+reasonJSON+`}`)
	for _, p := range w.people {
		got, said := "", []string{}
		for _, s := range services {
			ask := func(path, body string) (string, string) {
				return letter(t, w.Request("POST", path, w.tokens[p], []byte(body), nil))
			}
			l, text := ask(v1+"/runs", `{"service":"`+s+`",`+reasonJSON+`}`)
			if l == "+" {
				var run restart.Run
				must(t, json.Unmarshal([]byte(text), &run))
				if _, frozen := ask(v1+"/runs/"+run.ID+"/start", `{}`); !strings.Contains(frozen, string(restart.CodeFrozen)) {
					t.Errorf("%s starts %s in a freeze: %s", p, s, frozen)
				}
				l, text = ask(v1+"/runs/"+run.ID+"/start", `{"break_glass":true}`)
			}
			got, said = got+l, append(said, text)
		}
		if want := w.cells["break-glass"][p]; got != want {
			t.Errorf("%s: got %s, want %s\n%s", p, got, want, strings.Join(said, ""))
		}
	}
}

// TestAStreamEndsWithTheRight: who may not look any more by new rules, or whose
// token is revoked, is not told what happens next.
func TestAStreamEndsWithTheRight(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world){
		"the rules changed":     func(w *world) { w.Rights("format: 1\nrules: [{allow: [all], to: [\"role:admin\"]}]\n") },
		"the token was revoked": func(w *world) { w.revoke("vera") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			answer := w.Request("GET", v1+"/runs/"+w.drafts["own"].ID+"/events", w.tokens["stranger"], nil, nil)
			lines := bufio.NewReader(answer.Body)
			if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "id: ") {
				t.Fatalf("%q %v", line, err)
			}
			end(w)
			ended := make(chan error, 1)
			go func() { _, err := io.Copy(io.Discard, lines); ended <- err }()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("the stream goes on")
			}
		})
	}
}

// rulesByPlace narrow rights to environments and groups.
const rulesByPlace = `format: 1
rules:
  - {allow: [see], to: [everybody]}
  - {allow: [restart, control], to: [owners], environments: [testing]}
  - {allow: [restart], to: [vera], groups: [own-production]}
  - {deny: [restart], to: ["role:admin"], environments: [production], services: [others]}
  - {allow: [freeze], to: [boris], environments: [testing]}
  - {allow: [review-break-glass], to: ["role:auditor"], services: [own]}
  - {allow: [all], to: ["role:admin"]}
`

// TestMatrixByPlace: rules of environments and groups hold for plans and for the
// verbs of a run, once it is known where.
func TestMatrixByPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := map[string]string{} // by service: a run that broke the glass
	for _, s := range []string{"own", "teams"} {
		run := w.draft(s)
		as[restart.Run](w, "POST", v1+"/runs/"+run.ID+"/start", `{"break_glass":true}`)
		broken[s] = run.ID
	}
	more := strings.Replace(inventory, "hosts:\n  - {name: web1,", "  - {name: own-testing, environment: testing, services: [own], hosts: [web1]}\n  - {name: own-nowhere, services: [own], hosts: [web1]}\nhosts:\n  - {name: web1,", 1)
	must(t, os.WriteFile(filepath.Join(filepath.Dir(w.Shelf), "inventory.yaml"), []byte(more), 0o644))
	w.Rights(rulesByPlace)
	plan := func(service, group string) string {
		return fmt.Sprintf(`{"service":%q,"group":%q,%s}`, service, group, reasonJSON)
	}
	run := w.runs["own"].ID
	w.tokens["bound"] = w.boundTo("vera", restart.Scope{Environments: []string{"production"}})
	for _, c := range []struct{ person, method, path, body, want string }{
		{"owner", "POST", "/plans", plan("own", "own-testing"), "+"},
		{"owner", "POST", "/plans", plan("own", "own-production"), "-"},
		{"owner", "POST", "/plans", plan("own", "own-nowhere"), "-"},
		{"owner", "POST", "/plans", `{"service":"own","hosts":"web1","environment":"production",` + reasonJSON + `}`, "-"},
		{"stranger", "POST", "/plans", plan("own", "own-production"), "+"},
		{"stranger", "POST", "/plans", plan("own", "own-testing"), "-"},
		{"bound", "POST", "/plans", plan("own", "own-production"), "+"},
		{"bound", "POST", "/freezes", `{"environments":["testing"],"weekly":"sun 03:00-sun 03:01",` + reasonJSON + `}`, "-"},
		{"admin", "POST", "/plans", plan("others", "others-production"), "-"},
		{"admin", "POST", "/plans", plan("teams", "teams-production"), "+"},
		{"owner", "POST", "/runs/" + run + "/pause", `{}`, "-"}, // its run was in production
		{"owner", "POST", "/runs/" + run + "/retry", `{` + reasonJSON + `}`, "-"},
		{"stranger", "POST", "/runs/" + run + "/resume", `{}`, "+"}, // the right is there; the run is over
		{"stranger", "POST", "/runs/" + run + "/pause", `{}`, "-"},
		{"team", "POST", "/freezes", `{"environments":["testing"],"weekly":"sun 03:00-sun 03:01",` + reasonJSON + `}`, "+"},
		{"team", "POST", "/freezes", `{"environments":["production"],"weekly":"sun 03:00-sun 03:01",` + reasonJSON + `}`, "-"},
		{"team", "POST", "/freezes", `{"environments":["all"],"weekly":"sun 03:00-sun 03:01",` + reasonJSON + `}`, "-"},
		{"auditor", "POST", "/break-glass/" + broken["own"] + "/review", `{"note":"it was needed, and it helped"}`, "+"},
		{"auditor", "POST", "/break-glass/" + broken["teams"] + "/review", `{"note":"it was needed, and it helped"}`, "-"},
		{"stranger", "POST", "/break-glass/" + run + "/review", `{"note":"it was needed, and it helped"}`, "-"},
	} {
		if got, text := letter(t, w.Request(c.method, v1+c.path, w.tokens[c.person], []byte(c.body), nil)); got != c.want {
			t.Errorf("%s %s %s: got %s, want %s: %s", c.person, c.path, c.body, got, c.want, text)
		}
	}
}
