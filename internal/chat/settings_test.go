package chat_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	good, two := file(t, "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"), file(t, "two words")
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("word"), 0o644); err != nil {
		t.Fatal(err)
	}
	whole := func() chat.Settings {
		return chat.Settings{
			Telegram:   &chat.Telegram{TokenFile: good, Place: chat.Place{Channels: []string{"-1001234567890"}}},
			Slack:      &chat.Slack{AppTokenFile: good, BotTokenFile: good},
			Mattermost: &chat.Mattermost{TokenFile: good, CommandTokenFile: good, Place: chat.Place{URL: "https://mattermost.example.com"}},
		}
	}
	o := chat.Options{URL: "https://restartilka.example.com"}
	chats, err := whole().Open(o)
	if err != nil || strings.Join(chats.Names(), " ") != "telegram slack mattermost" {
		t.Fatalf("%v %v", chats.Names(), err)
	}
	if none, err := (chat.Settings{}).Open(o); err != nil || len(none.Names()) != 0 {
		t.Errorf("%v %v", none, err)
	}
	s := whole()
	if n := len(s.Files()); n != 8 {
		t.Errorf("%d files", n)
	}
	s.Slack.Language = "ru"
	if _, err := s.Open(o); err != nil {
		t.Error(err)
	}
	shown := s.Whole()
	if got := []string{shown.Telegram.Language, shown.Slack.Language, shown.Mattermost.Language}; !slices.Equal(got, []string{"en", "ru", "en"}) || s.Telegram.Language != "" || !slices.Equal(shown.PageOnly, []string{"production", "prod"}) {
		t.Errorf("with every default: %q, %q", got, shown.PageOnly)
	}
	if shown := (chat.Settings{PageOnly: []string{}}).Whole(); shown.PageOnly == nil || len(shown.PageOnly) != 0 || shown.Slack != nil {
		t.Errorf("of none: %+v", shown)
	}
	for name, c := range map[string]struct {
		change func(s *chat.Settings)
		says   string
	}{
		"no token":          {func(s *chat.Settings) { s.Telegram.TokenFile = "" }, "chat.telegram.token_file is not given"},
		"absent token":      {func(s *chat.Settings) { s.Slack.AppTokenFile = "/nonexistent" }, "chat.slack.app_token_file: "},
		"no bot token":      {func(s *chat.Settings) { s.Slack.BotTokenFile = "" }, "chat.slack.bot_token_file is not given"},
		"open token":        {func(s *chat.Settings) { s.Mattermost.TokenFile = open }, "others can reach it"},
		"two words":         {func(s *chat.Settings) { s.Mattermost.CommandTokenFile = two }, "one word"},
		"a credential":      {func(s *chat.Settings) { s.Telegram.TokenFile = "credential:bot" }, "systemd has handed none"},
		"no address":        {func(s *chat.Settings) { s.Mattermost.URL = "" }, "chat.mattermost.url is not usable: it is not given"},
		"http":              {func(s *chat.Settings) { s.Slack.URL = "http://slack.example.com/api" }, "without TLS"},
		"a password":        {func(s *chat.Settings) { s.Telegram.URL = "https://u:hunter2@example.com" }, "does not belong there"},
		"every network":     {func(s *chat.Settings) { s.Telegram.AllowNetworks = []string{"0.0.0.0/0"} }, "chat.telegram.allow_networks"},
		"no CA":             {func(s *chat.Settings) { s.Slack.CAFile = "/nonexistent" }, "chat.slack.ca_file"},
		"a language":        {func(s *chat.Settings) { s.Mattermost.Language = "de" }, `chat.mattermost.language: "de" is neither en nor ru`},
		"name of a channel": {func(s *chat.Settings) { s.Slack.Channels = []string{"#ops"} }, `chat.slack.channels: "#ops" is not the id of a channel`},
	} {
		s := whole()
		c.change(&s)
		_, err := s.Open(o)
		if restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
