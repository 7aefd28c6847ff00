package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// ReceiverBody is the most bytes of records in one request to a receiver.
	ReceiverBody = 1 << 20

	receiverTimeout = 30 * time.Second // of one request, its answer included
	maxReceiverSaid = 16 << 10         // of an answer
)

// ReceiverPath is where a receiver takes the records of a source, by POST: JSON
// lines of canonical records, in order. It answers with a ReceiverAnswer.
func ReceiverPath(source string) string {
	return "/v1/sources/" + url.PathEscape(source) + "/records"
}

// ReceiverAnswer is what a receiver says to records. With the status 200 all of
// them are stored; with any other, those up to the head are.
type ReceiverAnswer struct {
	Head   Head           `json:"head"`             // up to where the receiver has stored the source's chain, by fsync
	Behind bool           `json:"behind,omitempty"` // it lacks records between its head and those it was sent
	Error  *restart.Error `json:"error,omitempty"`  // why not all are stored
}

// ReceiverConfig describes a receiver of our own: `restartilka audit receive`.
type ReceiverConfig struct {
	Address string      // HOST:PORT
	TLS     *tls.Config // CA, server name, and the certificate that names the source; version 1.3
	Timeout time.Duration
}

// Receiver ships the trail to a receiver of our own, which checks each record
// as it arrives and answers after its fsync. So the level is "stored".
//
// The answer has to name the head of what is stored there. It settles only what
// was sent: an answer that names another record than ours at the end of it is
// one from a chain that is not ours.
//
// One batch is on its way at a time. Send waits for the answer to a short one,
// which is as much as there is; behind a long one it lets the next be read
// meanwhile.
type Receiver struct {
	config ReceiverConfig
	client *http.Client
	life   context.Context // ends with Close
	end    context.CancelFunc

	// Owned by who calls Send and Settled.
	done   int64
	behind *Behind // what Settled has learned, for the next Send

	mu     sync.Mutex
	flight *flight // nil while nothing is on its way
}

// long is from how many records on Send does not wait for the answer.
const long = 100

// flight is a batch on its way.
type flight struct {
	records  []Record
	cancel   context.CancelFunc
	answered chan struct{} // closed when head and err are set
	head     Head
	err      error
}

var receiverSettings = []string{"address", "ca", "server_name", "certificate", "key"}

func checkReceiver(c SinkConfig) error {
	if err := c.checkAddress("such as log.example.com:6516"); err != nil {
		return err
	}
	if err := c.checkTLS(); err != nil {
		return err
	}
	if c.Certificate == "" {
		return restart.Errorf(restart.CodeInvalid, "the %s sink %s has no certificate", c.Kind, c.Place()).
			WithHint("name certificate and key that this server shows to agents, client.crt and client.key: the receiver knows it by them")
	}
	return nil
}

func openReceiver(c SinkConfig) (Sink, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	return NewReceiver(ReceiverConfig{Address: c.Address, TLS: config})
}

// NewReceiver makes a sink without connecting: the first Send does. The server
// name defaults to the host of the address, the timeout to 30 s.
func NewReceiver(c ReceiverConfig) (*Receiver, error) {
	config, err := streamTLS("receiver", c.Address, c.TLS)
	if err != nil {
		return nil, err
	}
	config.MinVersion = tls.VersionTLS13
	c.TLS = config
	if c.Timeout <= 0 {
		c.Timeout = receiverTimeout
	}
	life, end := context.WithCancel(context.Background())
	return &Receiver{config: c, life: life, end: end, client: &http.Client{
		Transport: &http.Transport{
			DialContext:         streamDialer.DialContext,
			TLSClientConfig:     config,
			TLSHandshakeTimeout: c.Timeout,
			MaxIdleConns:        1,
			MaxConnsPerHost:     1,
			IdleConnTimeout:     2 * time.Minute,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name is "receiver:" and the address.
func (r *Receiver) Name() string { return "receiver:" + r.config.Address }

// Level is LevelStored.
func (r *Receiver) Level() Level { return LevelStored }

// Settled gives the last record that the receiver has stored.
func (r *Receiver) Settled() (int64, error) {
	r.mu.Lock()
	f := r.flight
	r.mu.Unlock()
	if f == nil {
		return r.done, nil
	}
	select {
	case <-f.answered:
	default:
		return r.done, nil
	}
	err := r.land(r.life)
	if behind, ok := errors.AsType[*Behind](err); ok {
		r.behind = behind
	}
	return r.done, err
}

// Close ends what is on its way, and waits for that.
func (r *Receiver) Close() error {
	r.end()
	r.mu.Lock()
	f := r.flight
	r.mu.Unlock()
	if f != nil {
		<-f.answered
	}
	r.client.CloseIdleConnections()
	return nil
}

// Send hands over the records, and returns when the receiver has stored them:
// of many at once, all but the last batch.
func (r *Receiver) Send(ctx context.Context, records []Record) error {
	if err := errors.Join(ctx.Err(), r.life.Err()); err != nil {
		return fmt.Errorf("send to receiver %s: %w", r.config.Address, err)
	}
	if behind := r.behind; behind != nil {
		r.behind = nil
		return behind
	}
	n := 0
	for len(records) > 0 {
		var body []byte
		body, n = receiverBody(records)
		if err := r.land(ctx); err != nil {
			return err
		}
		r.launch(body, records[:n])
		records = records[n:]
	}
	if n >= long {
		return nil
	}
	return r.land(ctx)
}

// launch sends one batch; land takes the answer.
func (r *Receiver) launch(body []byte, records []Record) {
	ctx, cancel := context.WithTimeout(r.life, r.config.Timeout)
	f := &flight{records: records, cancel: cancel, answered: make(chan struct{})}
	r.mu.Lock()
	r.flight = f
	r.mu.Unlock()
	go func() {
		defer close(f.answered)
		defer cancel()
		f.head, f.err = r.post(ctx, body, records)
	}()
}

// land waits for the answer to what is on its way, if anything is.
func (r *Receiver) land(ctx context.Context) error {
	r.mu.Lock()
	f := r.flight
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	select {
	case <-f.answered:
	case <-ctx.Done():
		f.cancel()
		<-f.answered
	}
	r.mu.Lock()
	r.flight = nil
	r.mu.Unlock()
	if behind, ok := errors.AsType[*Behind](f.err); ok {
		r.done = min(r.done, behind.After)
	} else {
		r.done = max(r.done, settledBy(f.head, f.records))
	}
	if f.err != nil {
		return fmt.Errorf("receiver %s: %w", r.config.Address, f.err)
	}
	return nil
}

// receiverBody gives a request for the first n records: one at least, and no
// more than fit.
func receiverBody(records []Record) (body []byte, n int) {
	for i := range records {
		before := len(body)
		body = append(records[i].append(body, true), '\n')
		if i > 0 && len(body) > ReceiverBody {
			return body[:before], i
		}
	}
	return body, len(records)
}

// settledBy gives the seq of a head that is one of records: only then is it
// known what it vouches for.
func settledBy(head Head, records []Record) int64 {
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].Head() == head {
			return head.Seq
		}
	}
	return 0
}

func (r *Receiver) post(ctx context.Context, body []byte, records []Record) (Head, error) {
	source := records[0].Source
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+r.config.Address+ReceiverPath(source), bytes.NewReader(body))
	if err != nil {
		return Head{}, errors.New("its address can't be asked")
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := r.client.Do(request)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return Head{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxReceiverSaid+1))
	if err != nil {
		return Head{}, fmt.Errorf("its answer broke off: %w", err)
	}
	return r.judge(response.StatusCode, text, records)
}

// judge holds an answer against the records that were sent.
func (r *Receiver) judge(status int, text []byte, records []Record) (Head, error) {
	var a ReceiverAnswer
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&a); err != nil || len(text) > maxReceiverSaid {
		return Head{}, fmt.Errorf("it answers nonsense, %d: %s", status, said(text))
	}
	last := records[len(records)-1].Head()
	switch {
	case a.Behind && a.Error != nil && status != http.StatusOK:
		return a.Head, &Behind{Sink: r.Name(), After: a.Head.Seq}
	case a.Error != nil && status != http.StatusOK:
		return a.Head, restart.Errorf(a.Error.Code, "it refuses, %d: %s", status, said([]byte(a.Error.Message))).WithHint("%s", restart.Escape(a.Error.Hint))
	case a.Error != nil || a.Behind || status != http.StatusOK || a.Head.Source != last.Source:
		return Head{}, fmt.Errorf("it answers nonsense, %d: %s", status, said(text))
	case a.Head == last:
		return last, nil
	case last.Before(a.Head) && a.Head.Hash != "":
		return last, nil // it has these, and more, from an earlier attempt
	}
	return Head{}, fmt.Errorf("it answers nonsense: that it stands at record %d of epoch %d, after record %d of epoch %d was sent: %s",
		a.Head.Seq, a.Head.Epoch, last.Seq, last.Epoch, said(text))
}
