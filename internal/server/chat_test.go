package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/server"
)

// In what language the bot speaks is shown where it is not said, too, and what is
// none of them is refused by config check.
func TestLanguagesOfChats(t *testing.T) {
	r, _ := initialised(t)
	good, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	read := func(more string) (server.Config, error) {
		t.Helper()
		text := string(good) + "chat:\n  telegram: {token_file: chat.token" + more + "}\n  slack: {app_token_file: chat.token, bot_token_file: chat.token}\n"
		for file, content := range map[string]string{r.Config: text, filepath.Join(filepath.Dir(r.Config), "chat.token"): "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"} {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return server.ReadConfig(r.Config)
	}
	c, err := read(", language: ru")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	_, chats, _ := strings.Cut(string(shown), "\nchat:\n")
	telegram, slack, _ := strings.Cut(chats, "slack:")
	if !strings.Contains(telegram, "language: ru") || !strings.Contains(telegram, "- production") || !strings.Contains(slack, "language: en") || c.Chat.Slack.Language != "" {
		t.Errorf("shown as\n%s", chats)
	}
	if wrong := c.Check(t.Context()); len(wrong) != 0 {
		t.Errorf("%v", wrong)
	}
	if c, err = read(", language: рус"); err != nil {
		t.Fatal(err)
	}
	if wrong := c.Check(t.Context()); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), `chat.telegram.language: "рус" is neither en nor ru`) {
		t.Errorf("%v", wrong)
	}
}
