package supervisor

import (
	"fmt"
	"io"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/protocol"
)

// methodScript is the method of a dump that a scenario's own script printed.
const methodScript = "script"

// printed passes on what a script prints, and remembers its beginning.
type printed struct {
	to   io.Writer
	most int // bytes that are remembered
	kept []byte
	over int64 // bytes that are not
	read func([]byte) ([]*dump.Dump, error)
}

// parsed gives the dumps that were printed, if there are any. A fault of the
// parser is an error, and no reason for the task to end.
func (p *printed) parsed() (dumps []*dump.Dump, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			dumps, err = nil, fmt.Errorf("what the script printed can't be read as a dump: %v", fault)
		}
	}()
	if dumps, err = p.read(p.kept); err != nil {
		return nil, nil //nolint:nilerr // it is no dump
	}
	return dumps, nil
}

func (p *printed) Write(b []byte) (int, error) {
	n := min(len(b), p.most-len(p.kept))
	p.kept = append(p.kept, b[:n]...)
	p.over += int64(len(b) - n)
	return p.to.Write(b)
}

// recognise keeps what the script of a thread-dump scenario printed as a dump,
// if it is one. What is none is output, and nothing else.
func (t *tour) recognise(p *printed, begun time.Time) {
	if len(p.kept) == 0 {
		return
	}
	dumps, err := p.parsed()
	if err != nil {
		t.warn(err.Error())
		return
	}
	header := dump.Header{Host: t.envelope.Host, Service: t.envelope.Service, Method: methodScript, Taken: begun, Took: time.Since(begun), Number: 1, Of: 1}
	for _, d := range dumps {
		if d.Format == dump.Unknown || len(d.Threads) == 0 {
			continue
		}
		header.Runtime = d.Runtime
		if d.Header != nil {
			header.PID = d.Header.PID
		}
	}
	if header.Runtime == "" {
		return
	}
	if p.over > 0 {
		header.Notes = append(header.Notes, fmt.Sprintf("the script printed %d bytes more", p.over))
	}
	t.keep(capture.Captured{Header: header, Raw: redact.Defaults().Text(p.kept)}, protocol.DumpRun)
}
