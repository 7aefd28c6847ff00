package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// monday is when a digest is due: 09:00 in Berlin, in winter.
var monday = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// happened makes a run that ended before monday.
func (b *bench) happened(service string, kind restart.Kind, before time.Duration, end restart.RunState, reason string) {
	b.t.Helper()
	at := monday.Add(-before)
	run := restart.Run{
		ID: restart.NewID(at), Service: service, Environment: "production", Kind: kind, Actor: "anna", Reason: reason, State: restart.RunQueued, CreatedAt: at, Tasks: []restart.Task{},
	}
	_, err := b.store.CreateRun(b.t.Context(), run, "", nil, nil)
	b.must(err)
	for _, c := range []store.Change{
		{RunID: run.ID, At: at, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true}}, {RunID: run.ID, At: at.Add(time.Minute), Run: &store.RunChange{To: end, SetFinished: true}},
	} {
		_, err := b.store.Apply(b.t.Context(), c)
		b.must(err)
	}
}

// digester makes digests by the clock that now gives.
func (b *bench) digester(to notify.Receivers, now func() time.Time, away bool) *notify.Digester {
	owners := map[string][]string{"shop": {"anna", "team:web"}, "nginx": {"team:web"}, "cron": {"boris"}}
	return notify.NewDigester(notify.DigestConfig{
		Weeks: b.store, Receivers: to, URL: "https://restartilka.example.com", Now: now,
		Owners: func(_ context.Context, service string) ([]string, error) {
			if away {
				return nil, errors.New("the inventory does not answer")
			}
			return owners[service], nil
		},
	})
}

func (b *bench) lately() {
	const day = 24 * time.Hour
	b.happened("shop", restart.KindRestart, 9*day, restart.RunCompleted, "too long ago to be told")
	b.happened("shop", restart.KindRestart, 50*time.Hour, restart.RunCompleted, "502s since the 14:00 deploy")
	b.happened("shop", restart.KindRestart, 40*time.Hour, restart.RunCompleted, "502s since the 15:30 deploy")
	b.happened("nginx", restart.KindRestart, 3*day, restart.RunFailed, "certificates were <b>renewed</b>")
	b.happened("cron", restart.KindRestart, day, restart.RunAborted, "the queue is stuck")
	b.happened("shop", restart.KindThreadDump, day, restart.RunCompleted, "look at its threads")
	b.happened("shop", restart.KindRestart, -time.Hour, restart.RunCompleted, "after the end of the week")
}

var digests = notify.Choice{Events: []string{wire.EventDigest}}

// Each receiver has its own, of what it is told of: owners by mail each his.
func TestDigest(t *testing.T) {
	t.Parallel()
	b, all, web, o := newBench(t), slackRoom(t), telegramRoom(t), newOffice(t, false)
	b.lately()
	settings := o.mail(func(m *notify.Mail) { m.Choice, m.To, m.Owners = digests, nil, true })
	settings.Slack = all.set("edit", digests).Slack
	choice := digests
	choice.Teams, choice.Language = []string{"team:web"}, "ru"
	settings.Telegram = web.set("edit", choice).Telegram
	settings.Zone = "Europe/Berlin"
	to, err := settings.Open()
	b.must(err)
	if err := b.digester(to, func() time.Time { return monday }, true).Look(t.Context()); err == nil || b.waiting() > 0 {
		t.Errorf("without the inventory: %v, %d messages", err, b.waiting())
	}
	b.must(b.digester(to, func() time.Time { return monday.Add(time.Minute) }, false).Look(t.Context()))
	b.send(to, nil)
	b.until("all digests", func() bool { return b.waiting() == 0 })

	got := all.read()
	if len(got) != 1 {
		t.Fatalf("messages: %+v", got)
	}
	for _, want := range []string{
		"Restarts of the week 2026-11-16 – 2026-11-23", "4 runs, 2 of them failed or aborted", "shop, production: runs 2, failed 0, did not help 1", "cron, production: runs 1, failed 1, did not help 0",
		"shop, 2026-11-21, anna: 502s since the 14:00 deploy", "shop, 2 times: 502s since the 15:30 deploy",
	} {
		if !strings.Contains(got[0].text, want) {
			t.Errorf("no %q in\n%s", want, got[0].text)
		}
	}
	if text := web.read()[0].text; strings.Contains(text, "cron") || !strings.Contains(text, "запусков: 3, из них с ошибкой или прерваны: 1") || !strings.Contains(text, "Не помогли: перезапущены снова в течение суток") {
		t.Errorf("the team's is\n%s", text)
	}
	letters := o.letters() // boris has no address
	slices.SortFunc(letters, func(a, b letter) int { return strings.Compare(a.subject, b.subject) })
	if len(letters) != 2 || !strings.HasSuffix(letters[0].subject, "services of anna: 2 runs, 0 of them failed or aborted") || !slices.Equal(letters[1].to, []string{"OPS@example.com"}) || !strings.Contains(letters[1].html, "&lt;b&gt;renewed") && !strings.Contains(letters[1].text, "nginx") {
		t.Errorf("mails: %+v", letters)
	}
}

// Of several servers one makes it, once, whenever they look.
func TestOneDigestAWeek(t *testing.T) {
	t.Parallel()
	b, h := newBench(t), newHook(t, false)
	b.lately()
	settings := h.settings()
	settings.Webhooks[0].Choice, settings.Zone = digests, "Europe/Berlin"
	settings.Digest = notify.DigestSettings{Weekday: "Monday", At: "09:00"}
	to, err := settings.Open()
	b.must(err)
	b.send(to, nil)
	looks := func(at time.Time) int {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := b.digester(to, func() time.Time { return at }, false).Look(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		b.until("all digests", func() bool { return b.waiting() == 0 })
		return len(h.seen())
	}
	for _, c := range []struct {
		at   time.Duration
		want int
	}{
		{-time.Second, 0}, // last week's is too late
		{0, 1}, {time.Hour, 1}, {23 * time.Hour, 1}, {30 * time.Hour, 1},
		{7*24*time.Hour - time.Second, 1}, {7*24*time.Hour + 23*time.Hour, 2}, // no server ran until then
		{16 * 24 * time.Hour, 2}, // nor here: it is too late
	} {
		if got := looks(monday.Add(c.at)); got != c.want {
			t.Fatalf("%s after it was due: %d, want %d", c.at, got, c.want)
		}
	}
	var n wire.Notification
	b.must(json.Unmarshal([]byte(h.seen()[0].body), &n))
	if n.Week == nil || n.Week.Runs != 4 || len(n.Week.Again) != 1 || n.Week.Again[0].URL != "https://restartilka.example.com/runs/"+n.Week.Again[0].Run || n.Event != wire.EventDigest {
		t.Errorf("the first is %+v", n)
	}
	b.must(json.Unmarshal([]byte(h.seen()[1].body), &n))
	if n.Week.Runs != 1 {
		t.Errorf("the second is %+v", n)
	}
}
