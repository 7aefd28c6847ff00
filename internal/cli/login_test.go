package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
)

// said is what a command says, while it runs.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestLoginByPage runs the command line until somebody has answered on the page.
func TestLoginByPage(t *testing.T) {
	s := apitest.Start(t, nil)
	for name, value := range map[string]string{"RESTARTILKA_URL": "", "RESTARTILKA_CA": "", "RESTARTILKA_TOKEN": "", "RESTARTILKA_TOKEN_FILE": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""} {
		t.Setenv(name, value)
	}
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	login := func(confirm bool) (code int, out, talk string) {
		t.Helper()
		var stdout, stderr said
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		done := make(chan int, 1)
		go func() {
			done <- cli.Main(ctx, []string{"login", s.URL, "--ca", s.CAFile, "--browser"}, strings.NewReader(""), &stdout, &stderr)
		}()
		shown := regexp.MustCompile(`/login/([0-9a-z]{5}-[0-9a-z]{5})\n`)
		for shown.FindString(stderr.String()) == "" {
			select {
			case code := <-done:
				t.Fatalf("it has left with %d: %s", code, stderr.String())
			case <-ctx.Done():
				t.Fatalf("no code: %s", stderr.String())
			case <-time.After(5 * time.Millisecond):
			}
		}
		anna := restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleDeveloper}, Via: "web", SignedInAt: new(time.Now())}
		if err := s.Control.AnswerLogin(ctx, anna, shown.FindStringSubmatch(stderr.String())[1], confirm); err != nil {
			t.Fatal(err)
		}
		code = <-done
		return code, stdout.String(), stderr.String()
	}
	if code, _, talk := login(false); code != cli.ExitRefused || !strings.Contains(talk, "refused on the page") {
		t.Errorf("refused: %d %s", code, talk)
	}
	if _, err := os.Stat(filepath.Join(config, "restartilka", "client.yaml")); err == nil {
		t.Error("a refused login is stored")
	}
	code, out, talk := login(true)
	if code != cli.ExitDone || !strings.Contains(out, "as anna, roles: developer; by token until 20") || strings.Contains(out+talk, "rtk_") {
		t.Fatalf("%d\n%s\n%s", code, out, talk)
	}
	info, err := os.Stat(filepath.Join(config, "restartilka", "client.yaml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	var stdout, stderr said
	if code := cli.Main(t.Context(), []string{"whoami"}, strings.NewReader(""), &stdout, &stderr); code != cli.ExitDone || !strings.HasPrefix(stdout.String(), "anna at ") {
		t.Errorf("%d %s %s", code, stdout.String(), stderr.String())
	}
}
