package oidc

import (
	"io"
	"net/http"

	"github.com/restartilka/restartilka/internal/restart"
)

// bounded lets no answer be longer than most bytes.
type bounded struct {
	next http.RoundTripper
	most int64
}

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: b.most}
	return resp, nil
}

// CloseIdleConnections is for http.Client.
func (b *bounded) CloseIdleConnections() {
	if t, ok := b.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, restart.Errorf(restart.CodeTooLarge, "the answer is too long")
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, restart.Errorf(restart.CodeTooLarge, "the answer is too long")
	}
	return n, err
}
