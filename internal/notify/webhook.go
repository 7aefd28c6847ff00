package notify

import (
	"bytes"
	"context"
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
	"github.com/restartilka/restartilka/internal/wire"
)

// Webhook is a receiver that takes a message as an HTTP POST of JSON.
type Webhook struct {
	Choice        `yaml:",inline"`
	URL           string   `yaml:"url"`            // https, or http to a loopback address
	SecretFile    string   `yaml:"secret_file"`    // file with the secret that signs, 16 bytes at least; read for each message
	CAFile        string   `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
}

const (
	deliverTimeout = 10 * time.Second
	minSecret      = 16      // bytes
	maxSecret      = 4 << 10 // bytes
	mostRead       = 4 << 10 // bytes of an answer
)

type webhook struct {
	cfg  Webhook
	url  *url.URL
	http *http.Client
	now  func() time.Time
}

func openWebhooks(s Settings) ([]opened, error) {
	var out []opened
	for i, c := range s.Webhooks {
		key := fmt.Sprintf("notify.webhooks, number %d", i+1)
		hook, err := openWebhook(key, c)
		if err != nil {
			return nil, err
		}
		out = append(out, opened{Channel: hook, choice: c.Choice})
	}
	return out, nil
}

func openWebhook(key string, c Webhook) (*webhook, error) {
	u, err := outgoing.CheckURL(c.URL, false)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.url is not usable: %v", key, err).WithHint("such as https://chat.example.com/hooks/restartilka")
	}
	if err := c.check(key); err != nil {
		return nil, err
	}
	if _, err := readSecret(key+".secret_file", c.SecretFile); err != nil {
		return nil, err
	}
	networks, err := outgoing.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.allow_networks: %v", key, err)
	}
	client, err := outgoing.New(outgoing.Config{URL: u, CAFile: c.CAFile, Timeout: deliverTimeout, Networks: networks})
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.ca_file: %v", key, err)
	}
	return &webhook{cfg: c, url: u, now: time.Now, http: client}, nil
}

// readSecret reads the secret, without white space around it.
func readSecret(key, path string) ([]byte, error) {
	if path == "" {
		return nil, restart.Errorf(restart.CodeInvalid, "%s is not given: the receiver could not tell our messages from others'", key).WithHint("openssl rand -hex 32 > FILE, mode 600")
	}
	b, err := secret.Read(path, maxSecret)
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return nil, restart.Errorf(restart.CodeInvalid, "%s: %s", key, e.Message).WithHint("%s", e.Hint).Because(err)
	}
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	if len(b) < minSecret {
		return nil, restart.Errorf(restart.CodeInvalid, "%s: %s does not hold %d to %d bytes", key, path, minSecret, maxSecret).WithHint("openssl rand -hex 32 > %s", path)
	}
	return b, nil
}

// Name is made of the address, which may itself be a secret.
func (w *webhook) Name() string {
	return named("webhook", w.url.String())
}

func (w *webhook) String() string { return w.url.Scheme + "://" + w.url.Host }

// Deliver posts the message. Any answer of status 2xx has taken it.
func (w *webhook) Deliver(ctx context.Context, d store.Delivery) error {
	secret, err := readSecret("its secret_file", w.cfg.SecretFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(d.Body))
	if err != nil {
		return errors.New("its address can't be used")
	}
	timestamp := strconv.FormatInt(w.now().Unix(), 10)
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "restartilka/"+version.Current().Version)
	h.Set(wire.HeaderID, d.ID)
	h.Set(wire.HeaderEvent, d.Event)
	h.Set(wire.HeaderTimestamp, timestamp)
	h.Set(wire.HeaderSignature, "sha256="+wire.Sign(secret, timestamp, d.Body))
	resp, err := w.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address
		}
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, mostRead)) //nolint:errcheck // what it says is not looked at
	if resp.StatusCode == http.StatusTooManyRequests {
		return &Later{After: waitFor(resp.Header), Why: "it answers 429: too many messages"}
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %d %s", resp.StatusCode, strings.TrimSpace(http.StatusText(resp.StatusCode)))
	}
	return nil
}
