package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/test/foreign/gitlab"
)

func TestTicketsAreChecked(t *testing.T) {
	r, _ := initialised(t)
	lab := gitlab.Start(t)
	good, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(filepath.Dir(r.Config), "gitlab.token")
	check := func(secret, more string) (string, error) {
		t.Helper()
		text := string(good) + fmt.Sprintf("tickets:\n  - {kind: gitlab, url: %q, token_file: gitlab.token, projects: [%s]%s}\n", lab.URL, gitlab.Project, more)
		for file, content := range map[string]string{r.Config: text, token: secret} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := server.ReadConfig(r.Config)
		if err != nil {
			return "", err
		}
		shown, err := cfg.Show()
		if err != nil || strings.Contains(string(shown), secret) || !strings.Contains(string(shown), token) {
			t.Errorf("shown as %s, %v", shown, err)
		}
		var all []string
		for _, wrong := range cfg.Check(t.Context()) {
			all = append(all, wrong.Error())
		}
		return strings.Join(all, "\n"), nil
	}
	if wrong, err := check(gitlab.Token, ""); wrong != "" || err != nil {
		t.Errorf("%s %v", wrong, err)
	}
	if wrong, err := check("glpat-ofanotherone", ""); !strings.HasPrefix(wrong, "tickets: gitlab at ") || !strings.HasSuffix(wrong, "it does not accept the server's token (401)") || err != nil {
		t.Errorf("%s %v", wrong, err)
	}
	if wrong, err := check(gitlab.Token, ", when_down: maybe"); !strings.Contains(wrong, "tickets, number 1.when_down") || err != nil {
		t.Errorf("%s %v", wrong, err)
	}
	if _, err := check(gitlab.Token, ", when_dwn: strict"); err == nil || !strings.Contains(err.Error(), `unknown key "when_dwn"`) {
		t.Errorf("%v", err)
	}
}

// The reference has every key of a tracker.
func TestTicketsAreTold(t *testing.T) {
	t.Parallel()
	told, err := os.ReadFile("../../docs/reference/tickets.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[tracker.Config](), reflect.TypeFor[tracker.Recurrence]()} {
		for f := range typ.Fields() {
			if key := f.Tag.Get("yaml"); !strings.Contains(string(told), "`"+key+"`") {
				t.Errorf("it does not tell of %s", key)
			}
		}
	}
}
