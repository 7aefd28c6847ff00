package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

// T is what a server of PostgreSQL needs of a test: any testing.TB, or a program
// that measures.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	Errorf(format string, args ...any)
	Fatal(args ...any) // does not return
	Fatalf(format string, args ...any)
	Skip(args ...any) // does not return
}

// Postgres is a private PostgreSQL server: its own cluster in a temporary
// folder, reached by a Unix socket in it, stopped at the end of the test.
type Postgres struct {
	dir     string
	admin   *sql.DB
	schemas atomic.Int64
}

// startLimit is how long a cluster may take to be made or to answer.
const startLimit = 3 * time.Minute

// StartPostgres makes and starts a server from the programs of Debian's
// package. Where they are missing the test fails if CI is set, else it is
// skipped and says so. Started by root, the server runs as user postgres or
// nobody, because it refuses root.
func StartPostgres(t T) *Postgres {
	t.Helper()
	bin := programs(t)
	dir, err := os.MkdirTemp("", "restartilka-pg-") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the cluster: %v", err)
		}
	})
	process, err := unprivileged(dir)
	if err != nil {
		t.Fatalf("give the cluster to an unprivileged user: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", data, "--username", "restartilka", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = dir, process
	runtime.LockOSThread() // it would die with the thread that starts it, as the server would: see start
	out, err := initdb.CombinedOutput()
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	start(t, dir, exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "unix_socket_permissions=0777"), process)
	p := &Postgres{dir: dir}
	if p.admin, err = sql.Open("pgx", p.url("public")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.admin.Close() }) // the server is about to go
	if err := answers(ctx, p.admin); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("PostgreSQL does not answer: %v\n%s", err, log)
	}
	return p
}

// Dir is the folder that has all files of the server.
func (p *Postgres) Dir() string { return p.dir }

// NewDSN makes an empty schema and gives an address by which it is the only
// one that is seen.
func (p *Postgres) NewDSN(t testing.TB) string {
	t.Helper()
	dsn, err := p.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// Schema is NewDSN outside of a test.
func (p *Postgres) Schema(ctx context.Context) (dsn string, err error) {
	schema := "test" + strconv.FormatInt(p.schemas.Add(1), 10)
	if _, err := p.admin.ExecContext(ctx, "CREATE SCHEMA "+schema); err != nil {
		return "", fmt.Errorf("create schema: %w", err)
	}
	return p.url(schema), nil
}

func (p *Postgres) url(schema string) string {
	q := url.Values{"host": {p.dir}, "search_path": {schema}}
	return (&url.URL{Scheme: "postgres", User: url.User("restartilka"), Path: "/postgres", RawQuery: q.Encode()}).String()
}

// programs finds the folder of initdb and postgres: Debian keeps them by
// version, outside PATH.
func programs(t T) string {
	t.Helper()
	if dir := installed(); dir != "" {
		return dir
	}
	const what = "PostgreSQL is not installed, so nothing of it was tested (Debian: apt-get install postgresql)"
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip("SKIPPED: " + what)
	return ""
}

// HavePostgres tells whether StartPostgres finds its programs.
func HavePostgres() bool { return installed() != "" }

// installed gives the folder of the newest programs, "" where there are none.
func installed() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) == 0 {
		if path, err := exec.LookPath("initdb"); err == nil {
			found = []string{path}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[0])
}

func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// unprivileged gives dir to the user that the server will run as.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		who, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(who.Gid)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, uid, gid)
}

// start runs the server until the test ends. It dies with the test binary: the
// kernel sends it the signal when the thread that started it ends, so that
// thread stays.
func start(t T, dir string, server *exec.Cmd, process *syscall.SysProcAttr) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Dir, server.SysProcAttr, server.Stdout, server.Stderr = dir, process, log, log
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close() // only read by people
		err := server.Start()
		started <- err
		if err == nil {
			ended <- server.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Process.Signal(syscall.SIGQUIT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("stop PostgreSQL: %v", err)
		}
		<-ended //nolint:errcheck // with SIGQUIT its exit status says nothing
	})
}

// answers waits until the server takes connections.
func answers(ctx context.Context, db *sql.DB) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-tick.C:
		}
	}
}
