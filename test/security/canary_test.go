package security

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// The canaries: secrets wherever a secret can be given.
const (
	hookSecret     = "canary-hook-secret-4f1d9a7c"
	hookPath       = "canary-hook-path-88a2c0e1"
	inventoryToken = "canary-inventory-token-c3b7"
	dsnPassword    = "canary-dsn-password-19ee0d"
	ofTheAgent     = "canary-agent-environment-77"
)

// TestSecretsAreNowhere puts a secret everywhere one can be given, has runs,
// restarts, failures and refusals, and looks for them in everything that is
// written, answered, shown or handed on. CVE-2023-22649 (Rancher) is one of the
// places.
func TestSecretsAreNowhere(t *testing.T) {
	var asked, hooked atomic.Int32
	conductor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+inventoryToken {
			t.Errorf("the inventory is asked with %q", r.Header.Get("Authorization"))
		}
		if asked.Add(1)%2 == 0 {
			http.Error(w, "no "+r.Header.Get("Authorization"), http.StatusInternalServerError) // it tells what it got
			return
		}
		fmt.Fprintln(w, "dc1\thost1.test.internal")
	}))
	t.Cleanup(conductor.Close)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hooked.Add(1) == 1 {
			http.Error(w, "not now: "+r.URL.Path, http.StatusInternalServerError)
		}
	}))
	t.Cleanup(receiver.Close)
	t.Setenv("RESTARTILKA_SECRET", ofTheAgent)

	var secrets string
	c := company.New(t, company.Options{
		Hosts: 2, Servers: 1, Work: 200 * time.Millisecond,
		Scenario: func(c *company.Company) (string, string) {
			secrets = filepath.Join(c.ServerDir(), "secrets")
			must(t, os.Mkdir(secrets, 0o700))
			for name, text := range map[string]string{
				"hook": hookSecret, "inventory": inventoryToken, "dsn": "postgres://restartilka:" + dsnPassword + "@127.0.0.1:1/restartilka?connect_timeout=1", "services.yaml": "services: [{name: hello, owners: [dana]}]\ngroups: [{name: one, environment: testing, services: [hello]}]\n",
			} {
				must(t, os.WriteFile(filepath.Join(secrets, name), []byte(text+"\n"), 0o600))
			}
			name, text := talkative(c)
			return name, strings.Replace(text, "      printf", "      env\n      printf", 1)
		},
		Prepare: func(c *company.Company) {
			more := fmt.Sprintf("notify:\n  webhooks:\n    - {url: %q, secret_file: secrets/hook, events: [break-glass]}\n", receiver.URL+"/"+hookPath+"?key="+hookPath)
			b, err := os.ReadFile(c.Config())
			must(t, err)
			must(t, os.WriteFile(c.Config(), append(b, more...), 0o640))
		},
	})
	canaries := map[string]string{
		"webhook secret": hookSecret, "webhook address": hookPath, "inventory token": inventoryToken, "DSN password": dsnPassword,
		"developer's token": c.DevToken, "environment of the programs": ofTheAgent,
	}
	for _, file := range []string{"ca.key", "client.key", "envelope.key", "server.key"} {
		canaries[file] = keyText(t, filepath.Join(c.ServerDir(), file))
	}
	for _, h := range c.Hosts {
		canaries["agent.key of "+h.Name] = keyText(t, filepath.Join(h.Dir, "agent.key"))
	}
	s := siteOf(t, c)
	cookie := s.signIn(demo.Developer, c.DevToken)
	_, canaries["session"], _ = strings.Cut(cookie, "=")
	made, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "root", Owner: "root", Roles: []restart.Role{restart.RoleAdmin, restart.RoleDeveloper}})
	must(t, err)
	canaries["admin's token"] = made.Secret
	join, err := c.Admin.CreateJoinToken(t.Context(), wire.JoinTokenRequest{Host: "new.test.internal"})
	must(t, err)
	parsed, err := pki.ParseJoinToken(join.Token)
	must(t, err)
	canaries["join token"] = parsed.Secret

	shown := exercise(t, c, s, canaries)
	c.Eventually("the message of broken glass to be taken", func() bool { return hooked.Load() >= 2 })
	for i := range 4 { // a second server, on a database of its own, with the inventory of a Conductor, which fails every second time
		second := c.NewServer(2, "sqlite: "+c.Database(), "sqlite: "+filepath.Join(c.Dir, "second.db"), "  kind: yaml\n  path: inventory.yaml\n", "  kind: conductor\n  url: "+conductor.URL+"\n  token_file: secrets/inventory\n  services_file: secrets/services.yaml\n  cache_for: 1ms\n")
		if i == 0 {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("log of the second server:\n%s", second.Log())
				}
			})
			second.Start()
			t.Cleanup(second.Stop)
		}
		out, talk, _ := c.Program("config", "check", "--config", second.Config, "--user", "")
		shown["config check with a Conductor"] += out + talk
		out, talk, _ = c.Program("config", "show", "--config", second.Config)
		shown["config show with a Conductor"] = out + talk
	}
	if asked.Load() < 4 {
		t.Errorf("the inventory was asked %d times", asked.Load())
	}
	// A database that can't be reached.
	broken := c.NewServer(2, "sqlite: "+c.Database(), "dsn_file: secrets/dsn")
	out, talk, exit := c.Program("server", "--config", broken.Config)
	if exit == 0 {
		t.Error("a server without a database started")
	}
	shown["a server without a database"] = out + talk
	out, talk, _ = c.Program("config", "check", "--config", broken.Config, "--user", "")
	shown["config check without a database"] = out + talk

	search(t, c, shown, canaries)
}

// keyText gives the first line of a private key's text.
func keyText(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	if block, _ := pem.Decode(b); block == nil {
		t.Fatalf("%s is no PEM", file)
	}
	return strings.Split(string(b), "\n")[1]
}

// exercise does everything that goes right and wrong, and gives what was shown.
func exercise(t *testing.T, c *company.Company, s *site, canaries map[string]string) map[string]string {
	t.Helper()
	shown := map[string]string{}
	run := c.Until(c.Start(reason).ID, restart.RunCompleted)
	must(t, func() error {
		_, err := c.Admin.AddFreeze(t.Context(), wire.FreezeRequest{Environments: []string{"all"}, To: time.Now().Add(time.Hour).UTC().Format(time.RFC3339), Reason: reason})
		return err
	}())
	boss := c.Client(canaries["admin's token"])
	broken, err := boss.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	_, err = boss.Start(t.Context(), broken.ID, wire.StartRequest{BreakGlass: true})
	must(t, err)
	c.KillServer()
	c.StartServer()
	c.KillAgent(c.Hosts[1])
	c.StartAgent(c.Hosts[1])
	c.Until(broken.ID, restart.RunCompleted, restart.RunPaused, restart.RunFailed)

	// A secret in the wrong place: as a name, in an address, of a kind that is not asked for.
	for _, secret := range []string{canaries["developer's token"], canaries["admin's token"], canaries["join token"], canaries["session"]} {
		s.ask("POST", "/sign-in", url.Values{"name": {secret}, "secret": {"x"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", c.URL, "Sec-Fetch-Site", "same-origin")
		s.ask("POST", "/sign-in", url.Values{"name": {"dana"}, "secret": {secret + "x"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", c.URL, "Sec-Fetch-Site", "same-origin")
		for _, path := range []string{"/api/v1/runs?token=" + secret, "/runs?token=" + secret, "/api/v1/whoami?access_token=" + secret, "/metrics?token=" + secret} {
			s.ask("GET", path, "")
			s.ask("GET", path, "", "Authorization", "Bearer "+canaries["developer's token"])
		}
		s.ask("GET", "/api/v1/runs", "", "Authorization", "Basic "+secret)
		s.ask("POST", "/api/v1/join", "{}", "Authorization", "Bearer "+secret, "Content-Type", "application/json")
		s.ask("POST", "/api/v1/join", `{"csr":"`+secret+`"}`, "Authorization", "Bearer "+secret, "Content-Type", "application/json")
	}
	admin := []string{"Authorization", "Bearer " + canaries["admin's token"]}
	ids := strings.NewReplacer(strings.Repeat("0", 26)+"/tasks/"+strings.Repeat("0", 26), run.ID+"/tasks/"+run.Tasks[0].ID, strings.Repeat("0", 26), run.ID)
	for _, op := range s.operations(canaries["admin's token"]) {
		if op.method == "GET" && !strings.HasSuffix(op.path, "/events") {
			a := s.ask("GET", ids.Replace(op.path), "", admin...)
			shown["GET "+op.path] = a.body + fmt.Sprint(a.Header)
		}
	}
	cookie := s.signIn("root", canaries["admin's token"])
	canaries["second session"] = strings.SplitN(cookie, "=", 2)[1]
	for _, path := range []string{"/runs", "/runs/" + run.ID, "/runs/" + broken.ID, "/freezes", "/break-glass", "/sign-in", "/runs/" + run.ID + "/hosts/" + c.Hosts[0].Name} {
		shown["page "+path] = s.ask("GET", path, "", "Cookie", cookie).body
	}
	for _, args := range [][]string{{"config", "show", "--config", c.Config()}, {"config", "check", "--config", c.Config(), "--user", ""}, {"backup", filepath.Join(c.Dir, "backup"), "--config", c.Config(), "--user", ""}} {
		out, talk, exit := c.Program(args...)
		if exit != 0 {
			t.Errorf("%q: exit %d: %s", args, exit, talk)
		}
		shown[strings.Join(args[:2], " ")] = out + talk
	}
	return shown
}

// search looks everywhere.
func search(t *testing.T, c *company.Company, shown, canaries map[string]string) {
	t.Helper()
	for what, text := range shown {
		if found := holds([]byte(text), canaries); len(found) > 0 {
			t.Errorf("%s shows: %v", what, found)
		}
	}
	processes := 0
	for _, name := range []string{"server", "server2", c.Hosts[0].Name, c.Hosts[1].Name} {
		pid := c.PID(name)
		if pid == 0 {
			t.Errorf("%s does not run", name)
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
			must(t, err)
			for _, found := range holds(b, canaries) {
				if found != "environment of the programs" { // it was put there by this test
					t.Errorf("%s of %s holds: %s", file, name, found)
				}
			}
			processes++
		}
	}
	c.StopServer() // so that all is in its files
	if processes < 8 {
		t.Errorf("only %d files of processes", processes)
	}
	allowed := func(path string) bool { // where the secrets themselves lie
		return strings.HasPrefix(path, filepath.Join(c.ServerDir(), "secrets")+"/") || filepath.Ext(path) == ".key" || strings.HasSuffix(path, ".yaml")
	}
	seen := map[string]bool{}
	for path, b := range readAll(t, c.Dir) {
		if allowed(path) {
			continue
		}
		seen[filepath.Base(path)] = true
		if found := holds(b, canaries); len(found) > 0 {
			t.Errorf("%s holds: %v", path, found)
		}
	}
	for _, want := range []string{"restartilka.db", "audit.jsonl", "server.log", "host1.test.internal.log", "backup"} {
		if !seen[want] {
			t.Errorf("%s was not looked at", want)
		}
	}
	if !bytes.Contains([]byte(trail(t, c)), []byte("run.ended")) {
		t.Error("the trail is empty")
	}
}
