package dispatch

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func dialled(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
}

// TestHowFarACallCame: each way of not reaching an agent has its own name, its
// sentence, and says what to do.
func TestHowFarACallCame(t *testing.T) {
	c := &Client{}
	for name, x := range map[string]struct {
		err   error
		reach Reach
		says  string
	}{
		"refused":            {dialled(syscall.ECONNREFUSED), Closed, "nothing listens"},
		"no route":           {dialled(syscall.EHOSTUNREACH), NoRoute, "no route"},
		"no network":         {dialled(syscall.ENETUNREACH), NoRoute, "no route"},
		"no such name":       {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, Unresolved, "can't be resolved"},
		"no name service":    {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}, Unresolved, "can't be resolved now"},
		"dropped":            {&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, Silent, "no answer"},
		"taken and silent":   {context.DeadlineExceeded, Silent, "says nothing"},
		"cut off":            {io.EOF, NoAgent, "no agent"},
		"reset":              {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, NoAgent, "no agent"},
		"not TLS":            {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, NoAgent, "does not speak TLS"},
		"old TLS":            {&net.OpError{Op: "remote error", Err: errors.New("tls: protocol version not supported")}, NoAgent, "TLS"},
		"out of descriptors": {dialled(syscall.EMFILE), NoRoute, "too many open files"},
		"a bad certificate":  {&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "", "refused our certificate"},
	} {
		err := c.explain(t.Context(), restart.Host{Name: "web1.example.com"}, &handshakeError{x.err}, true)
		var notSent *NotSentError
		if !errors.As(err, &notSent) || ReachOf(err) != x.reach || !strings.Contains(err.Error(), x.says) || notSent.Err.Hint == "" {
			t.Errorf("%s: reach %q, %v", name, ReachOf(err), err)
		}
		if !errors.Is(err, x.err) && x.reach != NoAgent {
			t.Errorf("%s: the cause is lost", name)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.explain(over, restart.Host{Name: "web1"}, &handshakeError{context.Canceled}, true); ReachOf(err) != Silent {
		t.Errorf("out of time: %v", err)
	}
	if err := Unreached("web1", Closed); ReachOf(err) != Closed || err.Err.Code != restart.CodeUnreachable {
		t.Errorf("%v", err)
	}
}
