package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func linkedRecord(l store.ChatLink) audit.Record {
	return audit.Record{Action: audit.ChatLinked, Actor: l.Owner}
}

// chatCode stores a code of somebody that is good for a minute.
func chatCode(t *testing.T, s *store.Store, owner, hash string, life time.Duration) {
	t.Helper()
	err := s.CreateChatCode(t.Context(), store.ChatCode{Hash: hash, Owner: owner, Roles: []restart.Role{restart.RoleDeveloper}, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(life)}, audit.Record{Action: audit.ChatCodeMade})
	if err != nil {
		t.Fatal(err)
	}
}

func account(chat, person string) store.ChatLink {
	return store.ChatLink{ID: newID(), Chat: chat, Person: person, Name: "an account", CreatedAt: epochStart}
}

// fillChat puts something into every table of chats.
func fillChat(t *testing.T, s *store.Store, run string) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	chatCode(t, s, "anna", "code", time.Minute)
	_, err := s.UseChatCode(t.Context(), "code", account("telegram", "12345"), linkedRecord)
	ok(err)
	chatCode(t, s, "anna", "another code", time.Minute)
	ok(s.PutChatButtons(t.Context(), "telegram", "12345", "7", []store.ChatButton{{Hash: "button", Run: run, Act: "pause", ExpiresAt: time.Now().Add(time.Minute)}}))
	ok(s.FollowInChat(t.Context(), store.ChatMessage{Chat: "telegram", Place: "12345", Message: "7", Run: run, Person: "12345"}))
	_, err = s.NewInChat(t.Context(), "telegram", "1")
	ok(err)
	_, err = s.TakeChatTurn(t.Context(), "telegram", "main/1", time.Minute)
	ok(err)
}

func exerciseChatLinks(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	use := func(code string, l store.ChatLink) (store.ChatLink, error) {
		return s.UseChatCode(t.Context(), code, l, linkedRecord)
	}
	chatCode(t, s, "anna", "old", time.Minute)
	chatCode(t, s, "anna", "late", -time.Second)
	for _, code := range []string{"old", "late", "never"} {
		_, err := use(code, account("telegram", "1"))
		wantCode(t, err, restart.CodeNotFound)
	}
	chatCode(t, s, "anna", "one", time.Minute)
	want := account("telegram", "1")
	got, err := use("one", want)
	want.Owner, want.Roles = "anna", []restart.Role{restart.RoleDeveloper}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("error %v (-want +got):\n%s", err, diff)
	}
	_, err = use("one", account("telegram", "2")) // it was good for one
	wantCode(t, err, restart.CodeNotFound)
	chatCode(t, s, "boris", "his", time.Minute)
	_, err = use("his", account("telegram", "1")) // an account is one person's
	wantCode(t, err, restart.CodeConflict)
	if _, err := use("his", account("slack", "1")); err != nil { // and the code is not lost for it
		t.Fatal(err)
	}
	stored, err := s.ChatLinkOf(t.Context(), "telegram", "1")
	if diff := cmp.Diff(want, stored); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	_, err = s.ChatLinkOf(t.Context(), "slack", "2")
	wantCode(t, err, restart.CodeNotFound)
	if n := countRecords(t, s, audit.ChatLinked); n != 2 {
		t.Errorf("%d records of links", n)
	}

	chatCode(t, s, "anna", "shown", time.Minute)
	for _, want := range []string{"anna", ""} {
		owner, err := s.VoidChatCode(t.Context(), "shown", func(owner string) audit.Record { return audit.Record{Action: audit.ChatCodeVoided, Actor: owner} })
		if err != nil || owner != want {
			t.Errorf("voided %q instead of %q: %v", owner, want, err)
		}
	}
	_, err = use("shown", account("telegram", "3"))
	wantCode(t, err, restart.CodeNotFound)
	if n := countRecords(t, s, audit.ChatCodeVoided); n != 1 {
		t.Errorf("%d records", n)
	}

	for i := range 9 {
		chatCode(t, s, "anna", "more", time.Minute)
		if _, err := use("more", account("mattermost", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	chatCode(t, s, "anna", "more", time.Minute)
	_, err = use("more", account("mattermost", "9"))
	wantCode(t, err, restart.CodeConflict)

	for range 2 {
		if err := s.DropChatLink(t.Context(), want.ID, audit.Record{Action: audit.ChatUnlinked}); err != nil {
			t.Fatal(err)
		}
	}
	if n := countRecords(t, s, audit.ChatUnlinked); n != 1 {
		t.Errorf("%d records", n)
	}
	list, err := s.ChatLinks(t.Context(), "anna")
	if err != nil || len(list) != 9 {
		t.Errorf("%d links, %v", len(list), err)
	}

	// Who signs in by another method from now on may be another person.
	if err := s.CreateUser(t.Context(), store.User{Name: "boris", Method: "local", CreatedAt: epochStart}); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangeUser(t.Context(), "boris", store.UserChange{Roles: &[]restart.Role{restart.RoleDeveloper}}); err != nil {
		t.Fatal(err)
	}
	if list, err := s.ChatLinks(t.Context(), "boris"); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	if err := s.ChangeUser(t.Context(), "boris", store.UserChange{Method: new("ldap"), Records: []audit.Record{{Action: audit.UserChanged, Actor: "root"}}}); err != nil {
		t.Fatal(err)
	}
	if list, err := s.ChatLinks(t.Context(), "boris"); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	if n := countRecords(t, s, audit.ChatUnlinked); n != 2 {
		t.Errorf("%d records", n)
	}
}

func exerciseChatButtons(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := newID()
	put := func(message string, buttons ...store.ChatButton) {
		t.Helper()
		for i := range buttons {
			buttons[i].Run, buttons[i].Act = run, "start"
			if buttons[i].ExpiresAt.IsZero() {
				buttons[i].ExpiresAt = time.Now().Add(time.Minute)
			}
		}
		if err := s.PutChatButtons(t.Context(), "slack", "C1", message, buttons); err != nil {
			t.Fatal(err)
		}
	}
	press := func(hash string, change ...func(*store.ChatPress)) (store.ChatButton, store.Pressed) {
		t.Helper()
		p := store.ChatPress{Hash: hash, Chat: "slack", Place: "C1", Message: "7", Person: "U1"}
		for _, c := range change {
			c(&p)
		}
		b, how, err := s.PressChatButton(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return b, how
	}
	put("", store.ChatButton{Hash: "a", Person: "U1", Once: true, Seen: 3, Note: "looked at it"}, store.ChatButton{Hash: "late", Person: "U1", Once: true, ExpiresAt: time.Now().Add(-time.Second)})
	if _, how := press("a"); how != store.PressUnsent {
		t.Errorf("before it is sent: %s", how)
	}
	if err := s.BindChatButtons(t.Context(), "7", []string{"a", "late"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		hash   string
		change func(*store.ChatPress)
		want   store.Pressed
	}{
		"nobody's":        {"b", func(*store.ChatPress) {}, store.PressUnknown},
		"another person":  {"a", func(p *store.ChatPress) { p.Person = "U2" }, store.PressOther},
		"another message": {"a", func(p *store.ChatPress) { p.Message = "8" }, store.PressMoved},
		"another place":   {"a", func(p *store.ChatPress) { p.Place = "C2" }, store.PressMoved},
		"another chat":    {"a", func(p *store.ChatPress) { p.Chat = "telegram" }, store.PressMoved},
		"late":            {"late", func(*store.ChatPress) {}, store.PressLate},
	} {
		if _, how := press(c.hash, c.change); how != c.want {
			t.Errorf("%s: %s instead of %s", name, how, c.want)
		}
	}
	var good atomic.Int32
	var pressing sync.WaitGroup
	for range 8 {
		pressing.Go(func() {
			b, how, err := s.PressChatButton(t.Context(), store.ChatPress{Hash: "a", Chat: "slack", Place: "C1", Message: "7", Person: "U1"})
			switch {
			case err != nil:
				t.Error(err)
			case how == store.PressGood:
				good.Add(1)
				if b.Run != run || b.Act != "start" || b.Seen != 3 || b.Note != "looked at it" || !b.Once {
					t.Errorf("%+v", b)
				}
			case how != store.PressAgain:
				t.Errorf("pressed at once: %s", how)
			}
		})
	}
	pressing.Wait()
	if good.Load() != 1 {
		t.Errorf("%d presses of one button are good", good.Load())
	}

	// Other buttons of the same message take the place of those that are left.
	put("7", store.ChatButton{Hash: "c"}, store.ChatButton{Hash: "d"})
	if _, how := press("late"); how != store.PressUnknown {
		t.Errorf("replaced: %s", how)
	}
	if _, how := press("a"); how != store.PressAgain {
		t.Errorf("used up: %s", how)
	}
	for range 2 { // they are for anybody, more than once
		if _, how := press("c", func(p *store.ChatPress) { p.Person = "U2" }); how != store.PressGood {
			t.Errorf("shared: %s", how)
		}
	}
	// Some are good beside them, until the message has one row of them.
	later := store.ChatButton{Hash: "e", Run: run, Act: "abort", ExpiresAt: time.Now().Add(time.Minute)}
	if err := s.AddChatButtons(t.Context(), "slack", "C1", "7", []store.ChatButton{later}); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{"c", "d", "e"} {
		if _, how := press(hash); how != store.PressGood {
			t.Errorf("beside others: %s is %s", hash, how)
		}
	}
	put("7", store.ChatButton{Hash: "e"}, store.ChatButton{Hash: "d"})
	for hash, want := range map[string]store.Pressed{"c": store.PressUnknown, "d": store.PressGood, "e": store.PressGood} {
		if _, how := press(hash); how != want {
			t.Errorf("of those that were kept: %s is %s", hash, how)
		}
	}
	m := store.ChatMessage{Chat: "slack", Place: "C1", Message: "7", Private: true, Run: run, Person: "U1"}
	for range 2 {
		if err := s.FollowInChat(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.ChatMessages(t.Context(), "slack")
	if diff := cmp.Diff([]store.ChatMessage{m}, list); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if err := s.EndChatMessage(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	list, err = s.ChatMessages(t.Context(), "slack")
	if _, how := press("d"); err != nil || len(list) != 0 || how != store.PressUnknown {
		t.Errorf("%v %v %s", list, err, how)
	}

	// Of one person the newest ones follow runs.
	put("70", store.ChatButton{Hash: "first"})
	m.Private = false
	for i := range 13 {
		m.Message = fmt.Sprint(70 + i) // of one width: those of one moment go by it
		if err := s.FollowInChat(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	m.Person, m.Message = "U2", "100"
	if err := s.FollowInChat(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	list, err = s.ChatMessages(t.Context(), "slack")
	if err != nil || len(list) != 11 || list[0].Message != "73" {
		t.Errorf("%d follow, the first of them %+v: %v", len(list), list[0], err)
	}
	if _, how := press("first"); how != store.PressUnknown {
		t.Errorf("a button of one that follows no more: %s", how)
	}
}

func exerciseChatTurns(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	take := func(owner string, ttl time.Duration) bool {
		t.Helper()
		taken, err := s.TakeChatTurn(t.Context(), "telegram", owner, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	for range 2 { // to ask again keeps it
		if !take("a", time.Minute) {
			t.Error("a does not get the turn")
		}
	}
	if take("b", time.Minute) {
		t.Error("two have the turn")
	}
	if taken, err := s.TakeChatTurn(t.Context(), "slack", "b", time.Minute); err != nil || !taken {
		t.Errorf("another chat: %v %v", taken, err)
	}
	if err := s.GiveChatTurn(t.Context(), "telegram", "b"); err != nil || take("b", time.Minute) {
		t.Errorf("given back by somebody else: %v", err)
	}
	if err := s.GiveChatTurn(t.Context(), "telegram", "a"); err != nil || !take("b", -time.Second) || !take("a", time.Minute) {
		t.Errorf("after it was given back, and after it was over: %v", err)
	}
	var fresh atomic.Int32
	var sending sync.WaitGroup
	for range 8 {
		sending.Go(func() {
			is, err := s.NewInChat(t.Context(), "telegram", "700001")
			if err != nil {
				t.Error(err)
			}
			if is {
				fresh.Add(1)
			}
		})
	}
	sending.Wait()
	if fresh.Load() != 1 {
		t.Errorf("one update is new %d times", fresh.Load())
	}
	if is, err := s.NewInChat(t.Context(), "slack", "700001"); err != nil || !is {
		t.Errorf("of another chat: %v %v", is, err)
	}
}
