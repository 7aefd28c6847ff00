// Package install does what docs/install.md says, word for word, on fresh
// hosts: the document can't go stale.
package install

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/fleet"
)

const document = "../../../docs/install.md"

func TestMain(m *testing.M) {
	code := m.Run()
	fleet.RemovePackages()
	os.Exit(code)
}

// block is one fenced block of commands: ```sh server, or ```sh host.
type block struct{ where, script string }

func blocks(t *testing.T) []block {
	t.Helper()
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	for _, m := range regexp.MustCompile("(?ms)^```sh (server|host)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		out = append(out, block{m[1], m[2]})
	}
	return out
}

// commands splits a block into its commands: a line each, but a here-document
// belongs to the line that begins it.
func commands(script string) []string {
	var out []string
	end := ""
	for line := range strings.Lines(script) {
		switch {
		case end != "":
			out[len(out)-1] += line
			if strings.TrimSpace(line) == end {
				end = ""
			}
		default:
			out = append(out, line)
			if _, word, ok := strings.Cut(line, "<<"); ok {
				end = strings.TrimSpace(word)
			}
		}
	}
	return out
}

// secret is what a person copies from the screen: the admin's token of `server
// init`, and the join token. The programs ask for them on standard input.
var secret = map[string]*regexp.Regexp{
	"restartilka server init":     regexp.MustCompile(`\brtk_[a-z0-9]+`),
	"restartilka host join-token": regexp.MustCompile(`\brj1\.[A-Za-z0-9_.-]+`),
}

func TestTheDocumentInstallsAndRestarts(t *testing.T) {
	f := fleet.New(t, fleet.Options{Web: 2})
	f.Server.Push(f.Packages().Server, "/root/restartilka_0_amd64.deb", 0o644)
	for _, h := range f.Web {
		h.Push(f.Packages().Agent, "/root/restartilka-agent_0_amd64.deb", 0o644)
	}
	before := []string{fleet.Invocation(f.Web[0]), fleet.Invocation(f.Web[1])}

	began := time.Now()
	typed, last := 0, ""
	copied := "" // what the person has in the clipboard
	for _, b := range blocks(t) {
		for _, command := range commands(b.script) {
			typed++
			hosts := f.Web
			if b.where == "server" {
				hosts = []*fleet.Host{f.Server}
			}
			for _, h := range hosts {
				last = run(t, h, command, copied)
			}
			for start, pattern := range secret {
				if strings.HasPrefix(command, start) {
					if copied = pattern.FindString(last); copied == "" {
						t.Fatalf("%s shows nothing to copy:\n%s", start, last)
					}
				}
			}
		}
	}
	if typed == 0 || typed > 12 {
		t.Errorf("the document has %d commands, want at most 12", typed)
	}
	if took := time.Since(began); took > 10*time.Minute {
		t.Errorf("it took %s", took)
	} else {
		t.Logf("%d commands, %s", typed, took.Round(time.Second))
	}
	for i, h := range f.Web {
		if fleet.Invocation(h) == before[i] {
			t.Errorf("nginx of %s was not restarted", h.Name)
		}
	}
	if !strings.Contains(last, "completed") {
		t.Errorf("the last command does not say that it is done:\n%s", last)
	}
}

// run runs a command in root's home, as at a terminal without a screen.
func run(t *testing.T, h *fleet.Host, command, input string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := h.Command(ctx, "/bin/bash", "-euc", "cd /root\n"+command)
	cmd.Stdin = strings.NewReader(input + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", h.Name, command, err, out)
	}
	return string(out)
}
