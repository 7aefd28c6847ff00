package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/company"
)

// backUp makes a backup beside the running server, and verifies it.
func backUp(t *testing.T, c *company.Company) (file string) {
	t.Helper()
	file = filepath.Join(c.Dir, "backup")
	out, talk, code := c.Program("backup", file, "--config", c.Config())
	if code != 0 || !strings.Contains(out, "sha256") || !strings.Contains(talk, "envelope.key") {
		t.Fatalf("backup: exit %d\n%s\n%s", code, out, talk)
	}
	if out, talk, code := c.Program("backup", "verify", file); code != 0 || !strings.Contains(out, "runs ") {
		t.Fatalf("backup verify: exit %d\n%s\n%s", code, out, talk)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	return file
}

// destroy removes the database, as a disk does.
func destroy(t *testing.T, c *company.Company) {
	t.Helper()
	left, err := filepath.Glob(c.Database() + "*")
	must(t, err)
	for _, file := range left {
		must(t, os.Remove(file))
	}
}

// copyDatabase takes the files of the frozen server's database.
func copyDatabase(t *testing.T, c *company.Company) (copied string) {
	t.Helper()
	c.FreezeServer()
	defer c.ThawServer()
	copied = filepath.Join(c.Dir, "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(c.Database() + suffix)
		must(t, err)
		must(t, os.WriteFile(copied+suffix, b, 0o600))
	}
	return copied
}

// A backup of the middle of a run, restored after the run was over: the hosts
// know more than the server. Nothing runs twice, whatever is pressed; a server
// that still works on the lost database gets nothing from the agents.
func TestAnOldBackupAgainstLivingAgents(t *testing.T) {
	t.Parallel()
	t.Run("into SQLite", func(t *testing.T) { t.Parallel(); oldBackup(t, "") })
	t.Run("into PostgreSQL", func(t *testing.T) {
		t.Parallel()
		oldBackup(t, storetest.StartPostgres(t).NewDSN(t))
	})
}

func oldBackup(t *testing.T, dsn string) {
	c := company.New(t, company.Options{Work: 700 * time.Millisecond, Servers: 1})
	run := c.Start(reason)
	c.Eventually("the first task to be running", func() bool {
		now, err := c.Dev.Run(t.Context(), run.ID)
		return err == nil && now.Tasks[0].State == restart.TaskRunning
	})
	file := backUp(t, c)
	lost := copyDatabase(t, c)
	account(t, c, c.Until(run.ID, restart.RunCompleted))
	later := c.Until(c.Start("a run that the backup does not know").ID, restart.RunCompleted)
	c.KillServer()
	destroy(t, c)
	if dsn != "" {
		must(t, os.WriteFile(filepath.Join(c.ServerDir(), "dsn"), []byte(dsn+"\n"), 0o600))
		replace(t, c.Config(), "sqlite: "+c.Database(), "dsn_file: dsn")
	}
	out, talk, code := c.Program("restore", file, "--config", c.Config(), "--by", "anna")
	if code != 0 || !strings.Contains(out, run.ID) || !strings.Contains(talk, "revoke them anew") {
		t.Fatalf("restore: exit %d\n%s\n%s", code, out, talk)
	}
	before := len(c.WitnessLines())

	c.StartServer()
	paused := c.Until(run.ID, restart.RunPaused)
	if paused.Cause != restart.CauseInterrupted || !strings.Contains(paused.Explanation, "restored from a backup of") || paused.Epoch < 1_000_000 {
		t.Errorf("epoch %d, paused (%s): %s", paused.Epoch, paused.Cause, paused.Explanation)
	}
	if _, err := c.Dev.Run(t.Context(), later.ID); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("the run of the lost future: %v", err)
	}
	// A person presses on, over whatever is said.
	over := settle(t, c, run.ID)
	if n := len(c.WitnessLines()); n != before {
		t.Errorf("the witness saw %d lines more", n-before)
	}
	if over.Tasks[0].State != restart.TaskUnknown {
		t.Errorf("the host in hand is %s: %s", over.Tasks[0].State, over.Tasks[0].Error)
	}
	for _, task := range over.Tasks[1:] {
		switch task.State {
		case restart.TaskUnknown, restart.TaskSucceeded:
		default: // they did run: never "not started"
			t.Errorf("%s is %s: %s", task.Host, task.State, task.Error)
		}
	}

	// The lost database's server comes back to life.
	agents, key := asServer(t, c)
	first := restart.Host{Name: c.Hosts[0].Name, Address: c.Hosts[0].Address}
	_, err := agents.Forget(t.Context(), first, over.Tasks[0].ID, protocol.Forget{Run: run.ID, Epoch: 5})
	if restart.CodeOf(err) != restart.CodeStaleEpoch {
		t.Errorf("DELETE with an epoch of the lost database: %v", err)
	}
	if err := put(t, agents, key, run, restart.NewID(time.Now()), first, 5); restart.CodeOf(err) != restart.CodeStaleEpoch {
		t.Errorf("PUT with an epoch of the lost database: %v", err)
	}
	db := "sqlite: " + c.Database()
	if dsn != "" {
		db = "dsn_file: dsn"
	}
	old := c.NewServer(2, db, "sqlite: "+lost)
	old.Start()
	x := old.Client(c.DevToken)
	c.Eventually("the lost server to be refused", func() bool {
		now, err := x.Run(t.Context(), run.ID)
		return err == nil && now.State == restart.RunPaused && now.Cause == restart.CauseLockLost
	})
	if _, err := x.Resume(t.Context(), run.ID); err == nil {
		t.Error("a run was resumed on the lost database")
	}
	old.Stop()
	if n := len(c.WitnessLines()); n != before {
		t.Errorf("the witness saw %d lines more after the lost server was back", n-before)
	}

	// New work goes on, and the trail tells of it all.
	c.Until(c.Start("a new run after the restore").ID, restart.RunCompleted)
	c.StopServer()
	out, talk, code = c.CLI("audit", "verify", c.AuditFile())
	if code != 0 || !strings.Contains(out, "a backup was restored once") {
		t.Errorf("audit verify: exit %d\n%s\n%s", code, out, talk)
	}
	if n := strings.Count(readFile(t, c.AuditFile()), `"actor":"anna","origin":"local","action":"server.restored"`); n != 1 {
		t.Errorf("%d records of the restore", n)
	}
}

// Restored at once, while the script still works: its host is followed to its
// real end, and the others are restarted once.
func TestARestoreInMidRun(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: 3 * time.Second})
	run := c.Start(reason)
	c.Eventually("the first task to be running", func() bool {
		now, err := c.Dev.Run(t.Context(), run.ID)
		return err == nil && now.Tasks[0].State == restart.TaskRunning
	})
	file := backUp(t, c)
	c.KillServer()
	destroy(t, c)
	if out, talk, code := c.Program("restore", file, "--config", c.Config()); code != 0 {
		t.Fatalf("restore: exit %d\n%s\n%s", code, out, talk)
	}
	c.StartServer()
	c.Eventually("the host in hand to be known", func() bool {
		now, err := c.Dev.Run(t.Context(), run.ID)
		return err == nil && now.State == restart.RunPaused && now.Tasks[0].State == restart.TaskSucceeded
	})
	if _, err := c.Dev.Resume(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	account(t, c, c.Until(run.ID, restart.RunCompleted))
}

// What is refused changes nothing, says why and what to do.
func TestRefusedBackupsAndRestores(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 1})
	c.Until(c.Start(reason).ID, restart.RunCompleted)
	file := backUp(t, c)
	whole := readFile(t, file)
	half, odd := filepath.Join(c.Dir, "half"), filepath.Join(c.Dir, "odd")
	must(t, os.WriteFile(half, []byte(whole[:len(whole)/2]), 0o600))
	must(t, os.WriteFile(odd, []byte("no backup at all, but a text that somebody has written"), 0o600))
	try := func(code int, says string, args ...string) {
		t.Helper()
		if out, talk, got := c.Program(args...); got != code || !strings.Contains(talk, says) {
			t.Errorf("%v: exit %d, want %d\n%s\n%s", args, got, code, out, talk)
		}
	}
	config := "--config=" + c.Config()
	try(3, "--force", "backup", file, config)
	try(0, "", "backup", file, config, "--force")
	try(2, "FILE is missing", "backup", config)
	try(2, "can't be written", "backup", filepath.Join(c.Dir, "absent", "x"), config)
	try(2, "restartilka server init", "backup", half, "--config=/absent/server.yaml")
	try(1, "ends too early", "backup", "verify", half)
	try(1, "does not begin as one", "backup", "verify", odd)
	try(2, "can't be read", "backup", "verify", filepath.Join(c.Dir, "absent"))
	try(3, "is in use by process", "restore", file, config, "--replace")
	c.StopServer()
	database := readFile(t, c.Database())
	try(3, "--replace", "restore", file, config)
	try(2, "ends too early", "restore", half, config, "--replace")
	try(2, "does not begin as one", "restore", odd, config, "--replace")
	if readFile(t, c.Database()) != database {
		t.Error("a refused restore has changed the database")
	}
	for _, left := range []string{".restore", ".restoring"} {
		if _, err := os.Stat(c.Database() + left); err == nil {
			t.Errorf("%s is left behind", left)
		}
	}
	// By streams, over a database that is kept.
	out, talk, code := c.Program("restore", file, config, "--replace", "--json")
	if code != 0 || !strings.Contains(out, ".before-restore-") {
		t.Errorf("restore: exit %d\n%s\n%s", code, out, talk)
	}
	c.StartServer()
	if run := c.Until(c.Start(reason).ID, restart.RunCompleted); states(run) != "succeeded" {
		t.Error(states(run))
	}
	streamed, talk, code := c.Program("backup", "-", config)
	if code != 0 || talk != "" {
		t.Errorf("exit %d: %s", code, talk)
	}
	must(t, os.WriteFile(odd, []byte(streamed), 0o600))
	try(0, "", "backup", "verify", odd)
	if parts, err := filepath.Glob(filepath.Join(c.Dir, ".*.part")); err != nil || len(parts) > 0 {
		t.Errorf("left behind: %v %v", parts, err)
	}
}

// The backup knows the first host in hand; by the time that the database is
// lost, the second one works. Its task is planned for the restored server, and
// known to its agent: it is not run again, and never called not started.
func TestARestoreWhileTheNextHostWorks(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: 2 * time.Second})
	run := c.Start(reason)
	c.Eventually("the first task to be running", func() bool {
		now, err := c.Dev.Run(t.Context(), run.ID)
		return err == nil && now.Tasks[0].State == restart.TaskRunning
	})
	file := backUp(t, c)
	c.Eventually("the second script to run", func() bool { return len(c.WitnessLines()) >= 3 })
	c.KillServer()
	destroy(t, c)
	if out, talk, code := c.Program("restore", file, "--config", c.Config()); code != 0 {
		t.Fatalf("restore: exit %d\n%s\n%s", code, out, talk)
	}
	c.StartServer()
	c.Eventually("the first host to be known", func() bool {
		now, err := c.Dev.Run(t.Context(), run.ID)
		return err == nil && now.State == restart.RunPaused && now.Tasks[0].State.Final()
	})
	over := settle(t, c, run.ID)
	seen := c.Witnessed()
	for line, n := range seen {
		if n != 1 {
			t.Errorf("executed %d times: %s", n, line)
		}
	}
	for _, task := range over.Tasks {
		began := seen[task.ID+" "+task.Host+" begin"]
		switch task.State {
		case restart.TaskSucceeded:
			if began != 1 || seen[task.ID+" "+task.Host+" end"] != 1 {
				t.Errorf("%s succeeded; the witness saw it begin %d times", task.Host, began)
			}
		case restart.TaskUnknown:
			t.Logf("%s is %s: %s", task.Host, task.State, task.Error)
		default:
			t.Errorf("%s is %s: %s", task.Host, task.State, task.Error)
		}
	}
	if n := len(over.Tasks); n != 3 {
		t.Errorf("%d tasks", n)
	}
}
