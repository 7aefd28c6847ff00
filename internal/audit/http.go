package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

// The formats of an HTTP sink.
const (
	formatLines = "lines" // canonical records, one a line
	formatBulk  = "bulk"  // Elasticsearch's bulk requests, which others understand too
)

const (
	httpTimeout    = 10 * time.Second // of one request, its answer included
	maxHTTPBody    = 512 << 10        // of a request; proxies often take 1 MiB
	maxHTTPAnswer  = 4 << 20
	maxHTTPSaid    = 200 // bytes of an answer that an error repeats
	maxCredentials = 8 << 10
)

// HTTP ships the trail by POST requests, one after the other, each with as many
// records as fit into it. A record has settled when the receiver has answered
// for it: with a status of 2xx and, in the format bulk, by an item of its own
// that says so. What lies on the receiver's disk by then is its own affair, so
// that the level is "received".
//
// In the format bulk a record's document has the id SOURCE-EPOCH-SEQ, and is
// only ever created: sent twice it is there once, and none can be replaced.
type HTTP struct {
	place       string
	url         string
	bulk        bool
	credentials string // file; "" = none
	client      *http.Client

	mu     sync.Mutex
	done   int64
	closed bool
	cancel context.CancelFunc // of the Send under way
}

func checkHTTP(c SinkConfig) error {
	u, err := outgoing.CheckURL(c.URL, false)
	if err != nil {
		return restart.Errorf(restart.CodeInvalid, "the url of an http sink is not usable: %v", err).
			WithHint("such as https://logs.example.com:9200/restartilka-audit/_bulk; a token belongs into credentials_file")
	}
	if c.Format != formatLines && c.Format != formatBulk {
		return restart.Errorf(restart.CodeInvalid, "the format %s of an http sink is not one", restart.Quote(c.Format)).
			WithHint("lines: one JSON object a line. bulk: Elasticsearch's bulk requests, which are answered record by record")
	}
	if u.Scheme == "https" {
		return c.checkTLS()
	}
	if c.CA+c.Certificate+c.Key != "" {
		return restart.Errorf(restart.CodeInvalid, "the http sink %s has a ca, a certificate or a key, and no TLS", c.Place()).WithHint("write https in its url, or remove them")
	}
	return nil
}

func openHTTP(c SinkConfig) (Sink, error) {
	u, err := outgoing.CheckURL(c.URL, false)
	if err != nil {
		return nil, err
	}
	client, err := outgoing.New(outgoing.Config{URL: u, Timeout: httpTimeout})
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		if client.Transport.(*http.Transport).TLSClientConfig, err = c.tls(); err != nil {
			return nil, err
		}
	}
	h := &HTTP{place: c.Place(), url: c.URL, bulk: c.Format == formatBulk, credentials: c.CredentialsFile, client: client}
	if _, err := h.authorization(); err != nil {
		return nil, err
	}
	return h, nil
}

// placeOfURL leaves out the query, in which some receivers want a token.
func placeOfURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// Name is "http:" and the address without its query.
func (h *HTTP) Name() string { return "http:" + h.place }

// Level is LevelReceived.
func (h *HTTP) Level() Level { return LevelReceived }

// Settled gives the last record that was answered for.
func (h *HTTP) Settled() (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done, nil
}

// Close ends a Send that is under way.
func (h *HTTP) Close() error {
	h.mu.Lock()
	h.closed = true
	if h.cancel != nil {
		h.cancel()
	}
	h.mu.Unlock()
	h.client.CloseIdleConnections()
	return nil
}

// Send posts the records and returns when all of them are answered for.
func (h *HTTP) Send(ctx context.Context, records []Record) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.mu.Lock()
	closed := h.closed
	h.cancel = cancel
	h.mu.Unlock()
	if closed {
		return fmt.Errorf("send to log server %s: %w", h.place, net.ErrClosed)
	}
	authorization, err := h.authorization()
	if err != nil {
		return err
	}
	for len(records) > 0 {
		body, n := h.body(records)
		if err := h.post(ctx, authorization, body, records[:n]); err != nil {
			return fmt.Errorf("log server %s: %w", h.place, err)
		}
		h.mu.Lock()
		h.done = records[n-1].Seq
		h.mu.Unlock()
		records = records[n:]
	}
	return nil
}

// body gives a request for the first n records: one at least, and no more than fit.
func (h *HTTP) body(records []Record) (body []byte, n int) {
	for i := range records {
		before := len(body)
		if h.bulk {
			body = appendBulk(body, &records[i])
		} else {
			body = append(append(body, records[i].Canonical()...), '\n')
		}
		if i > 0 && len(body) > maxHTTPBody {
			return body[:before], i
		}
	}
	return body, len(records)
}

// bulkID names a record for ever.
func bulkID(r *Record) string {
	return r.Source + "-" + strconv.FormatInt(r.Epoch, 10) + "-" + strconv.FormatInt(r.Seq, 10)
}

// appendBulk adds what is to be done, and the document: the record's members to
// search by, @timestamp, and as "record" its canonical bytes, since stores that
// take a document apart can't give them back.
func appendBulk(b []byte, r *Record) []byte {
	canonical := r.Canonical()
	b = append(b, `{"create":{"_id":`...)
	b = append(b, jsonString(bulkID(r))...)
	b = append(b, "}}\n"...)
	b = append(b, bytes.TrimSuffix(canonical, []byte("}"))...)
	if !r.Time.IsZero() {
		b = append(b, `,"@timestamp":"`...)
		b = append(r.Time.UTC().AppendFormat(b, timeLayout), '"')
	}
	b = append(b, `,"record":`...)
	b = append(b, jsonString(string(canonical))...)
	return append(b, "}\n"...)
}

func jsonString(s string) []byte {
	b, _ := json.Marshal(s) // a string can always be written
	return b
}

func (h *HTTP) post(ctx context.Context, authorization string, body []byte, records []Record) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("its address can't be asked")
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Header.Set("Accept", "application/json")
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := h.client.Do(request)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the query of the address
		}
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxHTTPAnswer+1))
	if err != nil {
		return fmt.Errorf("its answer broke off: %w", err)
	}
	if err := checkAnswer(response, answer); err != nil {
		return err
	}
	if h.bulk {
		return checkBulkAnswer(answer, records)
	}
	return nil
}

// checkAnswer judges an answer as a whole.
func checkAnswer(response *http.Response, answer []byte) error {
	status := strconv.Itoa(response.StatusCode) + " " + http.StatusText(response.StatusCode)
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return restart.Errorf(restart.CodeInvalid, "it refuses our credentials (%s)", status).WithHint("see credentials_file, and what its user may write to")
	case code >= 300 && code < 400:
		return restart.Errorf(restart.CodeInvalid, "it sends us elsewhere (%s), where credentials and records do not go", status).WithHint("write the address that is meant into url")
	case code < 200 || code > 299:
		return fmt.Errorf("it answers %s: %s", status, said(answer))
	case len(answer) > maxHTTPAnswer:
		return fmt.Errorf("it answers nonsense: more than %d bytes", maxHTTPAnswer)
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind == "text/html" {
		return restart.Errorf(restart.CodeInvalid, "it answers nonsense: %s with a page of HTML", status).WithHint("the url leads to something else, such as the sign-in page of a proxy")
	}
	return nil
}

type bulkAnswer struct {
	Errors *bool                 `json:"errors"`
	Items  []map[string]bulkItem `json:"items"`
}

type bulkItem struct {
	ID     *string    `json:"_id"`
	Status int        `json:"status"`
	Error  *bulkError `json:"error"`
}

type bulkError struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

// checkBulkAnswer holds an answer of 2xx against the records that were sent: it
// has to tell of each of them, in order, that it is there.
func checkBulkAnswer(answer []byte, records []Record) error {
	var a bulkAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("it answers nonsense where JSON is due: %s", said(answer))
	}
	if a.Errors == nil || len(a.Items) != len(records) {
		return fmt.Errorf("it answers nonsense: %d items for %d records: %s", len(a.Items), len(records), said(answer))
	}
	refused, excused := 0, false
	var first error
	for i := range records {
		item, ok := a.Items[i]["create"]
		if !ok || len(a.Items[i]) != 1 || item.ID != nil && *item.ID != bulkID(&records[i]) {
			return fmt.Errorf("it answers nonsense: item %d does not tell of record %d: %s", i+1, records[i].Seq, said(answer))
		}
		switch {
		case item.Status >= 200 && item.Status < 300 && item.Error == nil:
		case item.Status == http.StatusConflict && item.Error != nil && item.Error.Type == "version_conflict_engine_exception":
			excused = true // it has a document of that id from an earlier attempt
		default:
			refused++
			if first == nil {
				first = itemError(item, &records[i])
			}
		}
	}
	if first != nil {
		return fmt.Errorf("it refuses %d of %d records, the first: %w", refused, len(records), first)
	}
	if *a.Errors && !excused {
		return errors.New("it answers nonsense: errors, and every item without one")
	}
	return nil
}

func itemError(item bulkItem, r *Record) error {
	text := "no reason given"
	if item.Error != nil {
		text = said([]byte(item.Error.Type + ": " + item.Error.Reason))
	}
	return fmt.Errorf("record %d of %s, status %d: %s", r.Seq, r.Source, item.Status, text)
}

// said makes what a stranger has said fit for a line of a log.
func said(b []byte) string {
	if len(bytes.TrimSpace(b)) == 0 {
		return "(nothing)"
	}
	if len(b) > maxHTTPSaid {
		return restart.Escape(strings.ToValidUTF8(string(b[:maxHTTPSaid]), "")) + "…"
	}
	return restart.Escape(string(b))
}

// authorization reads the header's value at each Send, so that a renewed token
// is used.
func (h *HTTP) authorization() (string, error) {
	if h.credentials == "" {
		return "", nil
	}
	b, err := secret.Read(h.credentials, maxCredentials)
	if err != nil {
		return "", fmt.Errorf("credentials_file of the http sink %s: %w", h.place, err)
	}
	value := string(bytes.TrimSpace(b))
	scheme, word, ok := strings.Cut(value, " ")
	if !ok || scheme == "" || strings.TrimSpace(word) == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", restart.Errorf(restart.CodeInvalid, "credentials_file of the http sink %s: %s does not hold a value of the header Authorization", h.place, h.credentials).
			WithHint("one line, such as: Bearer TOKEN, ApiKey KEY, or Basic and base64 of NAME:PASSWORD")
	}
	return value, nil
}
