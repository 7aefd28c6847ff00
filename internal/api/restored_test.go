package api_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// A run is backed up half-way, goes on, and the future is lost. Who aborts what
// is restored and retries it is told at both that hosts may have been touched.
func TestARetryOfWhatWasRestoredWarns(t *testing.T) {
	from, to := storetest.SQLite(t), storetest.SQLite(t)
	lost := apitest.StartOn(t, storetest.Open(t, from), nil)
	v := &verbs{Server: lost, t: t, anna: lost.Token("anna", developer)}
	v.Agents.Set("web1", apitest.Fails)
	run := start(t, lost, v.anna, draft(t, lost, v.anna, "").ID)
	v.untilState(run.ID, restart.RunPaused)
	var b bytes.Buffer
	made, _, err := store.Backup(t.Context(), store.Config{DSN: from}, &b, store.BackupOptions{Server: "main", Program: "0.0.0-test"})
	if err != nil {
		t.Fatal(err)
	}
	if p := decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200); p.Restored() {
		t.Error("taken for restored")
	}
	over := v.untilState(run.ID, restart.RunAborted)
	again := decode[restart.Run](t, v.ask(v.anna, run.ID, "retry", roomAgain), 201)
	if strings.Contains(over.Explanation+strings.Join(again.Plan.Warnings, "\n"), "restored") {
		t.Errorf("before any restore: %s, %q", over.Explanation, again.Plan.Warnings)
	}
	if _, err := store.Restore(t.Context(), store.Config{DSN: to}, &b, store.RestoreOptions{Server: "main", By: "root"}); err != nil {
		t.Fatal(err)
	}
	v.Server = apitest.StartOn(t, storetest.Open(t, to), nil)
	decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
	over = v.untilState(run.ID, restart.RunAborted)
	if !strings.Contains(over.Explanation, "restored from a backup") || !strings.Contains(over.Explanation, "look at them before a retry") {
		t.Errorf("aborted: %s", over.Explanation)
	}
	again = decode[restart.Run](t, v.ask(v.anna, run.ID, "retry", roomAgain), 201)
	if want := "restored from a backup of " + made.MadeAt.UTC().Format("2006-01-02 15:04:05 UTC"); !strings.Contains(strings.Join(again.Plan.Warnings, "\n"), want) {
		t.Errorf("the plan warns %q, not of a run %s", again.Plan.Warnings, want)
	}
}
