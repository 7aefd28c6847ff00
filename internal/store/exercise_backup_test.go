package store_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// makeBackup backs a database up, and restore puts it into another.
func makeBackup(t *testing.T, dsn string, o store.BackupOptions) ([]byte, backup.Manifest) {
	t.Helper()
	o.Server, o.Program = "main", "0.0.0-test"
	var b bytes.Buffer
	m, digest, err := store.Backup(t.Context(), store.Config{DSN: dsn}, &b, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, sum, err := backup.Verify(bytes.NewReader(b.Bytes()), func(int64) {}); err != nil || sum != digest {
		t.Fatalf("its own sum is not accepted: %s and %s, %v", sum, digest, err)
	}
	return b.Bytes(), m
}

func restoreTo(t *testing.T, dsn string, b []byte) (*store.Store, store.Restored) {
	t.Helper()
	out, err := store.Restore(t.Context(), store.Config{DSN: dsn}, bytes.NewReader(b), store.RestoreOptions{Server: "main", By: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Open(t, dsn), out
}

// between runs a test from each kind of database to each: on PostgreSQL, from
// and to SQLite too.
func between(t *testing.T, newDSN storetest.NewDSN, test func(t *testing.T, from, to storetest.NewDSN)) {
	kinds := map[string]storetest.NewDSN{"sqlite": storetest.SQLite, "this": newDSN}
	for a, from := range kinds {
		for b, to := range kinds {
			t.Run(a+" to "+b, func(t *testing.T) { test(t, from, to) })
		}
	}
}

// fill puts something into every table.
func fill(t *testing.T, s *store.Store) (open, waiting restart.Run) {
	t.Helper()
	odd := "«tab\t\"quote\" \\ <&>\u2028 \x01»"
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	open = newRun(3)
	open.Reason, open.Plan = odd, &restart.Plan{Hash: "h", Hosts: []restart.PlannedHost{{Host: restart.Host{Name: "web0.example.com"}}}}
	_, err := s.CreateRun(t.Context(), open, "key", []byte(scenarioBody), []audit.Record{{Action: audit.RunRequested, Run: open.ID}})
	ok(err)
	claims, err := s.Claim(t.Context(), "main/1", time.Hour, 10)
	if err != nil || len(claims) != 1 {
		t.Fatalf("%v %v", claims, err)
	}
	fence := &store.Fence{Owner: "main/1", Epoch: 1}
	mustApply(t, s, store.Change{RunID: open.ID, Fence: fence, Hold: true, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true},
		Records: []audit.Record{{Action: audit.RunStarted, Run: open.ID}}})
	mustApply(t, s, store.Change{RunID: open.ID, Fence: fence, Tasks: []store.TaskChange{
		{ID: open.Tasks[0].ID, Path: toTask(restart.TaskSucceeded), Envelope: []byte{0, 1, 2, 255}, Detail: []byte(`{"x":"y"}`), ExitCode: new(0)},
		{ID: open.Tasks[1].ID, Path: toTask(restart.TaskRunning), Error: odd},
	}})
	ok(s.AppendOutput(t.Context(), open.Tasks[0].ID, 0, bytes.Repeat([]byte("line\x00\xff\n"), 1000), 0))
	addDump(t, s, newDump(&open.Tasks[0], 1), []byte{0, 1, 2, 255})
	addDump(t, s, newDump(nil, 0), []byte("an upload"))
	_, err = s.AskSilence(t.Context(), restart.Silence{Run: open.ID, Task: open.Tasks[1].ID, Host: open.Tasks[1].Host, System: "main", Alerts: []string{"InstanceDown"}, EndsAt: time.Now()})
	ok(err)
	waiting = newRun(1)
	waiting.Service = "haproxy"
	mustCreate(t, s, waiting)
	draft := newRun(0)
	draft.State, draft.CreatedAt = restart.RunDraft, time.Now()
	mustCreate(t, s, draft)
	ok(s.KeepOutsideLock(t.Context(), store.OutsideLock{RunID: waiting.ID, Name: "cluster", Kind: "zookeeper", Place: "/locks/nginx", State: store.OutsideHeld, Note: odd, Server: "main", Since: epochStart}))
	ok(s.CreateToken(t.Context(), store.Token{ID: "t1", Owner: "anna", Hash: "hash", CreatedAt: epochStart}, audit.Record{Action: audit.TokenCreated}))
	ok(s.CreateSession(t.Context(), store.Session{ID: "s", Hash: "s", Owner: "anna", CreatedAt: epochStart, ExpiresAt: time.Now().Add(time.Hour)}))
	ok(s.CreateUser(t.Context(), store.User{Name: "anna", Method: "local", Display: odd, Roles: []restart.Role{restart.RoleAdmin}, Password: "$argon2id$", CreatedAt: epochStart}, audit.Record{Action: audit.UserCreated}))
	ok(s.AddKey(t.Context(), store.Key{ID: "k", Owner: "anna", Name: odd, Fingerprint: "SHA256:k", CreatedAt: epochStart}))
	fillChat(t, s, open.ID)
	ok(s.CreateLogin(t.Context(), store.LoginRequest{Hash: "l", CodeHash: "c", CreatedAt: epochStart, ExpiresAt: time.Now().Add(time.Hour)}))
	join := newID()
	ok(s.CreateJoinToken(t.Context(), store.JoinToken{ID: join, Host: "web9.example.com", Hash: "j", Uses: 2, Left: 2, CreatedBy: "anna", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
	ok(s.PutCertificate(t.Context(), store.Certificate{Serial: "01", Host: "web0.example.com", IssuedAt: epochStart, NotAfter: epochStart.AddDate(1, 0, 0)}))
	_, err = s.UseJoinToken(t.Context(), joining(join, "web9.example.com", "02", "key"))
	ok(err)
	from, to := epochStart, time.Now().Add(time.Hour)
	ok(s.AddFreeze(t.Context(), restart.Freeze{ID: newID(), Environments: []string{"production"}, From: &from, To: &to, Zone: "Europe/Berlin", Reason: odd, CreatedBy: "root", CreatedAt: epochStart},
		audit.Record{Action: audit.FreezeAdded}))
	planned := plannedFrom(t, s, newSchedule(time.Now().Add(-time.Hour)))
	_, err = s.AddSchedule(t.Context(), planned, 10, nil)
	ok(err)
	ok(s.ChangeSchedule(t.Context(), store.ScheduleChange{ID: planned.ID, To: restart.ScheduleCancelled, By: "anna", Why: odd, At: epochStart}))
	ok(s.SetCalendarToken(t.Context(), store.CalendarToken{Owner: "anna", Hash: "calendar", CreatedAt: epochStart}))
	broken := newRun(1)
	broken.Service, broken.State, broken.CreatedAt = "shop", restart.RunDraft, time.Now()
	mustCreate(t, s, broken)
	mustApply(t, s, store.Change{
		RunID: broken.ID, BreakGlass: &store.BreakGlass{By: "anna", Waived: odd}, Run: &store.RunChange{To: restart.RunQueued},
		Messages: []store.Message{{ID: newID(), Event: "break-glass", Subject: broken.ID, Channels: []string{"pager", "chat"}, Body: []byte(`{"a":1}`)}},
	})
	mustTell(t, s, "chat")
	mustApply(t, s, store.Change{RunID: broken.ID, Run: &store.RunChange{To: restart.RunAborted}})
	onHost := newImport()
	onHost.Run.Service = "varnish"
	_, err = s.ImportRun(t.Context(), onHost)
	ok(err)
	for range 2 { // the same reason again
		done := newRun(0)
		done.Service = "squid"
		mustCreate(t, s, done)
		mustApply(t, s, store.Change{RunID: done.ID, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true}})
		mustApply(t, s, store.Change{RunID: done.ID, Run: &store.RunChange{To: restart.RunCompleted, SetFinished: true}})
	}
	recurring, err := s.Recurring(t.Context(), epochStart, 2, time.Hour)
	if err != nil || len(recurring) != 1 {
		t.Fatalf("%v %v", recurring, err)
	}
	_, err = s.NoteRecurrence(t.Context(), recurring[0], store.Message{ID: newID(), Event: "recurrence", Channels: []string{"ticket:jira"}, Body: []byte(`{}`)}, epochStart, time.Hour)
	ok(err)
	ok(s.MoveLocalHead(t.Context(), "web0.example.com", protocol.ChainHead{}, protocol.ChainHead{Seq: 2, Hash: "h"}))
	version := newVersion("nginx-restart", 3, odd)
	version.Signatures = []restart.ScenarioSignature{newSignature("olga@example.com", "SHA256:1")}
	mustAdd(t, s, version)
	_, err = s.WarnedOf(t.Context(), version.Digest, 30, epochStart, nil)
	ok(err)
	_, err = s.Sequence(t.Context(), "main", 3, link)
	ok(err)
	ok(s.SetCursor(t.Context(), "file:/a", "main", 2))
	return open, waiting
}

func exerciseTables(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	have, err := store.Tables(s)
	if err != nil {
		t.Fatal(err)
	}
	want := append(store.TablesOfMigrations(), "schema_version")
	slices.Sort(have)
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-as the migrations name them +as they are):\n%s", diff)
	}
}

// exerciseBackup compares every row of every table, before and after.
func exerciseBackup(t *testing.T, newDSN storetest.NewDSN) {
	between(t, newDSN, func(t *testing.T, from, to storetest.NewDSN) {
		dsn := from(t)
		s := storetest.Open(t, dsn)
		fill(t, s)
		b, m := makeBackup(t, dsn, store.BackupOptions{}) // beside the open store
		before, err := store.Rows(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range store.TablesOfMigrations() { // fill has forgotten none
			if len(before[table]) == 0 {
				t.Errorf("there is nothing in %s to be backed up", table)
			}
		}
		for _, table := range m.Tables {
			if int(table.Rows) != len(before[table.Name]) {
				t.Errorf("%s has %d rows in the manifest and %d in truth", table.Name, table.Rows, len(before[table.Name]))
			}
		}
		restored, out := restoreTo(t, to(t), b)
		if out.Manifest.MadeAt.IsZero() || out.Digest == "" || out.Schema < m.Schema {
			t.Errorf("%+v", out)
		}
		compare(t, before, restored)
		if err := restored.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn}); err != nil { // numbered behind the others
			t.Error(err)
		}

		small, m := makeBackup(t, dsn, store.BackupOptions{WithoutOutput: true})
		if strings.Contains(fmt.Sprint(m.Tables), "output") || !m.WithoutOutput {
			t.Errorf("%+v", m)
		}
		restored, _ = restoreTo(t, to(t), small)
		if after, err := store.Rows(restored); err != nil || len(after["output_chunks"])+len(after["dumps"])+len(after["dump_chunks"]) > 0 || len(after["task_details"]) != len(before["task_details"]) {
			t.Errorf("%v %v", after, err)
		}
		// A run whose output was left out is shown without it.
		run := mustRun(t, restored, restored1(t, restored))
		pieces, err := restored.Output(t.Context(), run.Tasks[0].ID, 0, 100)
		if err != nil || len(pieces) > 0 {
			t.Errorf("%v %v", pieces, err)
		}
	})
}

// compare holds every row against what it was.
func compare(t *testing.T, before map[string][]string, restored *store.Store) {
	t.Helper()
	after, err := store.Rows(restored)
	if err != nil {
		t.Fatal(err)
	}
	for table := range before {
		switch table {
		case "sessions", "login_requests", "chat_links", "chat_codes", "chat_buttons", "chat_messages", "chat_updates", "chat_turns":
			if len(after[table]) > 0 {
				t.Errorf("%s survive a restore", table)
			}
		case "runs", "audit_records": // drafts go, records come: see below
		case "tasks", "audit_heads", "join_tokens": // fenced: see exerciseFencing
			if len(after[table]) != len(before[table]) {
				t.Errorf("%s has %d rows instead of %d", table, len(after[table]), len(before[table]))
			}
		default:
			if diff := cmp.Diff(before[table], after[table]); diff != "" {
				t.Errorf("%s (-before +after):\n%s", table, diff)
			}
		}
	}
	for _, line := range before["audit_records"] {
		if !slices.Contains(after["audit_records"], line) {
			t.Errorf("a record is not there any more: %.200s", line)
		}
	}
}

func restored1(t *testing.T, s *store.Store) string {
	t.Helper()
	runs, _, err := s.Runs(t.Context(), store.RunFilter{Service: "nginx"})
	if err != nil || len(runs) != 1 {
		t.Fatalf("%v %v", runs, err)
	}
	return runs[0].ID
}

// exerciseBackupBeside takes backups while runs are made: each is one moment.
func exerciseBackupBeside(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s := storetest.Open(t, dsn)
	var writing sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		writing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				run := newRun(5)
				if _, err := s.CreateRun(t.Context(), run, "", nil, []audit.Record{{Action: audit.RunRequested, Run: run.ID}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 5 {
		_, m := makeBackup(t, dsn, store.BackupOptions{})
		rows := map[string]int64{}
		for _, table := range m.Tables {
			rows[table.Name] = table.Rows
		}
		if rows["tasks"] != 5*rows["runs"] || rows["audit_records"] != rows["runs"] {
			t.Errorf("not one moment: %v", rows)
		}
	}
	close(stop)
	writing.Wait()
}

// exerciseOldBackup restores a backup from before migrations.
func exerciseOldBackup(t *testing.T, newDSN storetest.NewDSN) {
	between(t, newDSN, func(t *testing.T, from, to storetest.NewDSN) {
		dsn := from(t)
		old := store.Certificate{Serial: "01", Host: oldHost, IssuedAt: epochStart, NotAfter: epochStart.AddDate(0, 0, 90)}
		if err := store.Before0002(t.Context(), dsn, old); err != nil {
			t.Fatal(err)
		}
		b, m := makeBackup(t, dsn, store.BackupOptions{})
		if m.Schema != 1 {
			t.Fatalf("schema %d", m.Schema)
		}
		s, out := restoreTo(t, to(t), b)
		list, err := s.DueRenewals(t.Context(), epochStart.AddDate(0, 0, 61), 10) // the second migration has seen it
		if diff := cmp.Diff([]store.Certificate{old}, list); err != nil || diff != "" || out.Schema < 3 {
			t.Errorf("schema %d, error %v (-want +got):\n%s", out.Schema, err, diff)
		}
	})
}

// exerciseDamagedBackup leaves nothing behind, wherever the damage is.
func exerciseDamagedBackup(t *testing.T, newDSN storetest.NewDSN) {
	from := newDSN(t)
	fill(t, storetest.Open(t, from))
	b, _ := makeBackup(t, from, store.BackupOptions{})
	to := newDSN(t)
	try := func(b []byte) error {
		_, err := store.Restore(t.Context(), store.Config{DSN: to}, bytes.NewReader(b), store.RestoreOptions{Server: "main", By: "anna"})
		return err
	}
	for _, cut := range []int{0, 5, 100, len(b) / 2, len(b) - 20, len(b) - 1} {
		wantCode(t, try(b[:cut]), restart.CodeInvalid)
	}
	// Foreign tables, columns and schemas.
	for _, m := range []backup.Manifest{
		{Schema: 3, Tables: []backup.Table{{Name: "sessions", Columns: []string{"hash"}}}},
		{Schema: 3, Tables: []backup.Table{{Name: "pg_authid", Columns: []string{"rolname"}}}},
		{Schema: 3, Tables: []backup.Table{{Name: "runs", Columns: []string{"nonsense"}}}},
		{Schema: 1, Tables: []backup.Table{{Name: "join_tokens", Columns: []string{"id"}}}},
		{Schema: 10_000},
	} {
		var odd bytes.Buffer
		w, err := backup.NewWriter(&odd, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range m.Tables {
			w.Table(table.Name)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		err = try(odd.Bytes())
		if code := restart.CodeOf(err); code != restart.CodeInvalid && code != restart.CodeConflict {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if err := try(b); err != nil { // the database is as empty as it was
		t.Fatal(err)
	}
	wantCode(t, try(b), restart.CodeConflict)
	if _, _, err := store.Backup(t.Context(), store.Config{DSN: newDSN(t)}, io.Discard, store.BackupOptions{}); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("backup of nothing: %v", err)
	}
}

// exerciseNotEmpty restores over nothing that is there.
func exerciseNotEmpty(t *testing.T, newDSN storetest.NewDSN) {
	from, to := newDSN(t), newDSN(t)
	fill(t, storetest.Open(t, from))
	b, _ := makeBackup(t, from, store.BackupOptions{})
	s, err := store.Open(t.Context(), store.Config{DSN: to})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	run := mustCreate(t, s, newRun(1))
	if _, err := s.Claim(t.Context(), "main/1", time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	try := func() error {
		_, err := store.Restore(t.Context(), store.Config{DSN: to}, bytes.NewReader(b), store.RestoreOptions{Server: "main", By: "anna"})
		return err
	}
	err = try()
	wantCode(t, err, restart.CodeConflict)
	if !strings.Contains(err.Error(), "a server is working") && !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("beside a server: %v", err)
	}
	if err := s.Release(t.Context(), run.ID, store.Fence{Owner: "main/1", Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err = try()
	wantCode(t, err, restart.CodeConflict)
	if !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("%v", err)
	}
}

// mustTell delivers what waits for a channel that keeps a message a run, and
// keeps a digest of it.
func mustTell(t testing.TB, s *store.Store, channel string) {
	t.Helper()
	due, err := s.DueMessages(t.Context(), []string{channel}, time.Minute, 1)
	if err != nil || len(due) != 1 {
		t.Fatalf("due: %v, %v", due, err)
	}
	due[0].Post = "p1"
	if err := s.MessageDelivered(t.Context(), due[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KeepDigest(t.Context(), channel, "2026-11-23", epochStart, nil); err != nil {
		t.Fatal(err)
	}
}
