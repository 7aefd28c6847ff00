package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// withChat is lines of server.yaml that name a chat which nothing is asked of.
func withChat(t testing.TB) string {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte("a-token-of-nobody\n"), 0o600))
	return fmt.Sprintf("chat:\n  mattermost: {url: \"http://127.0.0.1:9\", token_file: %[1]s, command_token_file: %[1]s}\n", token)
}

// linked links accounts of chats, as people have.
func (s *shop) linked() {
	now := time.Now()
	for i, l := range []store.ChatLink{{Chat: "telegram", Person: "218846913", Name: "dana_writes", Owner: developer}, {Chat: "mattermost", Person: "9xuqwrwgstrb3mzrxb83nb357a", Name: "mei", Owner: "mei"}} {
		l.ID, l.CreatedAt = restart.NewID(now), now.Add(-time.Duration(i+3)*24*time.Hour)
		code := store.ChatCode{Hash: l.Person, Owner: l.Owner, Roles: []restart.Role{restart.RoleDeveloper}, CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
		must(s.t, s.store.CreateChatCode(s.t.Context(), code))
		_, err := s.store.UseChatCode(s.t.Context(), l.Person, l, func(store.ChatLink) audit.Record { return audit.Record{Time: now, Action: audit.ChatLinked} })
		must(s.t, err)
	}
}
