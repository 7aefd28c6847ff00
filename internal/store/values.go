package store

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// micros is how a time is stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// maybeMicros is how an optional time is stored: NULL for none.
func maybeMicros(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

func fromMaybeMicros(n sql.NullInt64) *time.Time {
	if !n.Valid {
		return nil
	}
	t := time.UnixMicro(n.Int64).UTC()
	return &t
}

// maybe gives a value that a pointer points to, or NULL.
func maybe[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// maybeBytes gives NULL for no bytes.
func maybeBytes(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func toInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// packer compresses what may be long. The first byte of what it makes says
// how: 0 as it was, 1 gzip.
type packer struct{ writers sync.Pool }

const packFrom = 256 // bytes; shorter ones do not shrink

func (p *packer) pack(b []byte) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	if len(b) < packFrom {
		return append([]byte{0}, b...), nil
	}
	var out bytes.Buffer
	out.WriteByte(1)
	z, ok := p.writers.Get().(*gzip.Writer)
	if !ok {
		z = gzip.NewWriter(nil)
	}
	defer p.writers.Put(z)
	z.Reset(&out)
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unpack(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	switch b[0] {
	case 0:
		return b[1:], nil
	case 1:
		z, err := gzip.NewReader(bytes.NewReader(b[1:]))
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		return io.ReadAll(z)
	}
	return nil, fmt.Errorf("unpack: form %d is not known", b[0])
}
