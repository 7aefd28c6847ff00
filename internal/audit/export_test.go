package audit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// SyslogMessage is what a Syslog of that facility makes of r.
func SyslogMessage(facility string, r Record) []byte {
	h, err := newHeader(facility)
	if err != nil {
		return nil
	}
	return h.appendMessage(nil, &r)
}

// Connected tells whether s has a connection.
func (s *Syslog) Connected() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.conn.open != nil
}

// RelpFrames reads frames to the end of the text and writes them again.
func RelpFrames(text []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(text))
	var out []byte
	for {
		f, err := readRelp(r)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = appendRelp(out, f.transaction, f.command, f.data)
	}
}

// CheckBulkAnswer judges the answer to a bulk request.
func CheckBulkAnswer(answer []byte, records []Record) error { return checkBulkAnswer(answer, records) }
