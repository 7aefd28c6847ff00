package said

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// Words of a language and its numbers go together.
func TestWordsAndNumbersOfALanguage(t *testing.T) {
	for got, want := range map[string]string{
		Russian.Decimal(2.5, -1): "2,5", Russian.Decimal(3, -1): "3", English.Decimal(2.5, -1): "2.5", Russian.Quote("a b"): "«a b»", English.Quote("a b"): `"a b"`,
		Action(English, "view-dump"): "look at thread dumps (view-dump)", Action(Russian, "restart"): "перезапускать (restart)", Action(English, "restart"): "restart", Action(English, "<b>"): "<b>",
		Does(Russian, "view-dump"): "смотреть дампы потоков", Does(English, "view-dump"): "view-dump", Does(Russian, "fly"): "fly",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, a := range authz.Actions() {
		if actionsNamed[a] == "" || actionsDone[a] == "" {
			t.Errorf("%s has no words", a)
		}
	}
}

func TestSetting(t *testing.T) {
	for value, want := range map[string]Language{"": English, "en": English, "ru": Russian} {
		if got, err := Setting("chat.slack.language", value); got != want || err != nil {
			t.Errorf("%q: %s %v", value, got, err)
		}
	}
	for _, value := range []string{"de", "RU", "ru ", "\u202eru"} {
		if _, err := Setting("chat.slack.language", value); restart.CodeOf(err) != restart.CodeInvalid || !strings.HasPrefix(err.Error(), "chat.slack.language: ") || strings.Contains(err.Error(), "\u202e") {
			t.Errorf("%q: %v", value, err)
		}
	}
}
