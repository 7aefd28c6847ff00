package security

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// lessons are what others have paid for, each with the test that shows that it
// was learned: one of these, or one elsewhere, which TestEachLessonHasItsTest
// looks for.
var lessons = []struct {
	id, what string
	run      func(t *testing.T, c *company.Company) // nil: the test elsewhere
	test     string                                 // elsewhere, as FILE:NAME
}{
	{"CVE-2020-11651", "unlisted methods callable without sign-in", unlistedMethods, "internal/api/routes_test.go:TestNoRouteIsOpen"},
	{"CVE-2020-11652", "path traversal in ids", traversal, "internal/agent/refuse_test.go:TestWhatDoesNotFitIsRefusedBeforeAnythingIsWritten"},
	{"CVE-2021-25281", "one client that skipped authorisation", skippedAuthorisation, ""},
	{"CVE-2020-16846", "shell and argument injection", injection, "internal/scenario/scenario_test.go:TestLintRefuses"},
	{"CVE-2022-22936", "job replay", replay, "internal/agent/once_test.go:TestAForgottenIdNeverRuns"},
	{"CVE-2016-9639", "a re-created host that inherits trust", nil, "test/e2e/enrol_test.go:TestAHostJoins"},
	{"OliveTin-rerun", "re-run and cancel that lost the caller's identity", lostIdentity, "internal/api/verbs_test.go:TestDecideNeedsBothRights"},
	{"OliveTin-streams", "streams and listings that skip rights", streams, "internal/api/runs_test.go:TestAStreamEndsWithTheToken"},
	{"CVE-2021-39133", "cross-site request to code execution", crossSite, "internal/web/routes_test.go:TestOtherSitesAreRefused"},
	{"CVE-2022-29186", "a default key in a package", nil, "test/security/defaults_test.go:TestNoKeyIsShipped"},
	{"CVE-2019-9580", "Origin: null", originNull, "internal/api/routes_test.go:TestOtherSites"},
	{"CVE-2016-5713", "environment passed through to the script", nil, "internal/agent/hardening_test.go:TestNothingOfTheAgentReachesAScript"},
	{"CVE-2021-27023", "credentials following a redirect", nil, "internal/outgoing/outgoing_test.go:TestRedirects"},
	{"CVE-2017-2292", "a reply that runs code on the server", nil, "test/security/reply_test.go:TestAHostsReplyIsOnlyData"},
	{"CVE-2024-23897", "@file expansion", atFile, ""},
	{"CVE-2021-21686", "symlink and check-then-use races", nil, "internal/agent/hostile_test.go:TestSymlinksInTheSpoolAreNotFollowed"},
	{"CVE-2026-4631", "a name that starts with - becoming an option", options, "internal/agent/host/host_test.go:TestAPackageNameIsNeverAnOption"},
	{"CVE-2023-22649", "secrets in the audit log", nil, "test/security/canary_test.go:TestSecretsAreNowhere"},
	{"CVE-2023-28486", "control characters in logs", controlCharacters, "internal/restart/names_test.go:TestEscape"},
}

// TestLessons tries each of them on one real company.
func TestLessons(t *testing.T) {
	c := company.New(t, company.Options{Hosts: 2, Scenario: talkative, Server: ""})
	for _, l := range lessons {
		if l.run != nil {
			t.Run(l.id, func(t *testing.T) { l.run(t, c) })
		}
	}
}

// Salt's master answered methods that nobody had listed. Here every path that
// the server describes, and those that it does not, by every method, with every
// kind of credential but a good one, does nothing and tells nothing.
func unlistedMethods(t *testing.T, c *company.Company) {
	s := siteOf(t, c)
	revoked := token(t, c, demo.Developer, restart.RoleDeveloper)
	must(t, c.Admin.RevokeToken(t.Context(), revoked.ID))
	brief := token(t, c, "brief", restart.RoleAdmin)
	cookie := s.signIn("brief", brief.Secret)
	must(t, c.Admin.RevokeToken(t.Context(), brief.ID))
	join, err := c.Admin.CreateJoinToken(t.Context(), wire.JoinTokenRequest{Host: "new.test.internal"})
	must(t, err)
	parsed, err := pki.ParseJoinToken(join.Token)
	must(t, err)
	credentials := map[string][]string{
		"none": nil, "wrong": {"Authorization", "Bearer rtk_00000000000000000000000000000000"}, "revoked": {"Authorization", "Bearer " + revoked.Secret},
		"session of a revoked token": {"Cookie", cookie, "Origin", c.URL, "Sec-Fetch-Site", "same-origin"},
		"a join token's":             {"Authorization", "Bearer " + parsed.Secret},
		"headers of a proxy":         {"X-Forwarded-User", "admin", "Remote-User", "admin", "X-Remote-User", "admin", "X-Forwarded-For", "127.0.0.1", "X-Forwarded-Email", "admin@example.com"},
		"another method's":           {"Authorization", "Bearer wrong", "X-HTTP-Method-Override", "GET"},
	}
	operations := s.operations(c.DevToken)
	for _, path := range []string{"/api/v1/_prep_auth_info", "/api/v1/internal", "/api/v2/runs", "/api/", "/debug/pprof/", "/debug/vars", "/runs", "/runs/" + strings.Repeat("0", 26) + "/start", "/v1/tasks/" + strings.Repeat("0", 26)} {
		operations = append(operations, operation{"GET", path})
	}
	unchanged := undone(t, c)
	walked := 0
	for _, op := range operations {
		if op.path == "/ping" || op.path == "/readyz" {
			continue
		}
		for _, method := range []string{op.method, "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			for name, headers := range credentials {
				if name == "a join token's" && strings.HasSuffix(op.path, "/join") {
					continue
				}
				a := s.ask(method, op.path, "{}", append([]string{"Content-Type", "application/json"}, headers...)...)
				walked++
				toSignIn := a.StatusCode == http.StatusSeeOther && strings.HasPrefix(a.Header.Get("Location"), "/sign-in")
				if a.StatusCode < 400 && !toSignIn {
					t.Errorf("%s %s with %s: %s\n%s", method, op.path, name, a.Status, a.body)
				}
				if strings.Contains(a.body, demo.ServiceName) || strings.Contains(a.body, c.Hosts[0].Name) {
					t.Errorf("%s %s with %s tells: %s", method, op.path, name, a.body)
				}
			}
		}
	}
	if walked < 1000 {
		t.Errorf("only %d requests", walked)
	}
	unchanged("the walk")
}

// What is no id is refused as such, by the right hand too. Two protections stand
// behind each other: the form of an id is checked before anything is looked up
// (restart.CheckID and its like), and what is looked up is a row by a parameter,
// or a file of the program by its name, and never a path that is made of it.
// Either alone keeps this green; it is red once an id becomes a path.
func traversal(t *testing.T, c *company.Company) {
	s := siteOf(t, c)
	for _, id := range []string{"..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2fserver.yaml", "..%5c..%5cserver.yaml", "%00", strings.Repeat("a", 5000), "-rf", "01m8%0a", "0000000000000000000000000%2f"} {
		for _, path := range []string{
			"/api/v1/runs/" + id, "/api/v1/runs/" + id + "/events", "/api/v1/runs/" + strings.Repeat("0", 26) + "/tasks/" + id + "/output.txt",
			"/api/v1/scenarios/" + id, "/api/v1/services/" + id, "/runs/" + id, "/assets/" + id,
		} {
			a := s.ask("GET", path, "", "Authorization", "Bearer "+c.DevToken)
			if a.StatusCode < 300 || a.StatusCode >= 500 || strings.Contains(a.body, "root:") || strings.Contains(a.body, "envelope_key") {
				t.Errorf("%s: %s\n%s", path, a.Status, a.body)
			}
		}
	}
	for _, service := range []string{"../hello", "hello/../hello", "..", "hello\x00", "/etc/passwd"} {
		if _, err := c.Dev.Draft(t.Context(), restart.Request{Service: service, Reason: reason}, ""); err == nil {
			t.Errorf("service %q was taken", service)
		}
	}
}

// Each operation that changes anything, asked by somebody who may only look.
func skippedAuthorisation(t *testing.T, c *company.Company) {
	s := siteOf(t, c)
	viewer := token(t, c, "vera", restart.RoleViewer)
	draft, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	unchanged := undone(t, c)
	bodies := map[string]string{
		"/api/v1/runs": `{"service":"hello","reason":"` + reason + `","start":true}`, "/api/v1/tokens": `{"name":"x","owner":"admin","roles":["admin"]}`,
		"/api/v1/join-tokens": `{"host":"x.test.internal"}`, "/api/v1/certificates/revoke": `{"host":"` + c.Hosts[0].Name + `","reason":"` + reason + `"}`,
		"/api/v1/freezes": `{"environments":["testing"],"reason":"` + reason + `","from":"2030-01-01T00:00:00Z","to":"2030-01-02T00:00:00Z"}`,
		"decide":          `{"host":"` + c.Hosts[0].Name + `","verdict":"happened","reason":"` + reason + `"}`,
		"later":           `{"at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`,
		"retry":           `{"reason":"` + reason + `","start":true}`, "undrain": `{"reason":"` + reason + `","start":true}`,
	}
	for _, verb := range []string{"start", "pause", "resume", "abort", "force-abort", "decide", "retry", "undrain", "later"} {
		body := bodies[verb]
		if body == "" {
			body = "{}"
		}
		a := s.ask("POST", "/api/v1/runs/"+draft.ID+"/"+verb, body, "Authorization", "Bearer "+viewer.Secret, "Content-Type", "application/json")
		if a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusConflict {
			t.Errorf("%s by a viewer: %s %s", verb, a.Status, a.body)
		}
	}
	for path, body := range bodies {
		if strings.HasPrefix(path, "/") {
			a := s.ask("POST", path, body, "Authorization", "Bearer "+viewer.Secret, "Content-Type", "application/json")
			if a.StatusCode != http.StatusForbidden {
				t.Errorf("%s by a viewer: %s %s", path, a.Status, a.body)
			}
		}
	}
	unchanged("a viewer's requests")
	if run, err := c.Dev.Run(t.Context(), draft.ID); err != nil || run.State != restart.RunDraft {
		t.Errorf("%s, %v", run.State, err)
	}
	recorded(t, c, `"actor":"vera"`, `"outcome":"forbidden"`)
}

// Whatever a parameter or a reason says reaches the script as text, or not at
// all; see also CVE-2023-39059 (Semaphore), CVE-2019-15107 (Webmin), and those
// of Rundeck and Puppet tasks. Two protections: the alphabet of a string
// parameter (restart.Param.Check, on the server and on the host), without which
// some values don't arrive, and that values travel as environment
// (supervisor.environment), without which the alphabet still stops them. A
// command is run only with both out.
func injection(t *testing.T, c *company.Company) {
	sprung := filepath.Join(c.Dir, "sprung")
	taken := 0
	for _, value := range []string{
		"$(touch " + sprung + ")", "`touch " + sprung + "`", "; touch " + sprung, "| touch " + sprung, "&& touch " + sprung, "\ntouch " + sprung + "\n", "'; touch " + sprung + "; '",
		"\"; touch " + sprung + "; \"", "${IFS}touch${IFS}" + sprung, "-rf", "--help", "%s%n", "../../etc/passwd", "x\x00y", "a=b", "!!", "*",
	} {
		run, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason, Hosts: c.Hosts[0].Name, Params: map[string]string{"text": value}}, "")
		if err != nil {
			if code(err) == restart.CodeInternal || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", value, err)
			}
			continue
		}
		taken++
		run, err = c.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
		must(t, err)
		run = c.Until(run.ID, restart.RunCompleted, restart.RunFailed, restart.RunPaused)
		var out strings.Builder
		must(t, c.Dev.WriteOutput(t.Context(), &out, run.ID, run.Tasks[0].ID))
		if run.State != restart.RunCompleted || !strings.Contains(out.String(), "<"+value+">\n") {
			t.Errorf("%q came as %q, %s", value, out.String(), run.State)
		}
	}
	if taken == 0 {
		t.Error("every value was refused, the harmless ones too")
	}
	if _, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: "$(touch " + sprung + ") `touch " + sprung + "`"}, ""); err != nil {
		t.Logf("a reason with commands: %v", err)
	}
	if _, err := os.Stat(sprung); err == nil {
		t.Error("a command was run")
	}
}

// The very bytes that a host has taken once, sent again by who has the server's
// certificate: while it is known, after it is forgotten, and to another host.
// Which host an envelope is for is judged twice, by the agent when it comes and
// by the host's own facts when its work is found: red with both out. That an id
// is over only its tombstone says.
func replay(t *testing.T, c *company.Company) {
	folder := c.ServerDir()
	key, err := pki.LoadEnvelopeKey(filepath.Join(folder, "envelope.key"))
	must(t, err)
	agents, err := dispatch.New(dispatch.Config{Certificate: filepath.Join(folder, "client.crt"), Key: filepath.Join(folder, "client.key"), CA: filepath.Join(folder, "ca.crt")})
	must(t, err)
	t.Cleanup(func() { agents.Close() })
	now := time.Now().UTC()
	scenarios, err := c.Dev.Scenarios(t.Context())
	must(t, err)
	witness := scenarios[slices.IndexFunc(scenarios, func(s wire.Scenario) bool { return s.Name == "witness" })]
	envelope := protocol.Envelope{
		Version: protocol.Version, Task: restart.NewID(now), Run: restart.NewID(now), Attempt: 1, Host: c.Hosts[0].Name, Service: demo.ServiceName, Environment: demo.Environment,
		Group: demo.GroupName, Project: "shop", Scenario: witness.Name, Digest: witness.Digest, Params: map[string]string{"text": "x"}, Actor: demo.Developer, Reason: reason, NotBefore: now, Expiry: now.Add(protocol.Lifetime),
	}
	sealed, err := protocol.Seal(envelope, key)
	must(t, err)
	here, there := restart.Host{Name: c.Hosts[0].Name, Address: c.Hosts[0].Address}, restart.Host{Name: c.Hosts[1].Name, Address: c.Hosts[1].Address}
	submission := protocol.Submission{Sealed: sealed, Epoch: 1}
	put := func(to restart.Host) error {
		_, err := agents.Put(t.Context(), to, envelope.Task, submission)
		return err
	}
	must(t, put(here))
	began := func() int {
		return c.Witnessed()[envelope.Task+" "+here.Name+" begin"] + c.Witnessed()[envelope.Task+" "+there.Name+" begin"]
	}
	c.Eventually("the task", func() bool { return c.Witnessed()[envelope.Task+" "+here.Name+" end"] == 1 })
	_ = put(here) // known: its status is told, and nothing more
	c.KillAgent(c.Hosts[0])
	c.StartAgent(c.Hosts[0])
	c.Eventually("the agent to answer", func() bool { _, err := agents.Status(t.Context(), here, envelope.Task, -1, 0); return err == nil })
	_ = put(here)
	_, err = agents.Forget(t.Context(), here, envelope.Task, protocol.Forget{Run: envelope.Run, Epoch: 1})
	must(t, err)
	if err := put(here); code(err) != restart.CodeTombstone {
		t.Errorf("after it was forgotten: %v", err)
	}
	if err := put(there); code(err) != restart.CodeWrongHost {
		t.Errorf("to another host: %v", err)
	}
	if n := began(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

// Whoever presses is who is judged and who is recorded, whoever asked first.
func lostIdentity(t *testing.T, c *company.Company) {
	mallory := c.Client(token(t, c, "mallory", restart.RoleDeveloper).Secret) // owns nothing
	run, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	unchanged := undone(t, c)
	if _, err := mallory.Start(t.Context(), run.ID, wire.StartRequest{}); code(err) != restart.CodeForbidden {
		t.Errorf("start of another's: %v", err)
	}
	unchanged("start by somebody else")
	_, err = c.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
	must(t, err)
	for verb, do := range map[string]func() error{
		"pause": func() error { _, err := mallory.Pause(t.Context(), run.ID); return err }, "abort": func() error { _, err := mallory.Abort(t.Context(), run.ID); return err },
		"force-abort": func() error { _, err := mallory.ForceAbort(t.Context(), run.ID); return err }, "resume": func() error { _, err := mallory.Resume(t.Context(), run.ID); return err },
		"retry": func() error {
			_, err := mallory.Retry(t.Context(), run.ID, wire.RetryRequest{Reason: reason, Start: true}, "")
			return err
		},
	} {
		if err := do(); code(err) != restart.CodeForbidden {
			t.Errorf("%s of another's: %v", verb, err)
		}
	}
	c.Until(run.ID, restart.RunCompleted)
	recorded(t, c, `"actor":"mallory"`, `"outcome":"forbidden"`, run.ID)
	for line := range strings.Lines(trail(t, c)) {
		if strings.Contains(line, run.ID) && strings.Contains(line, `"action":"run.started"`) && !strings.Contains(line, `"actor":"`+demo.Developer+`"`) {
			t.Errorf("started by: %s", line)
		}
	}
}

// A token that is ended opens no list, no stream and no output, at once.
func streams(t *testing.T, c *company.Company) {
	s := siteOf(t, c)
	run := c.Until(c.Start(reason).ID, restart.RunCompleted)
	made := token(t, c, demo.Developer, restart.RoleDeveloper)
	paths := []string{
		"/api/v1/runs", "/api/v1/runs/" + run.ID, "/api/v1/runs/" + run.ID + "/tasks/" + run.Tasks[0].ID, "/api/v1/runs/" + run.ID + "/tasks/" + run.Tasks[0].ID + "/output",
		"/api/v1/runs/" + run.ID + "/tasks/" + run.Tasks[0].ID + "/output.txt", "/api/v1/runs/" + run.ID + "/events", "/api/v1/services", "/api/v1/hosts", "/api/v1/locks",
	}
	for _, ended := range []bool{false, true} {
		if ended {
			must(t, c.Admin.RevokeToken(t.Context(), made.ID))
		}
		for _, path := range paths {
			want := http.StatusOK
			if ended {
				want = http.StatusUnauthorized
			}
			if strings.HasSuffix(path, "/hosts") {
				path += "?expr=" + url.QueryEscape("%all")
			}
			if a := s.ask("GET", path, "", "Authorization", "Bearer "+made.Secret); a.StatusCode != want {
				t.Errorf("%s, ended %v: %s", path, ended, a.Status)
			}
		}
	}
	// The trail is for auditors and admins, by whatever way it is asked for.
	if a := s.ask("GET", "/api/v1/audit", "", "Authorization", "Bearer "+c.DevToken); a.StatusCode != http.StatusForbidden {
		t.Errorf("the audit trail for a developer: %s", a.Status)
	}
}

// fromElsewhere tries what another site's page can make a signed-in browser do.
func fromElsewhere(t *testing.T, c *company.Company, headers ...string) {
	t.Helper()
	s := siteOf(t, c)
	cookie := s.signIn(demo.Developer, c.DevToken)
	draft, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	unchanged := undone(t, c)
	told := len(headers) > 0
	headers = append(headers, "Cookie", cookie)
	request := `{"service":"hello","reason":"` + reason + `","start":true}`
	for _, kind := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		for path, body := range map[string]string{
			"/api/v1/runs": request, "/api/v1/runs/" + draft.ID + "/start": "{}", "/runs/" + draft.ID + "/start": "version=1", "/runs/" + draft.ID + "/abort": "", "/sign-out": "", "/api/v1/tokens": `{"name":"x"}`,
		} {
			a := s.ask("POST", path, body, append(headers, "Content-Type", kind)...)
			if a.StatusCode != http.StatusForbidden {
				t.Errorf("POST %s as %s: %s", path, kind, a.Status)
			}
			if got := a.Header.Get("Access-Control-Allow-Origin") + a.Header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("POST %s lets others read: %q", path, got)
			}
		}
	}
	if !told { // as a browser before these headers: it can read streams of its own origin only
		return
	}
	if a := s.ask("GET", "/api/v1/runs/"+draft.ID+"/events", "", headers...); a.StatusCode != http.StatusForbidden {
		t.Errorf("the stream: %s", a.Status)
	}
	if a := s.ask("OPTIONS", "/api/v1/runs", "", append(headers, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization")...); a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("a preflight is answered: %v", a.Header)
	}
	unchanged("requests from elsewhere")
	if run, err := c.Dev.Run(t.Context(), draft.ID); err != nil || run.State != restart.RunDraft {
		t.Errorf("%s, %v", run.State, err)
	}
	// No GET changes anything, not even from our own page.
	for _, path := range []string{"/runs/" + draft.ID + "/start", "/runs/" + draft.ID + "/abort", "/sign-out", "/api/v1/runs/" + draft.ID + "/start"} {
		if a := s.ask("GET", path, "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin"); a.StatusCode < 400 {
			t.Errorf("GET %s: %s", path, a.Status)
		}
	}
	unchanged("GET")
}

func crossSite(t *testing.T, c *company.Company) {
	fromElsewhere(t, c, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Referer", "https://evil.example/")
	fromElsewhere(t, c)
}

func originNull(t *testing.T, c *company.Company) { fromElsewhere(t, c, "Origin", "null") }

// "@/etc/passwd" is text, wherever the command line takes text.
func atFile(t *testing.T, c *company.Company) {
	secret := filepath.Join(c.Dir, "precious")
	must(t, os.WriteFile(secret, []byte("precious content of a file\n"), 0o600))
	for _, args := range [][]string{
		{"restart", demo.ServiceName, "--reason", "@" + secret, "--yes", "--json"},
		{"restart", "@" + secret, "--reason", reason, "--yes", "--json"},
		{"restart", demo.ServiceName, "--hosts", "@" + secret, "--reason", reason, "--yes", "--json"},
		{"run", "witness", demo.ServiceName, "--param", "text=@" + secret, "--reason", reason, "--yes", "--json"},
		{"show", "@" + secret}, {"@" + secret},
	} {
		out, talk, _ := c.CLI(args...)
		if strings.Contains(out+talk, "precious content") {
			t.Errorf("%q read the file:\n%s%s", args, out, talk)
		}
	}
	runs, err := c.Admin.Runs(t.Context(), wire.RunQuery{Limit: 200})
	must(t, err)
	b, err := json.Marshal(runs)
	must(t, err)
	if strings.Contains(string(b)+trail(t, c), "precious content") {
		t.Error("the file's content was sent")
	}
}

// What starts with - is refused as a name, so that no program takes it for an
// option.
func options(t *testing.T, c *company.Company) {
	s := siteOf(t, c)
	unchanged := undone(t, c)
	for _, name := range []string{"-rf", "--version", "-oProxyCommand=touch${IFS}x", "--output=/etc/cron.d/x"} {
		for _, field := range []string{"service", "hosts", "group", "environment", "scenario"} {
			fields := map[string]string{"service": demo.ServiceName, "reason": reason}
			fields[field] = name
			body, err := json.Marshal(fields)
			must(t, err)
			a := s.ask("POST", "/api/v1/plans", string(body), "Authorization", "Bearer "+c.DevToken, "Content-Type", "application/json")
			if a.StatusCode < 400 || a.StatusCode >= 500 {
				t.Errorf("%s %q: %s %s", field, name, a.Status, a.body)
			}
		}
		if _, err := c.Admin.CreateJoinToken(t.Context(), wire.JoinTokenRequest{Host: name}); code(err) != restart.CodeInvalid {
			t.Errorf("a host %q joins: %v", name, err)
		}
		if out, talk, exit := c.CLI("restart", "--reason", reason, "--yes", "--", name); exit == 0 {
			t.Errorf("the command line took %q: %s%s", name, out, talk)
		}
	}
	unchanged("names that start with -")
}

// Nobody can forge a line of a log, a record or a terminal by what he writes.
func controlCharacters(t *testing.T, c *company.Company) {
	const esc = "\x1b]0;owned\x07\x1b[2J"
	for _, bad := range []string{"a reason with " + esc + " in it", "first line\n{\"action\":\"run.ended\",\"actor\":\"forged\"}", "written \u202eforwards and \u2066back\u2069", "a bell \x07 and a \x9b1m"} {
		if _, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: bad}, ""); err == nil {
			t.Errorf("%q was taken as a reason", bad)
		}
		_, talk, exit := c.CLI("restart", demo.ServiceName, "--reason", bad, "--yes")
		if exit == 0 || strings.Contains(talk, esc) {
			t.Errorf("exit %d, %q", exit, talk)
		}
	}
	s := siteOf(t, c)
	s.ask("POST", "/sign-in", url.Values{"name": {"x\n{\"action\":\"forged\"}" + esc}, "secret": {"y"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", c.URL, "Sec-Fetch-Site", "same-origin")
	s.ask("GET", "/api/v1/runs/"+url.PathEscape("x\n"+esc), "", "Authorization", "Bearer "+c.DevToken)
	for line := range strings.Lines(trail(t, c)) {
		var record struct{ Actor, Action string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Actor == "forged" || record.Action == "forged" {
			t.Errorf("%v in %q", err, line)
		}
	}
	for name, b := range map[string]string{"the trail": trail(t, c), "the server's log": c.ServerLog()} {
		for _, r := range []string{"\x1b", "\x07", "\u202e", "\u2066", "\u009b"} {
			if strings.Contains(b, r) {
				t.Errorf("%s holds %q", name, r)
			}
		}
	}
}
