package server_test

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// wire stands between a server and its PostgreSQL, and can be cut.
type wire struct {
	t    *testing.T
	real string // path of the real socket
	dir  string // of the socket that the server uses

	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
}

const socket = ".s.PGSQL.5432"

// lay puts a wire into the address of a database.
func lay(t *testing.T, dsn string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	dir, err := os.MkdirTemp("", "wire") //nolint:usetesting // the path of a socket must be short, and t.TempDir has the name of the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &wire{t: t, real: filepath.Join(q.Get("host"), socket), dir: dir}
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	w.mend()
	t.Cleanup(w.cut)
	return w, u.String()
}

func (w *wire) mend() {
	w.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(w.t.Context(), "unix", filepath.Join(w.dir, socket))
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.listener = l
	w.mu.Unlock()
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := (&net.Dialer{}).DialContext(w.t.Context(), "unix", w.real)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.open = append(w.open, near, far)
			w.mu.Unlock()
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					io.Copy(way[0], way[1]) // it is cut on purpose
					way[0].Close()
				}()
			}
		}
	}()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener.Close()
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}

// Monitoring sees that the database is away, and is not blind itself.
func TestMetricsWhileTheDatabaseIsAway(t *testing.T) {
	w, dsn := lay(t, storetest.StartPostgres(t).NewDSN(t))
	db, err := store.Open(t.Context(), store.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	err = db.CreateToken(t.Context(), store.Token{
		ID: restart.NewID(now), Name: "scrape", Owner: "prometheus", Roles: []restart.Role{restart.RoleViewer}, Hash: hash, CreatedAt: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(cfg *server.Config) {
		file := filepath.Join(t.TempDir(), "dsn")
		if err := os.WriteFile(file, []byte(dsn), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Database = server.DatabaseConfig{DSNFile: file}
	})
	s.becomes(200, "database ok")
	if status, body := s.get("/metrics", secret); status != 200 || !strings.Contains(body, "\nrestartilka_database_up 1\n") || !strings.Contains(body, "\nrestartilka_runs_open{") {
		t.Fatalf("%d\n%s", status, body)
	}
	w.cut()
	s.becomes(503, "database failed")
	began := time.Now()
	status, body := s.get("/metrics", secret)
	if status != 200 || !strings.Contains(body, "\nrestartilka_database_up 0\n") || !strings.Contains(body, `restartilka_ready{check="database"} 0`) {
		t.Errorf("%d\n%s", status, body)
	}
	if strings.Contains(body, "restartilka_runs_open") {
		t.Error("runs are counted without a database")
	}
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("the scrape took %v; Prometheus waits for 10 s", took)
	}
	if status, _ := s.get("/metrics", "rtk_00000000000000000000000000000000"); status == 200 {
		t.Error("anybody may read the metrics while the database is away")
	}
	if status, _ := s.get("/api/v1/runs", secret); status != 503 {
		t.Errorf("the API answers %d", status)
	}
	os.Remove(filepath.Join(w.dir, socket))
	w.mend()
	s.becomes(200, "database ok")
}
