package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/test/foreign/slack"
)

// withReceivers is lines of server.yaml that name a receiver which takes
// messages, and one which does not: nobody listens there.
func withReceivers(t testing.TB) string {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte(slack.Token+"\n"), 0o600))
	return fmt.Sprintf(`notify:
  slack:
    - {name: ops-chat, url: %q, channel: ops, token_file: %s, events: [run-paused, run-failed, break-glass], environments: [production]}
  mail:
    - {name: payments-team, server: "127.0.0.1:9", tls: none, from: restartilka@shop.example, to: [payments@shop.example, on-call@shop.example], services: [checkout, payments], events: [run-started, approval-requested]}
`, slack.Start(t).URL, token)
}

// triesReceivers: what each says stands beside it, where the page then is.
func (f *fixture) triesReceivers(b *tab) {
	f.t.Helper()
	for number, says := range map[int]string{1: "was not taken", 2: "was taken"} { // mail comes first
		b.visit("/admin/messages")
		b.press(fmt.Sprintf(".things li:nth-child(%d) form button", number))
		b.until("location.hash === '#tested' && document.querySelector('#tested') !== null && document.readyState === 'complete'")
		if text := eval[string](b, fmt.Sprintf("document.querySelector('.things li:nth-child(%d) #tested').textContent", number)); !strings.Contains(text, says) {
			f.t.Errorf("receiver %d: %q", number, text)
		}
		f.fits(b, fmt.Sprintf("admin-messages-tested-%d", number))
	}
}
