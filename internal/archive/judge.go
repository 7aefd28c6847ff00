package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	// maxText bounds the text of a capture, in bytes.
	maxText = dump.MaxCapture + dump.MaxHeader + 1<<20
	// maxUploadText bounds the text of a file that somebody puts in, in bytes:
	// several captures one after another.
	maxUploadText = 2 * dump.MaxCapture
	// maxVerdict bounds the verdict as it is stored, in bytes; lists of threads
	// are left out of a longer one.
	maxVerdict = 8 << 10
)

// unpack gives the text of zstd or gzip, and anything else as it is, up to most
// bytes: CodeTooLarge where it is longer, however small it came, CodeInvalid
// where it is damaged.
func unpack(data []byte, most int64) ([]byte, error) {
	r, err := unpacking(data, most)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case int64(len(text)) > most, restart.CodeOf(err) == restart.CodeTooLarge:
		return nil, restart.Errorf(restart.CodeTooLarge, "the dump has more than %d MiB of text", most>>20)
	case err != nil:
		return nil, damaged(err)
	}
	return text, nil
}

// unpacking is unpack as it is read. Only what is zstd ends with an error where
// it is longer.
func unpacking(data []byte, most int64) (io.ReadCloser, error) {
	r := bytes.NewReader(data)
	switch {
	case bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return pack.Unpack(r, most)
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, damaged(err)
		}
		return z, nil
	}
	return io.NopCloser(r), nil
}

func damaged(err error) error {
	return restart.Errorf(restart.CodeInvalid, "the dump's file is damaged: it can't be unpacked").WithHint("is it whole?").Because(err)
}

// slot waits for a place to parse in.
func (a *Archive) slot(ctx context.Context) (giveBack func(), err error) {
	select {
	case a.slots <- struct{}{}:
		return func() { <-a.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// take unpacks, redacts, parses and judges a capture from a host, and gives the
// bytes to store; nil where there is nothing in them worth keeping. What is
// wrong is said in d.Error: a host that lies harms nobody.
func (a *Archive) take(ctx context.Context, d *store.Dump, data []byte) ([]byte, error) {
	giveBack, err := a.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	text, err := unpack(data, maxText)
	if err != nil {
		d.Error = "what the host sent is no dump: " + sentence(err)
		return nil, nil
	}
	text = a.cfg.Redact.Text(text)
	d.Size = int64(len(text))
	if data, err = pack.Pack(text); err != nil {
		return nil, err
	}
	dumps, err := a.understand(text)
	if err != nil {
		d.Error = sentence(err)
		return data, nil
	}
	a.judge(d, dumps)
	return data, nil
}

// judge fills in what a list shows of the dumps of one file.
func (a *Archive) judge(d *store.Dump, dumps []*dump.Dump) {
	defer func() {
		if fault := recover(); fault != nil {
			a.log.Error("a thread dump could not be judged", "fault", fault, "dump", d.ID)
		}
	}()
	report := analyse.Series(dumps, analyse.Options{})
	d.Verdict, d.Summary = encodeVerdict(report.Verdict()), encodeSummary(dumps, report)
}

func encodeVerdict(f analyse.Finding) json.RawMessage {
	f.IDs, f.Looked, f.Missed = nil, nil, nil
	b, err := json.Marshal(f)
	if err == nil && len(b) <= maxVerdict {
		return b
	}
	const most = 500
	b, err = json.Marshal(analyse.Finding{
		Kind: f.Kind, Severity: f.Severity, Threads: f.Threads, Of: f.Of, At: f.At, Depth: f.Depth, Behind: f.Behind, Span: f.Span, Dumps: f.Dumps, Does: analyse.Doing{Kind: f.Does.Kind, Peer: f.Does.Peer},
		Subject: clip(f.Subject, most), Holder: clip(f.Holder, most), Lock: clip(f.Lock, most), Frame: clip(f.Frame, most), Text: clip(f.Text, most),
	})
	if err != nil {
		return nil
	}
	return b
}

func encodeSummary(dumps []*dump.Dump, report *analyse.Report) json.RawMessage {
	s := wire.DumpSummary{Dumps: len(dumps), Threads: report.Threads, States: report.States, Program: clip(report.Program, 200)}
	for _, f := range report.Findings {
		switch f.Severity {
		case analyse.Alarm:
			s.Alarms++
		case analyse.Warning:
			s.Warnings++
		case analyse.Note:
		}
	}
	for _, d := range dumps {
		s.Rest += len(d.Rest)
		if s.Cut == "" {
			s.Cut = clip(d.Cut, 200)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	return b
}

// clip bounds a text, in bytes.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// sentence is what people are told of an error.
func sentence(err error) string {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e.Message
	}
	return "it can't be read"
}
