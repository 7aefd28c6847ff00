package strict_test

import (
	"errors"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

type settings struct {
	Host  string        `yaml:"host"`
	Grace time.Duration `yaml:"grace"`
	Rate  int           `yaml:"rate"`
	Names []string      `yaml:"names"`
	Inner struct {
		Path string `yaml:"path"`
	} `yaml:"inner"`
}

func TestLoad(t *testing.T) {
	for text, want := range map[string]struct{ message, hint string }{
		"grce: 5s\n":              {`line 1: unknown key "grce"`, "did you mean grace?"},
		"inner:\n  pth: x\n":      {`line 2: unknown key "pth"`, "did you mean path?"},
		"elephant: 1\n":           {`line 1: unknown key "elephant"`, "see the manual"},
		"host: a\ngrace: soon\n":  {`line 2: "soon" is not what belongs here`, "a duration with its unit, such as 10s or 5m"},
		"rate: many\n":            {`line 1: "many" is not what belongs here`, "a whole number"},
		"host: [a]\n":             {`line 1: this is not what belongs here`, "text"},
		"names: a\n":              {`line 1: "a" is not what belongs here`, "a list"},
		"host: a\nhost: b\n":      {`line 2: mapping key "host" already defined at line 1`, ""},
		"host: 'a\n":              {`line 2: found unexpected end of stream`, ""},
		"host: a\n---\nhost: b\n": {"the file holds more than one document", "take out the line ---, or what follows it"},
	} {
		var s settings
		err := strict.Load([]byte(text), &s, "see the manual")
		e, ok := errors.AsType[*restart.Error](err)
		if !ok || e.Code != restart.CodeInvalid || e.Message != want.message || e.Hint != want.hint {
			t.Errorf("%q: %v; want %s (%s)", text, err, want.message, want.hint)
		}
	}
	for _, text := range []string{"", "# nothing\n", "grace: 5s\n"} {
		s := settings{Grace: 5 * time.Second, Host: "kept"}
		if err := strict.Load([]byte(text), &s, ""); err != nil || s.Grace != 5*time.Second || s.Host != "kept" {
			t.Errorf("%q: %v, %+v", text, err, s)
		}
	}
}
