package company

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// initialised is what `server init --json` prints.
type initialised struct{ Config, CA, Token string }

// init makes the server's configuration, as an admin would.
func (c *Company) init(address string) (first initialised) {
	c.t.Helper()
	out, err := exec.CommandContext(c.t.Context(), c.Programs.Server, "server", "init", "--json", "--dir", c.layout.ServerDir(),
		"--data", c.layout.DataDir(), "--name", "demo", "--listen", c.layout.Listen, "--ip", address).Output()
	c.must(err)
	c.must(json.Unmarshal(out, &first))
	return first
}

// usePostgres points server.yaml to another database, and makes the first
// admin's token there.
func (c *Company) usePostgres(dsn string) (token string) {
	c.t.Helper()
	file := filepath.Join(c.layout.ServerDir(), "dsn")
	c.must(os.WriteFile(file, []byte(dsn+"\n"), 0o600))
	b, err := os.ReadFile(c.config)
	c.must(err)
	c.must(os.WriteFile(c.config, []byte(strings.Replace(string(b), "sqlite: "+c.layout.DataDir()+"/restartilka.db", "dsn_file: "+file, 1)), 0o640))
	s, err := store.Open(c.t.Context(), store.Config{DSN: dsn})
	c.must(err)
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	c.must(s.CreateToken(c.t.Context(), store.Token{
		ID: restart.NewID(now), Name: "first", Owner: "admin", Roles: []restart.Role{restart.RoleAdmin, restart.RoleDeveloper}, Hash: hash, CreatedAt: now,
	}))
	c.must(s.Close())
	return secret
}
