package sshd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/restartilka/restartilka/internal/authn"
)

func TestInside(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", r.RemoteAddr+" "+r.Header.Get("Authorization")+r.Header.Get("Cookie"))
		w.WriteHeader(http.StatusCreated)
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/panics", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half of")
		panic("on purpose")
	})
	mux.HandleFunc("/nothing", func(http.ResponseWriter, *http.Request) {})
	c := &http.Client{Transport: inside{handler: mux, shown: authn.ShownKey{From: "2001:db8::1"}, log: slog.New(slog.DiscardHandler), handling: &sync.WaitGroup{}}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://server/echo", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer rtk_x")
	req.Header.Set("Cookie", "x=y")
	get := func(req *http.Request) (status int, from, body string, err error) {
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("X-From"), string(b), err
	}
	if status, from, body, err := get(req); err != nil || status != http.StatusCreated || body != "hello" || from != "[2001:db8::1]:0 " {
		t.Errorf("%v %d %q %q", err, status, body, from)
	}
	for path, want := range map[string]error{"/panics": io.ErrUnexpectedEOF, "/nothing": nil, "/absent": nil} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://server"+path, nil)
		if _, _, _, err := get(req); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A stream comes as it is written, and ends with its reader.
func TestInsideStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 2)
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			io.WriteString(w, "one\n")
			<-r.Context().Done()
			_, err := io.WriteString(w, "two\n")
			ended <- err
		})
		transport := inside{handler: h, log: slog.New(slog.DiscardHandler), handling: &sync.WaitGroup{}}
		for _, way := range []string{"closed", "cancelled"} {
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://server/", nil)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4)
			if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "one\n" {
				t.Errorf("%q, %v", b, err)
			}
			if way == "cancelled" {
				cancel()
				if _, err := io.ReadAll(resp.Body); err == nil {
					t.Error("a stream that was cut looks whole")
				}
			}
			resp.Body.Close()
			if err := <-ended; err == nil {
				t.Errorf("%s: the handler writes on", way)
			}
			cancel()
		}
	})
}
