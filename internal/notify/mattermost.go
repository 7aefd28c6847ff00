package notify

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Mattermost is a channel of a Mattermost server, written to by a bot of it.
type Mattermost struct {
	Choice        `yaml:",inline"`
	URL           string   `yaml:"url"`            // of the server
	Channel       string   `yaml:"channel"`        // its id: 26 letters and digits
	TokenFile     string   `yaml:"token_file"`     // file with the token of the bot's account
	Updates       string   `yaml:"updates"`        // edit (default) | thread | each
	CAFile        string   `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
}

var mattermostID = regexp.MustCompile(`^[a-z0-9]{26}$`)

func openMattermost(s Settings) ([]opened, error) {
	zone, err := s.zone()
	if err != nil {
		return nil, err
	}
	var out []opened
	for i, c := range s.Mattermost {
		key := fmt.Sprintf("notify.mattermost, number %d", i+1)
		receiver, err := c.open(key, zone)
		if err != nil {
			return nil, err
		}
		out = append(out, opened{Channel: receiver, choice: c.Choice})
	}
	return out, nil
}

func (m Mattermost) open(key string, zone *time.Location) (*chat, error) {
	if err := m.check(key); err != nil {
		return nil, err
	}
	if !mattermostID.MatchString(m.Channel) {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.channel is not the id of a channel", key).WithHint("26 letters and digits: the channel's menu shows them under \"View Info\"")
	}
	updates, err := checkUpdates(key, m.Updates, updatesEdit, updatesThread, updatesEach)
	if err != nil {
		return nil, err
	}
	a, err := openAPI(apiSettings{key: key, url: m.URL, tokenFile: m.TokenFile, caFile: m.CAFile, networks: m.AllowNetworks})
	if err != nil {
		return nil, err
	}
	return &chat{
		name: named("mattermost", a.base.String(), m.Channel), shown: "mattermost " + a.base.Host + " " + m.Channel, updates: updates,
		teller: teller{m.language(), zone}, service: &mattermostChannel{api: a, channel: m.Channel},
	}, nil
}

type mattermostChannel struct {
	api     *api
	channel string
}

// mattermostMost bounds a message, in characters; four times as many may be
// needed for the signs that are taken their meaning from.
const mattermostMost = 3500

// markdown takes their meaning from the signs of Markdown, and keeps @ from
// calling people.
var markdown = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "(", `\(`, ")", `\)`, "<", `\<`, ">", `\>`, "#", `\#`, "|", `\|`, "~", `\~`, "!", `\!`, "&", `\&`, "$", `\$`,
)

func markdownText(s string) string { return markdown.Replace(calm(s, "@")) }

func mattermostText(c card) string {
	c = c.fit(mattermostMost)
	var b strings.Builder
	fmt.Fprintf(&b, "%s **%s**\n%s", c.mark, markdownText(c.title), markdownText(c.state))
	for _, f := range c.facts {
		fmt.Fprintf(&b, "\n**%s:** %s", markdownText(f.name), markdownText(f.text))
	}
	for _, l := range c.lists {
		fmt.Fprintf(&b, "\n**%s**", markdownText(l.name))
		for _, line := range l.lines {
			b.WriteString("\n" + markdownText(line))
		}
	}
	fmt.Fprintf(&b, "\n[%s](%s)", markdownText(c.link), c.url)
	return b.String()
}

// mattermostPost is what makes a post; pending_post_id is by which the server
// knows the same one that comes again.
type mattermostPost struct {
	Channel string `json:"channel_id,omitempty"`
	Root    string `json:"root_id,omitempty"`
	Message string `json:"message"`
	Pending string `json:"pending_post_id,omitempty"`
}

func (m *mattermostChannel) post(ctx context.Context, id string, c card, root string) (string, error) {
	return m.call(ctx, http.MethodPost, "api/v4/posts", mattermostPost{Channel: m.channel, Root: root, Message: mattermostText(c), Pending: id})
}

func (m *mattermostChannel) edit(ctx context.Context, post string, c card) error {
	if !mattermostID.MatchString(post) {
		return errGone
	}
	_, err := m.call(ctx, http.MethodPut, "api/v4/posts/"+post+"/patch", mattermostPost{Message: mattermostText(c)})
	return err
}

func (m *mattermostChannel) answer(ctx context.Context, id, post, text string) error {
	_, err := m.call(ctx, http.MethodPost, "api/v4/posts", mattermostPost{Channel: m.channel, Root: post, Message: markdownText(text), Pending: id + "-call"})
	return err
}

func (m *mattermostChannel) call(ctx context.Context, method, path string, p mattermostPost) (string, error) {
	token, err := m.api.token()
	if err != nil {
		return "", err
	}
	var said struct {
		ID      string `json:"id"` // of the post, or of what is wrong
		Message string `json:"message"`
	}
	status, err := m.api.call(ctx, method, path, token, p, &said)
	switch {
	case err != nil:
		return "", err
	case status/100 == 2 && mattermostID.MatchString(said.ID):
		return said.ID, nil
	// Who may post and is refused a post that was his: it was deleted.
	case method == http.MethodPut && (status == http.StatusForbidden || status == http.StatusNotFound),
		said.ID == "api.post.create_post.root_id.app_error":
		return "", errGone
	case said.ID != "":
		return "", fmt.Errorf("mattermost refuses it: %d, %s", status, said.Message)
	}
	return "", fmt.Errorf("it answers %d, and not as Mattermost does", status)
}
