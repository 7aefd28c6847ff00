package server_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/strict"
	events "github.com/restartilka/restartilka/internal/wire"
)

const messagesReference = "../../docs/reference/messages.md"

// The settings that the reference shows are read, and every receiver of them
// opens, with files where it names some.
func TestTheReferencesSettingsAreGood(t *testing.T) {
	t.Parallel()
	told, err := os.ReadFile(messagesReference)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(told), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	var c struct {
		Notify notify.Settings `yaml:"notify"`
	}
	if err := strict.Load([]byte(text), &c, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range c.Notify.Files() {
		if *f == "" {
			continue
		}
		*f = filepath.Join(dir, *f)
		content := "0123456789abcdef0123456789abcdef"
		if strings.HasSuffix(*f, "telegram.token") {
			content = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
		}
		if err := os.WriteFile(*f, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	receivers, err := c.Notify.Open()
	if err != nil || len(receivers.List()) != 5 {
		t.Fatalf("%+v, %v", receivers.List(), err)
	}
	n := events.Notification{Event: events.EventRunPaused, Service: "shop", Environment: "production", Owners: []string{"team:web"}, Kind: "restart"}
	if got := receivers.For(n); len(got) != 3 {
		t.Errorf("a pause is told to %v", got)
	}
}

// The reference has every key of every kind, every event and every field.
func TestMessagesAreTold(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(messagesReference)
	if err != nil {
		t.Fatal(err)
	}
	monitoring, err := os.ReadFile("../../docs/reference/monitoring.md") // has two of the kinds
	if err != nil {
		t.Fatal(err)
	}
	told := string(b) + string(monitoring)
	want := notify.Events()
	name := regexp.MustCompile(`^[a-z_]+`)
	var names func(typ reflect.Type, tag string)
	names = func(typ reflect.Type, tag string) {
		for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || !strings.HasPrefix(typ.PkgPath(), "github.com/restartilka/") {
			return
		}
		for f := range typ.Fields() {
			if key := name.FindString(f.Tag.Get(tag)); key != "" {
				want = append(want, key)
			}
			if f.Tag.Get(tag) != "-" { // what no file can set
				names(f.Type, tag)
			}
		}
	}
	names(reflect.TypeFor[notify.Settings](), "yaml")
	names(reflect.TypeFor[events.Notification](), "json")
	for _, w := range want {
		if !strings.Contains(told, "`"+w+"`") && !strings.Contains(told, "  "+w+":") {
			t.Errorf("%s does not tell of %s", messagesReference, w)
		}
	}
}
