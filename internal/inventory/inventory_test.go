package inventory_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/foreign/conductor"
)

func TestConfigRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for text, want := range map[string]string{
		"{}":                         `inventory.kind "" is not known (one of: ansible, conductor, consul, inventoree, json, merged, prometheus, yaml)`,
		"{kind: yaml}":               "inventory.path is missing",
		"{kind: yaml, path: x.yaml}": "not an absolute path",
		"{kind: yaml, path: /x, url: 'http://x'}":                                                                     "inventory.url is not used by kind yaml",
		"{kind: ansible, path: /x}":                                                                                   "inventory.services_file is missing",
		"{kind: ansible, services_file: /x}":                                                                          "inventory.path or command is missing",
		"{kind: ansible, services_file: /x, path: /x, command: [x]}":                                                  "both given",
		"{kind: ansible, services_file: /x, path: /x, cache_for: 1h}":                                                 "is a local file",
		"{kind: ansible, services_file: /x, command: [x], timeout: 1h}":                                               "over 10m",
		"{kind: ansible, services_file: /x, command: [x], timeout: -1s}":                                              "can't be negative",
		"{kind: ansible, services_file: /x, command: [x], cache_for: 1h, stale_for: 1m}":                              "shorter than cache_for",
		"{kind: conductor, services_file: /x}":                                                                        "inventory.url is missing",
		"{kind: conductor, services_file: /x, url: 'ftp://x'}":                                                        "scheme is not https",
		"{kind: conductor, services_file: /x, url: 'https://u:p@x'}":                                                  "name or password does not belong",
		"{kind: conductor, services_file: /x, url: 'https://x?a=b'}":                                                  "query",
		"{kind: conductor, services_file: /x, url: 'http://x.example.com', token_file: /x}":                           "in clear",
		"{kind: conductor, services_file: /x, url: 'https://x', token_scheme: OAuth}":                                 "without token_file",
		"{kind: conductor, services_file: /x, url: 'https://x', ca_file: " + file + "}":                               "holds no PEM certificate",
		"{kind: conductor, services_file: /x, url: 'https://x', format: xml}":                                         "json or text",
		"{kind: conductor, services_file: /x, url: 'https://x', environments: [Testing]}":                             "wrong name",
		"{kind: conductor, services_file: /x, url: 'https://x', group_names: ['#service#-#x#']}":                      "unknown",
		"{kind: conductor, services_file: /x, url: 'https://x', group_names: ['#service#'], environments: [testing]}": "don't fit together",
	} {
		var c inventory.Config
		if err := yaml.Load([]byte(text), &c, yaml.WithKnownFields()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		i, err := inventory.New(c)
		if i != nil || restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// started makes an inventory in a world that is told.
func started(t *testing.T, w *world) *inventory.Inventory {
	t.Helper()
	w.set(t, false)
	return again(t, w)
}

// again makes another one, as a server does that is started again.
func again(t *testing.T, w *world) *inventory.Inventory {
	t.Helper()
	i, err := inventory.New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func snapshot(t *testing.T, i *inventory.Inventory) inventory.Snapshot {
	t.Helper()
	s, err := i.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnswersAreKeptForAWhile(t *testing.T) {
	w := cachedWorld(t)
	i := started(t, w)
	first := snapshot(t, i)
	w.down(t)
	w.clock.move(4*time.Minute + 59*time.Second)
	if s := snapshot(t, i); s.Stale || !s.FetchedAt.Equal(first.FetchedAt) {
		t.Errorf("within cache_for: stale %v, of %s", s.Stale, s.FetchedAt)
	}
	if s := snapshot(t, again(t, w)); s.Stale || !s.FetchedAt.Equal(first.FetchedAt) || len(s.Hosts) != len(first.Hosts) {
		t.Errorf("within cache_for, started again: stale %v, of %s", s.Stale, s.FetchedAt)
	}
	w.clock.move(time.Second)
	for name, i := range map[string]*inventory.Inventory{"the same": i, "started again": again(t, w)} {
		s := snapshot(t, i)
		if !s.Stale || !s.FetchedAt.Equal(first.FetchedAt) || !strings.Contains(s.Problem, "2030-01-02T03:04:05Z") || !strings.Contains(s.Problem, "502") {
			t.Errorf("%s, after cache_for: stale %v, of %s, problem %q", name, s.Stale, s.FetchedAt, s.Problem)
		}
	}
	w.clock.move(24 * time.Hour)
	wantUnavailable(t, second(i.Snapshot(t.Context())))
	wantUnavailable(t, second(again(t, w).Snapshot(t.Context())))
}

func TestStaleIsServedOnlyWhenSaid(t *testing.T) {
	w := cachedWorld(t)
	w.config.StaleFor = 0
	i := started(t, w)
	snapshot(t, i)
	w.down(t)
	w.clock.move(6 * time.Minute)
	wantUnavailable(t, second(i.Snapshot(t.Context())))
	wantUnavailable(t, second(again(t, w).Snapshot(t.Context())))
}

func TestCacheFile(t *testing.T) {
	w := cachedWorld(t)
	snapshot(t, started(t, w))
	files, err := filepath.Glob(filepath.Join(w.config.CacheDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	w.down(t)
	for name, text := range map[string]string{
		"torn":           string(good[:len(good)/2]),
		"another format": strings.Replace(string(good), `"format":1`, `"format":2`, 1),
		"forged":         strings.Replace(string(good), "pay1.example.com", "../../etc", 1),
		"another source": strings.Replace(string(good), `"source":"`, `"source":"0`, 1),
	} {
		write(t, files[0], text)
		if text == string(good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		wantError(t, name, second(again(t, w).Snapshot(t.Context())), restart.CodeUnavailable)
	}
	write(t, files[0], string(good))
	snapshot(t, again(t, w))
	w.config.Environments = append(w.config.Environments, "development")
	wantError(t, "another question", second(again(t, w).Snapshot(t.Context())), restart.CodeUnavailable)
}

func TestAFailingSourceIsLeftAloneForAMoment(t *testing.T) {
	server := conductor.New(t)
	w := conductorWorld(t, "json")
	write(t, w.config.ServicesFile, services+"groups: [{name: shop-nginx-testing, services: [nginx]}]\n") // one request each time
	w.config.URL, w.config.GroupNames, w.config.Environments = server.URL+"/api", nil, nil
	server.Answer(badGateway)
	i := again(t, w)
	wantUnavailable(t, second(i.Snapshot(t.Context())))
	asked := server.Asked.Load()
	server.Set(shop(false))
	wantUnavailable(t, second(i.Snapshot(t.Context())))
	if n := server.Asked.Load(); n != 1 || asked != 1 {
		t.Errorf("asked %d times, then %d", asked, n)
	}
	w.clock.move(10 * time.Second)
	if s := snapshot(t, i); s.Stale || s.Problem != "" {
		t.Errorf("stale %v, %q", s.Stale, s.Problem)
	}
}

func TestServicesFileIsReadAgain(t *testing.T) {
	w := conductorWorld(t, "json")
	i := started(t, w)
	snapshot(t, i)
	write(t, w.config.ServicesFile, services+"  - {name: extra}\ngroups:\n  - {name: gone, services: [extra]}\n")
	s := snapshot(t, i)
	if len(s.Services) != 3 || !strings.Contains(s.Problem, "group gone of the services file is not known there") {
		t.Errorf("%d services, problem %q", len(s.Services), s.Problem)
	}
	write(t, w.config.ServicesFile, "services: [{nam: x}]\n")
	w.clock.move(time.Minute)
	if s := snapshot(t, i); !s.Stale || len(s.Services) != 3 || !strings.Contains(s.Problem, "line 1") { // not too old yet
		t.Errorf("broken: %d services, stale %v, problem %q", len(s.Services), s.Stale, s.Problem)
	}
	w.clock.move(5 * time.Minute)
	wantError(t, "broken", second(i.Snapshot(t.Context())), restart.CodeUnavailable, "services.yaml: line 1: unknown key", "did you mean name?")
}

func TestBrokenEditNamesTheLine(t *testing.T) {
	w := yamlWorld(t)
	i := started(t, w)
	snapshot(t, i)
	write(t, w.config.Path, "services:\n- name: nginx\n  unti: x\n")
	if s := snapshot(t, i); !s.Stale || !strings.Contains(s.Problem, `line 3: unknown key "unti"`) || len(s.Hosts) != 6 {
		t.Errorf("stale %v, %q", s.Stale, s.Problem)
	}
	w.set(t, true) // put right at once, with the clock standing
	if s := snapshot(t, i); s.Stale || s.Problem != "" || len(s.Hosts) != 7 {
		t.Errorf("put right: stale %v, %q", s.Stale, s.Problem)
	}
	write(t, w.config.Path, "services:\n- name: nginx\n  unti: x\n")
	wantError(t, "from the start", second(again(t, w).Snapshot(t.Context())), restart.CodeUnavailable, w.config.Path, "line 3", "did you mean unit?")
}

// An edit that keeps the size is seen, also within the clock tick of the file
// system; one by one, so that no two share a state.
func TestQuickEditsAreSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	i, err := inventory.New(inventory.Config{Kind: "yaml", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		name := fmt.Sprintf("web%02d", n)
		if err := os.WriteFile(path, []byte("hosts: [{name: "+name+"}]\n"), 0o600); err != nil { // in place: the same inode
			t.Fatal(err)
		}
		if _, err := i.Host(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, big := filepath.Join(dir, "pipe"), filepath.Join(dir, "big")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, big, "")
	if err := os.Truncate(big, 16<<20+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "not a regular file", dir: "not a regular file", big: "over", filepath.Join(dir, "none"): "does not exist"} {
		i, err := inventory.New(inventory.Config{Kind: "yaml", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.Snapshot(t.Context())
		wantUnavailable(t, err)
		wantError(t, path, err, restart.CodeUnavailable, want)
	}
}

func TestConductorLooksUpGroups(t *testing.T) {
	w := conductorWorld(t, "json")
	i := started(t, w)
	hosts, err := i.Resolve(t.Context(), "%other-group,-web1.example.com")
	if err != nil || hostNames(hosts) != "other1.example.com" {
		t.Errorf("%s, %v", hostNames(hosts), err)
	}
	g, hosts, err := i.Group(t.Context(), "other-group")
	if err != nil || len(g.Services) != 0 || hostNames(hosts) != "other1.example.com web1.example.com" || len(hosts[1].Tags) != 1 {
		t.Errorf("%+v, %+v, %v", g, hosts, err)
	}
	wantError(t, "unknown", second(i.Resolve(t.Context(), "%all,-%other-gruop")), restart.CodeNotFound, "other-gruop")
	wantError(t, "a path", second(i.Resolve(t.Context(), "%../hosts")), restart.CodeInvalid)
	many := "%all"
	for n := range 21 {
		many += fmt.Sprintf(",%%group%d", n)
	}
	w.down(t)
	_, err = i.Resolve(t.Context(), "%some-group")
	wantUnavailable(t, err)
	w.set(t, false)
	wantError(t, "many", second(i.Resolve(t.Context(), many)), restart.CodeNotFound)
}

func TestConductorFailures(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect to another origin was followed, with %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		"a redirect elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "redirects to another address"},
		"a redirect loop":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "the connection breaks"},
		"not found":            {http.NotFound, "404 Not Found when asked for"},
		"forbidden":            {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusForbidden) }, "inventory.token_file"},
		"no groups, and an error": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "No groups found", http.StatusInternalServerError)
		}, "500"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) { flood(w) }, "over 16 MiB"},
		"a page":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "no list of hosts"},
		"cut":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the connection breaks"},
		"silent":  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "does not answer within 100 milliseconds"},
	} {
		t.Run(name, func(t *testing.T) {
			described := filepath.Join(t.TempDir(), "services.yaml")
			write(t, described, services+"groups: [{name: one, services: [nginx]}]\n")
			server := httptest.NewServer(http.HandlerFunc(c.answer))
			defer server.Close()
			timeout := 5 * time.Minute
			if name == "silent" {
				timeout = 100 * time.Millisecond
			}
			i, err := inventory.New(inventory.Config{Kind: "conductor", URL: server.URL, ServicesFile: described, Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			_, err = i.Snapshot(t.Context())
			wantUnavailable(t, err)
			wantError(t, name, err, restart.CodeUnavailable, c.want, server.URL)
		})
	}
}

func flood(w http.ResponseWriter) {
	line := []byte(strings.Repeat("x", 1<<16))
	for {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}

func TestConductorToken(t *testing.T) {
	dir := t.TempDir()
	described, token := filepath.Join(dir, "services.yaml"), filepath.Join(dir, "token")
	write(t, described, services+"groups: [{name: one, services: [nginx]}]\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "OAuth secret" {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, "web1")
	}))
	defer server.Close()
	c := newClock()
	i, err := inventory.New(inventory.Config{Kind: "conductor", URL: server.URL, ServicesFile: described, TokenFile: token, TokenScheme: "OAuth", Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"", 0, "no such file"}, {"wrong", 0o600, "401"}, {"secret\n", 0o604, "others can reach it"}, {"two words", 0o600, "one word"}, {"secret\n", 0o600, ""},
	} {
		if step.mode != 0 {
			write(t, token, step.text)
			if err := os.Chmod(token, step.mode); err != nil {
				t.Fatal(err)
			}
		}
		_, err := i.Snapshot(t.Context())
		if step.want != "" {
			wantError(t, step.text, err, restart.CodeUnavailable, step.want)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the token is in the message: %v", err)
			}
		} else if err != nil {
			t.Error(err)
		}
		c.move(time.Minute)
	}
}

func commandInventory(t *testing.T, timeout time.Duration, argv ...string) *inventory.Inventory {
	t.Helper()
	described := filepath.Join(t.TempDir(), "services.yaml")
	write(t, described, services)
	i, err := inventory.New(inventory.Config{Kind: "ansible", Command: argv, ServicesFile: described, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCommandFailures(t *testing.T) {
	for name, c := range map[string]struct {
		argv []string
		want []string
	}{
		"fails":         {[]string{os.Args[0], "inventory-command", "fail"}, []string{"exit status 4", `[ERROR]: no such \x1b[31minventory`}},
		"floods":        {[]string{os.Args[0], "inventory-command", "flood"}, []string{"more than 64 MiB"}},
		"not installed": {[]string{"no-such-program-anywhere"}, []string{"is not installed"}},
		"no such file":  {[]string{"/no/such/program"}, []string{"is not installed"}},
		"no shell":      {[]string{"echo {} ; echo"}, []string{"is not installed"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := commandInventory(t, 5*time.Minute, c.argv...).Snapshot(t.Context())
			wantUnavailable(t, err)
			wantError(t, name, err, restart.CodeUnavailable, c.want...)
		})
	}
}

func TestCommandIsKilledWithItsChildren(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	i := commandInventory(t, 0, os.Args[0], "inventory-command", "hang", path)
	go func() { done <- second(i.Snapshot(ctx)) }()
	pipe, err := os.Open(path) // waits for the command
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	lines := bufio.NewReader(pipe)
	if line, err := lines.ReadString('\n'); line != "started\n" {
		t.Fatalf("%q, %v", line, err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil { // ends when nobody holds the pipe any more
		t.Errorf("%q, %v", rest, err)
	}

	slow := commandInventory(t, 100*time.Millisecond, os.Args[0], "inventory-command", "wait")
	wantError(t, "slow", second(slow.Snapshot(t.Context())), restart.CodeUnavailable, "takes too long", "inventory.timeout")
}

func TestCommandEnvironment(t *testing.T) {
	t.Setenv("HOME", "/root")
	t.Setenv("RESTARTILKA_SECRET", "hidden")
	t.Setenv("ANSIBLE_CONFIG", "/etc/ansible/x.cfg")
	s := snapshot(t, commandInventory(t, 0, os.Args[0], "inventory-command", "environment"))
	got := strings.Fields(hostNames(s.Hosts))
	slices.Sort(got)
	if strings.Join(got, " ") != "ansible-config home lang path" {
		t.Errorf("environment: %q", got)
	}
}

func TestRealAnsible(t *testing.T) {
	program := needPackage(t, "ansible-core", "ansible-inventory")
	dir := t.TempDir()
	hosts := filepath.Join(dir, "hosts.ini")
	write(t, hosts, `
[web_testing]
web[01:02].test.example.com
[web_production]
web1.example.com restartilka_data_centre=dc1 ansible_host=10.0.1.1
[web:children]
web_testing
web_production
[web:vars]
restartilka_services=["nginx"]
[web_testing:vars]
restartilka_environment=testing
[web_production:vars]
restartilka_environment=production
`)
	t.Setenv("HOME", dir)
	i := commandInventory(t, 0, program, "-i", hosts, "--list")
	g, err := i.GroupFor(t.Context(), "nginx", "testing", "")
	if err != nil || g.Name != "web_testing" || len(g.Hosts) != 2 {
		t.Errorf("%+v, %v", g, err)
	}
	h, err := i.Resolve(t.Context(), "%web@dc1")
	if err != nil || len(h) != 1 || h[0].Address != "10.0.1.1" {
		t.Errorf("%+v, %v", h, err)
	}
}

// needPackage finds a program of a Debian package. Without it the test can't
// say anything: it fails in CI, and is skipped elsewhere.
func needPackage(t *testing.T, debian, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install %s", program, debian)
	}
	if err != nil {
		t.Skipf("%s is missing: apt-get install %s", program, debian)
	}
	return path
}

// With packages, a name that says nothing of a service is a group of those
// whose package is there, and each host has the versions that belong on it.
func TestConductorPackagesMakeGroups(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		server := conductor.New(t)
		server.Set(conductor.Data{
			Groups: map[string][]conductor.Host{"shop-testing": {{Name: "a1"}, {Name: "a2"}}, "shop-production": {{Name: "b1"}}, "other": {{Name: "a2"}}},
			Packages: map[string][]conductor.Package{
				"a1": {{Name: "nginx", Version: "1.22.1-9"}, {Name: "bash", Version: "5"}}, "a2": {{Name: "bash", Version: "5"}}, "b1": {{Name: "static", Version: "2"}},
			},
		})
		described := filepath.Join(t.TempDir(), "services.yaml")
		write(t, described, "services: [{name: nginx, package: nginx, project: shop}, {name: pages, package: static, project: shop}]\n")
		i, err := inventory.New(inventory.Config{
			Kind: "conductor", URL: server.URL + "/api", Format: format, ServicesFile: described, Packages: true,
			GroupNames: []string{"#project#-#environment#"}, Environments: []string{"testing", "production"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for question, want := range map[[2]string]string{{"nginx", ""}: "shop-testing", {"pages", ""}: "shop-production", {"nginx", "production"}: "", {"pages", "testing"}: ""} {
			g, err := i.GroupFor(t.Context(), question[0], question[1], "shop")
			if g.Name != want || (err == nil) != (want != "") {
				t.Errorf("%s: %v: %q, %v, want %q", format, question, g.Name, err, want)
			}
		}
		_, hosts, err := i.Group(t.Context(), "shop-testing")
		if err != nil || fmt.Sprint(hosts[0].Packages, hosts[1].Packages) != "map[nginx:1.22.1-9] map[]" || hosts[1].Packages == nil {
			t.Errorf("%s: %+v, %v", format, hosts, err)
		}
		if _, hosts, err = i.Group(t.Context(), "other"); err != nil || hosts[0].Packages == nil {
			t.Errorf("%s: looked up: %+v, %v", format, hosts, err)
		}
	}
}
