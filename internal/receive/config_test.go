package receive_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/restart"
)

const good = `listen: 127.0.0.1:6516
certificate: receiver.crt
key: receiver.key
ca: /etc/ca.crt
folder: trails
sources:
  - name: main
  - name: second
    certificate: web2.example.com
`

func TestConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "receiver.yaml")
	read := func(text string) (receive.Config, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return receive.ReadConfig(path)
	}
	c, err := read(good)
	if err != nil || c.Key != filepath.Join(dir, "receiver.key") || c.CA != "/etc/ca.crt" || c.Folder != filepath.Join(dir, "trails") ||
		c.StatusListen != "127.0.0.1:6517" || c.KeepFree != 256 || len(c.Sources) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := c.CheckHere(); err == nil || !strings.Contains(err.Error(), "receiver.crt") && !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("no files: %v", err)
	}
	for wrong, want := range map[string]string{
		"":                             "sources: is needed",
		good + "lissten: x\n":          `unknown key "lissten"`,
		good + "keep_free_mb: 0\n":     "keep_free_mb: 0 is not from 1",
		good + "source_max_mb: -1\n":   "source_max_mb: -1",
		good + "status_listen: here\n": `status_listen: "here" is not`,
		good + "  - name: main\n":      `"main" is there twice`,
		good + "  - name: ../x\n":      "can't name a source",
		good + "  - name: a_b\n":       "can't be the name in a certificate",
		strings.Replace(good, "key: receiver.key\n", "", 1):  "key: is needed",
		strings.Replace(good, "127.0.0.1:", "localhost:", 1): `listen: "localhost:6516" is not`,
	} {
		if _, err := read(wrong); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if _, err := receive.ReadConfig(filepath.Join(dir, "none.yaml")); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("%v", err)
	}
}

// Every key stands in the reference, with its default.
func TestKeysAreTold(t *testing.T) {
	t.Parallel()
	told, err := os.ReadFile("../../docs/reference/receiver.md")
	if err != nil {
		t.Fatal(err)
	}
	for field := range reflect.TypeFor[receive.Config]().Fields() {
		if key := field.Tag.Get("yaml"); !strings.Contains(string(told), "| `"+key+"` |") {
			t.Errorf("docs/reference/receiver.md does not tell of %s", key)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("sources: [{name: a, certificate: b}]\nkeep_free_mb: 99999999999999999999\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := receive.ParseConfig(b)
		if err == nil {
			c.Check() // it may say what it likes, as long as it says it
		}
	})
}
