package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/version"
)

// Webhook is a receiver that takes a message as an HTTP POST of JSON.
type Webhook struct {
	URL        string   `yaml:"url"`         // https, or http to a loopback address
	SecretFile string   `yaml:"secret_file"` // file with the secret that signs, 16 bytes at least; read for each message
	CAFile     string   `yaml:"ca_file"`     // PEM certificates to believe; "" = the system's
	Events     []string `yaml:"events"`      // what it is told of: break-glass
}

// The headers of a webhook's request.
const (
	HeaderID        = "Restartilka-Id"        // of the message: the same for each try
	HeaderEvent     = "Restartilka-Event"     //
	HeaderTimestamp = "Restartilka-Timestamp" // when this try was signed, in seconds since 1970
	HeaderSignature = "Restartilka-Signature" // "sha256=" and Sign's hex
)

const (
	deliverTimeout = 10 * time.Second
	minSecret      = 16      // bytes
	mostRead       = 4 << 10 // bytes of an answer
)

// Sign gives the hex of HMAC-SHA256 over the timestamp, a dot and the body:
// whoever knows the secret can tell that both are the server's.
func Sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

type webhook struct {
	cfg  Webhook
	url  *url.URL
	http *http.Client
	now  func() time.Time
}

func openWebhooks(s Settings) ([]opened, error) {
	var out []opened
	seen := map[string]bool{}
	for i, c := range s.Webhooks {
		key := fmt.Sprintf("notify.webhooks, number %d", i+1)
		hook, err := openWebhook(key, c)
		if err != nil {
			return nil, err
		}
		if seen[hook.Name()] {
			return nil, restart.Errorf(restart.CodeInvalid, "%s: %s is there twice", key, hook).WithHint("name all its events in one place")
		}
		seen[hook.Name()] = true
		out = append(out, opened{hook, c.Events})
	}
	return out, nil
}

func openWebhook(key string, c Webhook) (*webhook, error) {
	u, err := checkURL(key, c.URL)
	if err != nil {
		return nil, err
	}
	if err := checkEvents(key, c.Events); err != nil {
		return nil, err
	}
	if _, err := readSecret(key+".secret_file", c.SecretFile); err != nil {
		return nil, err
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "%s.ca_file can't be read: %v", key, err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, restart.Errorf(restart.CodeInvalid, "%s.ca_file: %s holds no PEM certificate", key, c.CAFile)
		}
	}
	dialer := outgoing.Dialer(u.Scheme == "http", deliverTimeout)
	return &webhook{cfg: c, url: u, now: time.Now, http: &http.Client{
		Timeout:       deliverTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: trust, TLSHandshakeTimeout: deliverTimeout, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 16 << 10,
		},
	}}, nil
}

func checkURL(key, text string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.url is not usable: %s", key, why).WithHint("such as https://chat.example.com/hooks/restartilka")
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return bad("it is not given")
	case err != nil:
		return bad("it can't be read")
	case u.Host == "" || u.Opaque != "" || u.Fragment != "":
		return bad("it is not the address of a page on a host")
	case u.User != nil:
		return bad("a name or password does not belong there")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme != "http":
		return bad("its scheme is not https")
	}
	if !outgoing.Loopback(u.Hostname()) {
		return bad("without TLS anybody on the way could read and change messages; http is for a loopback address alone")
	}
	return u, nil
}

// readSecret reads the secret, without white space around it. A file that
// others may read is refused.
func readSecret(key, path string) ([]byte, error) {
	if path == "" {
		return nil, restart.Errorf(restart.CodeInvalid, "%s is not given: the receiver could not tell our messages from others'", key).WithHint("openssl rand -hex 32 > FILE, mode 600")
	}
	return secret.Read(key, path, minSecret, "openssl rand -hex 32 > "+path)
}

// Name is made of the address, which may itself be a secret.
func (w *webhook) Name() string {
	sum := sha256.Sum256([]byte(w.url.String()))
	return "webhook:" + hex.EncodeToString(sum[:8])
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
	h.Set(HeaderID, d.ID)
	h.Set(HeaderEvent, d.Event)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, "sha256="+Sign(secret, timestamp, d.Body))
	resp, err := w.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address
		}
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, mostRead)) //nolint:errcheck // what it says is not looked at
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %d %s", resp.StatusCode, strings.TrimSpace(http.StatusText(resp.StatusCode)))
	}
	return nil
}
