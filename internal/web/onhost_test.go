package web

import (
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// A run that root has made on a host says so, in the list and on its page, in
// both languages; no other run does.
func TestRunMadeOnTheHost(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1)
	now := time.Now().UTC()
	run.State, run.Via, run.Actor = restart.RunCompleted, restart.ViaHost, "anna@"+run.Tasks[0].Host
	run.StartedAt, run.FinishedAt = &now, &now
	run.Tasks[0].State, run.Tasks[0].StartedAt, run.Tasks[0].FinishedAt = restart.TaskSucceeded, &now, &now
	if taken, err := f.store.ImportRun(t.Context(), store.Import{Run: run, At: now}); err != nil || !taken {
		t.Fatal(taken, err)
	}
	for accept, words := range map[string][2]string{
		"en": {"made on the host", "Root began this on the host itself"},
		"ru": {"сделан на хосте", "Это начал root на самом хосте"},
	} {
		list := f.do("GET", "/runs", "", "Cookie", cookie, "Accept-Language", accept)
		wants(t, list.body, run.ID, words[0], "anna@web1.nginx.example.com")
		page := f.do("GET", "/runs/"+run.ID, "", "Cookie", cookie, "Accept-Language", accept)
		wants(t, page.body, words[0], "anna@web1.nginx.example.com", words[1])
	}
	other := f.create(f.newRun("shop", 1))
	lacks(t, f.do("GET", "/runs/"+other.ID, "", "Cookie", cookie).body, "made on the host")
}

// A rehearsal says so, in the list and on its page, in both languages.
func TestRehearsalSaysSo(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1)
	run.Work = restart.WorkRehearse
	run = f.create(run)
	for accept, words := range map[string][2]string{"en": {"rehearsal", "no script is run"}, "ru": {"репетиция", "скрипты не выполняются"}} {
		wants(t, f.do("GET", "/runs", "", "Cookie", cookie, "Accept-Language", accept).body, run.ID, words[0])
		wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", cookie, "Accept-Language", accept).body, words[1])
	}
	other := f.create(f.newRun("shop", 1))
	lacks(t, f.do("GET", "/runs/"+other.ID, "", "Cookie", cookie).body, "no script is run")
}
