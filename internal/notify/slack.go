package notify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Slack is a channel of a Slack workspace, written to by a bot of it.
type Slack struct {
	Choice        `yaml:",inline"`
	Channel       string   `yaml:"channel"`        // its id, such as C0123456789, or its name
	TokenFile     string   `yaml:"token_file"`     // file with the bot's token, xoxb-…, of the scope chat:write
	Updates       string   `yaml:"updates"`        // edit (default) | thread | each
	URL           string   `yaml:"url"`            // "" = https://slack.com/api
	CAFile        string   `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
}

func openSlack(s Settings) ([]opened, error) {
	zone, err := s.zone()
	if err != nil {
		return nil, err
	}
	var out []opened
	for i, c := range s.Slack {
		key := fmt.Sprintf("notify.slack, number %d", i+1)
		receiver, err := c.open(key, zone)
		if err != nil {
			return nil, err
		}
		out = append(out, opened{Channel: receiver, choice: c.Choice})
	}
	return out, nil
}

func (s Slack) open(key string, zone *time.Location) (*chat, error) {
	if err := s.check(key); err != nil {
		return nil, err
	}
	if s.Channel == "" || strings.ContainsAny(s.Channel, " \t\n/") || len(s.Channel) > 81 {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.channel is neither the id nor the name of a channel", key).WithHint("such as C0123456789: the channel's details show it")
	}
	updates, err := checkUpdates(key, s.Updates, updatesEdit, updatesThread, updatesEach)
	if err != nil {
		return nil, err
	}
	a, err := openAPI(apiSettings{key: key, url: s.URL, standard: "https://slack.com/api", tokenFile: s.TokenFile, caFile: s.CAFile, networks: s.AllowNetworks})
	if err != nil {
		return nil, err
	}
	return &chat{
		name: named("slack", a.base.String(), s.Channel), shown: "slack " + s.Channel, updates: updates,
		teller: teller{s.language(), zone}, service: &slackChannel{api: a, channel: s.Channel},
	}, nil
}

type slackChannel struct {
	api     *api
	channel string
}

// slackMessage is what chat.postMessage and chat.update take.
type slackMessage struct {
	Channel     string       `json:"channel"`
	TS          string       `json:"ts,omitempty"`
	Thread      string       `json:"thread_ts,omitempty"`
	Broadcast   bool         `json:"reply_broadcast,omitempty"`
	Text        string       `json:"text"` // of the notification, and where blocks are not shown
	Blocks      []slackBlock `json:"blocks,omitempty"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

// slackBlock is a block of rich text, whose texts are shown as they are: no
// sign in them has a meaning.
type slackBlock struct {
	Type     string         `json:"type"`
	Elements []slackSection `json:"elements"`
}

type slackSection struct {
	Type     string      `json:"type"`
	Elements []slackText `json:"elements"`
}

type slackText struct {
	Type  string          `json:"type"`
	Text  string          `json:"text"`
	URL   string          `json:"url,omitempty"`
	Style map[string]bool `json:"style,omitempty"`
}

// slackMost bounds a message, in characters: more than it is long is folded.
const slackMost = 3500

func slackBlocks(c card) []slackBlock {
	c = c.fit(slackMost)
	bold := map[string]bool{"bold": true}
	var line []slackText
	add := func(text string, style map[string]bool) {
		line = append(line, slackText{Type: "text", Text: text, Style: style})
	}
	add(c.mark+" ", nil)
	add(c.title, bold)
	add("\n"+c.state, nil)
	for _, f := range c.facts {
		add("\n"+f.name+": ", bold)
		add(f.text, nil)
	}
	for _, l := range c.lists {
		add("\n"+l.name, bold)
		add("\n"+strings.Join(l.lines, "\n"), nil)
	}
	add("\n", nil)
	line = append(line, slackText{Type: "link", Text: c.link, URL: c.url})
	return []slackBlock{{Type: "rich_text", Elements: []slackSection{{Type: "rich_text_section", Elements: line}}}}
}

// slackEscape takes their meaning from the three signs that have one.
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func (s *slackChannel) post(ctx context.Context, _ string, c card, root string) (string, error) {
	m := slackMessage{Channel: s.channel, Text: slackEscape.Replace(c.mark + " " + c.title + ": " + c.state), Blocks: slackBlocks(c)}
	if channel, ts, ok := strings.Cut(root, "/"); ok {
		m.Channel, m.Thread = channel, ts
	}
	return s.call(ctx, "chat.postMessage", m)
}

func (s *slackChannel) edit(ctx context.Context, post string, c card) error {
	m := slackMessage{Text: slackEscape.Replace(c.mark + " " + c.title + ": " + c.state), Blocks: slackBlocks(c)}
	m.Channel, m.TS, _ = strings.Cut(post, "/")
	_, err := s.call(ctx, "chat.update", m)
	return err
}

func (s *slackChannel) answer(ctx context.Context, _, post, text string) error {
	m := slackMessage{Text: slackEscape.Replace(text), Broadcast: true}
	m.Channel, m.Thread, _ = strings.Cut(post, "/")
	m.Blocks = []slackBlock{{Type: "rich_text", Elements: []slackSection{{Type: "rich_text_section", Elements: []slackText{{Type: "text", Text: text}}}}}}
	_, err := s.call(ctx, "chat.postMessage", m)
	return err
}

// call gives the message's place: its channel's id, a slash, and its own.
func (s *slackChannel) call(ctx context.Context, method string, m slackMessage) (string, error) {
	token, err := s.api.token()
	if err != nil {
		return "", err
	}
	var said struct {
		OK      bool   `json:"ok"`
		Error   string `json:"error"`
		Channel string `json:"channel"`
		TS      string `json:"ts"`
	}
	status, err := s.api.call(ctx, http.MethodPost, method, token, m, &said)
	switch {
	case err != nil:
		return "", err
	case said.OK && said.TS != "":
		return said.Channel + "/" + said.TS, nil
	case said.Error == "message_not_found", said.Error == "thread_not_found", said.Error == "edit_window_closed", said.Error == "cant_update_message":
		return "", errGone
	case said.Error != "":
		return "", fmt.Errorf("slack refuses it: %s", said.Error)
	}
	return "", fmt.Errorf("it answers %d, and not as Slack does", status)
}
