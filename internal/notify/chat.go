package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/version"
)

// Later is a refusal that says when to try again.
type Later struct {
	After time.Duration
	Why   string
}

func (l *Later) Error() string { return l.Why }

// errGone is why a message can't be changed or answered: somebody has deleted it.
var errGone = errors.New("the message is not there any more")

// service is how a kind of chat is written to.
type service interface {
	// post writes a message; root is the one that it answers, "" = none, and
	// errGone says that there is no such. id is the same for each try.
	post(ctx context.Context, id string, c card, root string) (post string, err error)
	// edit puts a card in the place of another; errGone says that it is not there.
	edit(ctx context.Context, post string, c card) error
	// answer says one line below a message, so that those who read are called.
	answer(ctx context.Context, id, post, text string) error
}

// chat is a receiver in a chat: what Slack, Mattermost and Telegram have in
// common.
type chat struct {
	name, shown string
	updates     string
	teller      teller
	service     service
}

func (c *chat) Name() string { return c.name }

func (c *chat) String() string { return c.shown }

// Deliver is for what belongs to no run.
func (c *chat) Deliver(ctx context.Context, d store.Delivery) error {
	_, err := c.Keep(ctx, d, nil)
	return err
}

// Keep writes a message, or changes or answers the one of the run.
func (c *chat) Keep(ctx context.Context, d store.Delivery, earlier []json.RawMessage) (post string, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	if c.updates != updatesEdit {
		earlier = nil
	}
	n, before, err := read(d.Body, earlier)
	if err != nil {
		return "", err
	}
	told := c.teller.card(n, before)
	switch {
	case c.updates == updatesEach:
		_, err = c.service.post(ctx, d.ID, told, "")
		return "", err
	case d.Post == "":
	case c.updates == updatesThread:
		if _, err = c.service.post(ctx, d.ID, told.brief(), d.Post); !errors.Is(err, errGone) {
			return d.Post, err
		}
	default:
		if err = c.service.edit(ctx, d.Post, told); err == nil && told.call != "" {
			err = c.service.answer(ctx, d.ID, d.Post, told.mark+" "+told.call)
		}
		if !errors.Is(err, errGone) {
			return d.Post, err
		}
	}
	return c.service.post(ctx, d.ID, told, "")
}

// api is an HTTP API that takes and gives JSON.
type api struct {
	base  *url.URL
	token func() (string, error)
	http  *http.Client
}

// apiSettings are what every API needs.
type apiSettings struct {
	key, url, standard string // key is where they stand; standard is the address where url is ""
	tokenFile, caFile  string
	networks           []string
	open               bool // nothing is sent to it that must stay hidden: no token, and http is good enough
}

// mostAnswer bounds what is read of an answer, in bytes.
const mostAnswer = 1 << 20

func openAPI(s apiSettings) (*api, error) {
	if s.url == "" {
		s.url = s.standard
	}
	base, err := outgoing.CheckURL(s.url, s.open)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.url is not usable: %v", s.key, err).WithHint("such as https://chat.example.com")
	}
	token := func() (string, error) {
		if s.open {
			return "", nil
		}
		return readToken(s.key+".token_file", s.tokenFile)
	}
	if _, err := token(); err != nil {
		return nil, err
	}
	networks, err := outgoing.ParseNetworks(s.networks)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.allow_networks: %v", s.key, err)
	}
	client, err := outgoing.New(outgoing.Config{URL: base, CAFile: s.caFile, Timeout: deliverTimeout, Networks: networks})
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.ca_file: %v", s.key, err)
	}
	return &api{base: base, token: token, http: client}, nil
}

// readToken reads a file with one word.
func readToken(key, path string) (string, error) {
	if path == "" {
		return "", restart.Errorf(restart.CodeInvalid, "%s is not given: without a token nothing can be said there", key).WithHint("a file with the bot's token, mode 600")
	}
	token, err := secret.ReadWord(path, maxSecret)
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return "", restart.Errorf(restart.CodeInvalid, "%s: %s", key, e.Message).WithHint("%s", e.Hint).Because(err)
	}
	return token, err
}

// call asks for path, which may have a query, with in as JSON, nil = none, and reads the answer's JSON into out,
// whatever its status, which it gives back. A status that tells to wait is a
// *Later. Errors never have the address, which may be a secret.
func (a *api) call(ctx context.Context, method, path, token string, in, out any) (status int, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, fmt.Errorf("encode a message: %w", err)
		}
		body = bytes.NewReader(b)
	}
	path, query, _ := strings.Cut(path, "?")
	address := a.base.JoinPath(path)
	address.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return 0, errors.New("its address can't be used")
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "restartilka/"+version.Current().Version)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return 0, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return 0, fmt.Errorf("read its answer: %w", err)
	}
	failed := json.Unmarshal(said, out)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return resp.StatusCode, &Later{After: waitFor(resp.Header), Why: "it answers 429: too many messages"}
	case failed != nil:
		return resp.StatusCode, fmt.Errorf("it answers %d %s, and not in JSON", resp.StatusCode, strings.TrimSpace(http.StatusText(resp.StatusCode)))
	}
	return resp.StatusCode, nil
}

// waitFor reads how long a server wants to be left alone; 0 = it does not say.
func waitFor(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > int(time.Hour/time.Second) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
