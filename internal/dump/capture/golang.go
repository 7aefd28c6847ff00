package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/restart"
)

// endpoint reads the address of a pprof endpoint, and gives that of its
// goroutines: /debug/pprof of the host, or wherever the path leads. Whether a
// name is this host's is judged when it is connected to.
func endpoint(text string) (*url.URL, error) {
	bad := restart.Errorf(restart.CodeInvalid, "%s is not the address of a pprof endpoint on this host", restart.Quote(text)).
		WithHint("such as http://127.0.0.1:6060/debug/pprof")
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, bad
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && restart.CheckHost(u.Hostname()) != nil {
		return nil, bad
	}
	path := strings.TrimSuffix(u.Path, "/")
	switch {
	case path == "":
		path = "/debug/pprof/goroutine"
	case !strings.HasSuffix(path, "/goroutine"):
		path += "/goroutine"
	}
	u.Path, u.RawPath = path, ""
	return u, nil
}

// pprof asks a Go program for its goroutines: each with its stack, or, where
// that is too much, grouped by stacks.
func (p *process) pprof(ctx context.Context) ([]byte, error) {
	if p.request.URL == "" {
		return nil, restart.Errorf(restart.CodeConflict, "no pprof endpoint of the Go program %d is declared, and the signal QUIT would end it", p.pid).
			WithHint("import net/http/pprof in the program, serve it on loopback, and say url: http://127.0.0.1:PORT/debug/pprof in the scenario")
	}
	u, err := endpoint(p.request.URL)
	if err != nil {
		return nil, err
	}
	if err := p.stopped(); err != nil {
		return nil, err
	}
	if err := p.listens(u); err != nil {
		return nil, err
	}
	whole, err := fetch(ctx, u, "2")
	if err != nil || len(whole) <= dump.MaxCapture {
		return whole, err
	}
	p.note("the goroutines are grouped by their stacks: one by one they are more than %d MiB", dump.MaxCapture>>20)
	return fetch(ctx, u, "1")
}

// listens refuses an endpoint at which a stranger's process listens: the
// goroutines would be that one's. One of root or of the same user may be what
// leads to the process, as a container's proxy does. Then, and where nobody can
// tell, the dump says so.
func (p *process) listens(u *url.URL) error {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if at, err := netip.ParseAddr(u.Hostname()); err == nil {
		port = net.JoinHostPort(at.String(), port)
	}
	who, err := health.System{}.Listeners(port)
	switch {
	case err != nil || len(who) == 0:
		p.note("whether process %d itself answers at %s could not be told", p.pid, u)
		return nil
	case slices.Contains(who, p.pid):
		return nil
	}
	own, err := p.user()
	if err != nil {
		return err
	}
	other, err := (&life{pid: who[0]}).user()
	if err == nil && (other.uid == 0 || other.uid == own.uid) {
		p.note("at %s process %d listens, and not process %d itself: the goroutines are its own only if that one leads to it", u, who[0], p.pid)
		return nil
	}
	return restart.Errorf(restart.CodeConflict, "at %s process %d of another user listens, and not process %d: the goroutines would not be its own", u, who[0], p.pid).
		WithHint("name the address in the scenario at which the process itself serves its pprof")
}

// fetch gets the goroutines in one of the forms of runtime/pprof.
func fetch(ctx context.Context, u *url.URL, form string) ([]byte, error) {
	asked := *u
	asked.RawQuery = "debug=" + form
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, asked.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", u, err)
	}
	dialer := &net.Dialer{Control: ownAddress}
	client := &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: maxTalk},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	unavailable := func(format string, args ...any) error {
		return restart.Errorf(restart.CodeUnavailable, "the pprof endpoint %s %s", u, fmt.Sprintf(format, args...))
	}
	response, err := client.Do(request)
	if err != nil {
		if e, ok := errors.AsType[*restart.Error](err); ok {
			return nil, e
		}
		return nil, unavailable("does not answer: %s", restart.Escape(cause(err).Error()))
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		return nil, unavailable("sends us elsewhere (%d), where we don't go", response.StatusCode)
	}
	if response.StatusCode != http.StatusOK {
		return nil, unavailable("answers with %d", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, dump.MaxCapture+1))
	if err != nil {
		return nil, unavailable("broke off: %s", restart.Escape(cause(err).Error()))
	}
	if !bytes.HasPrefix(text, []byte("goroutine ")) {
		return nil, unavailable("answers with something else than goroutines: %s", restart.Quote(firstWords(text)))
	}
	return text, nil
}

// ownAddress lets nobody connect to another host, whatever a name resolves to.
func ownAddress(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	if at.Addr().Unmap().IsLoopback() {
		return nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list this host's addresses: %w", err)
	}
	if slices.ContainsFunc(own, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == at.Addr().Unmap()
	}) {
		return nil
	}
	return restart.Errorf(restart.CodeForbidden, "%s is not an address of this host, and is not asked", at.Addr())
}
