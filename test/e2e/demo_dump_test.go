package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/company"
)

// A newcomer lets the demo's service hang on one host, takes a dump, as the demo
// tells him to, and reads what hangs, and on which host.
func TestTheDemoTellsWhatHangs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	program := company.Build(t).Server
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	demo := exec.CommandContext(ctx, program, "demo", "--dir", dir, "--listen", "127.0.0.1:0")
	said, err := demo.StderrPipe()
	must(t, err)
	must(t, demo.Start())
	defer func() {
		must(t, demo.Process.Signal(syscall.SIGINT))
		if err := demo.Wait(); err != nil {
			t.Errorf("the demo ends with %v", err)
		}
	}()
	untilSaid(t, said, "The demo goes on until Ctrl-C")

	var info struct {
		URL   string `json:"url"`
		CA    string `json:"ca"`
		Token string `json:"developer_token"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "demo.json"))
	must(t, err)
	must(t, json.Unmarshal(b, &info))
	answer, err := http.Get("http://127.0.0.12:8180/hang")
	must(t, err)
	answer.Body.Close()
	dump := exec.CommandContext(ctx, program, "dump", "hello", "--reason", "orders hang on one host", "--yes")
	dump.Env = append(os.Environ(), "RESTARTILKA_URL="+info.URL, "RESTARTILKA_CA="+info.CA, "RESTARTILKA_TOKEN="+info.Token)
	out, err := dump.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"On shop2.demo.internal: 11 of ", "wait for the lock `Mutex` in `demo.(*depot).pick`",
		"`shop2.demo.internal` differs from its neighbours", "Nothing stands out in ",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// untilSaid waits for words, and goes on reading what comes after them.
func untilSaid(t *testing.T, from io.Reader, words string) {
	t.Helper()
	var said strings.Builder
	part := make([]byte, 4096)
	for !strings.Contains(said.String(), words) {
		n, err := from.Read(part)
		said.Write(part[:n])
		if err != nil {
			t.Fatalf("%v, after\n%s", err, said.String())
		}
	}
	go io.Copy(io.Discard, from)
}
