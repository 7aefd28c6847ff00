package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
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

func exerciseUsers(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	anna := store.User{Name: "anna", Method: "local", Roles: []restart.Role{restart.RoleAdmin}, Password: "$argon2id$1", PasswordAt: epochStart, CreatedAt: epochStart}
	ok(s.CreateUser(t.Context(), anna, audit.Record{Action: audit.UserCreated, Actor: "root"}))
	wantCode(t, s.CreateUser(t.Context(), anna, audit.Record{Action: audit.UserCreated}), restart.CodeConflict)
	vera := store.User{Name: "vera", Method: "ldap", Subject: "uid=vera", Groups: []string{"web"}, GroupsAt: epochStart, CreatedAt: epochStart, Mail: "vera@example.com", Display: "Vera"}
	for range 2 {
		ok(s.AdmitUser(t.Context(), vera, audit.Record{Action: audit.UserCreated, Actor: "vera"}))
	}
	if n := countRecords(t, s, audit.UserCreated); n != 2 {
		t.Fatalf("%d users are recorded", n)
	}
	vera.Groups, vera.GroupsAt = []string{"db", "web"}, epochStart.Add(time.Hour)
	ok(s.AdmitUser(t.Context(), vera))
	if got, err := s.User(t.Context(), "vera"); err != nil || !cmp.Equal(got, vera) {
		t.Fatalf("%v: %s", err, cmp.Diff(vera, got))
	}
	other := vera
	other.Method = "oidc"
	wantCode(t, s.AdmitUser(t.Context(), other), restart.CodeConflict)
	_, err := s.User(t.Context(), "nobody")
	wantCode(t, err, restart.CodeNotFound)
	if page, err := s.Users(t.Context(), "", "", 1); err != nil || len(page) != 1 || page[0].Name != "anna" {
		t.Fatalf("%+v, %v", page, err)
	}
	if page, err := s.Users(t.Context(), "", "anna", 10); err != nil || len(page) != 1 || page[0].Name != "vera" {
		t.Fatalf("%+v, %v", page, err)
	}

	for text, names := range map[string][]string{"VER": {"vera"}, "@example": {"vera"}, "a": {"anna", "vera"}, "%": nil, "_": nil, "a%": nil, "!": nil, "'": nil} {
		got := []string(nil)
		list, err := s.Users(t.Context(), text, "", 10)
		ok(err)
		for _, u := range list {
			got = append(got, u.Name)
		}
		if !slices.Equal(got, names) {
			t.Errorf("%q finds %v", text, got)
		}
	}

	open := func(ids ...string) {
		for _, id := range ids {
			ok(s.CreateSession(t.Context(), store.Session{ID: id, Hash: "h" + id, Owner: "anna", CreatedAt: time.Now(), LastSeenAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
		}
	}
	alive := func() (ids []string) {
		list, err := s.Sessions(t.Context(), store.SessionFilter{Owner: "anna", Idle: time.Hour, Limit: 100})
		ok(err)
		for _, x := range list {
			ids = append(ids, x.ID)
		}
		slices.Sort(ids)
		return ids
	}
	open("a", "b", "c")
	var paged []string
	for f := (store.SessionFilter{Owner: "anna", Idle: time.Hour, Limit: 2}); ; {
		list, err := s.Sessions(t.Context(), f)
		ok(err)
		if len(list) == 0 {
			break
		}
		for _, x := range list {
			paged = append(paged, x.ID)
		}
		f.Before, f.BeforeID = list[len(list)-1].CreatedAt, list[len(list)-1].ID
	}
	if !slices.Equal(paged, []string{"c", "b", "a"}) {
		t.Errorf("page by page: %v", paged)
	}
	if got, err := s.SessionsOpen(t.Context(), []string{"a", "z", "c"}); err != nil || !maps.Equal(got, map[string]bool{"a": true, "c": true}) {
		t.Errorf("open: %v, %v", got, err)
	}
	roles, password, yes, no := []restart.Role{restart.RoleViewer}, "$argon2id$2", true, false
	ok(s.ChangeUser(t.Context(), "anna", store.UserChange{Roles: &roles, Records: []audit.Record{{Action: audit.UserChanged}}}))
	if got := alive(); len(got) != 3 {
		t.Errorf("roles end no sessions: %v", got)
	}
	ok(s.ChangeUser(t.Context(), "anna", store.UserChange{Password: &password, Keep: "b", Records: []audit.Record{{Action: audit.PasswordChanged}}}))
	if got := alive(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after a new password: %v", got)
	}
	ok(s.ChangeUser(t.Context(), "anna", store.UserChange{Disabled: &yes, Records: []audit.Record{{Action: audit.UserDisabled}}}))
	got, err := s.User(t.Context(), "anna")
	ok(err)
	if !got.Disabled() || got.Password != password || !cmp.Equal(got.Roles, roles) || !got.PasswordAt.After(epochStart) || len(alive()) != 0 {
		t.Errorf("%+v, sessions %v", got, alive())
	}
	ok(s.ChangeUser(t.Context(), "anna", store.UserChange{Disabled: &no}))
	wantCode(t, s.ChangeUser(t.Context(), "nobody", store.UserChange{Disabled: &no, Records: []audit.Record{{Action: audit.UserEnabled}}}), restart.CodeNotFound)
	if n := countRecords(t, s, audit.UserDisabled) + countRecords(t, s, audit.PasswordChanged) + countRecords(t, s, audit.UserChanged); n != 3 || countRecords(t, s, audit.UserEnabled) != 0 {
		t.Errorf("%d records", n)
	}
	// A new method ends what the old one's person is known by without a sign-in,
	// and nobody else's; each is on record in the name of who changed it.
	for _, owner := range []string{"anna", "boris"} {
		ok(s.AddKey(t.Context(), store.Key{ID: "key-" + owner, Owner: owner, Name: "laptop", Fingerprint: "SHA256:" + owner, CreatedAt: epochStart}))
		ok(s.SetCalendarToken(t.Context(), store.CalendarToken{Owner: owner, Hash: "calendar-" + owner, CreatedAt: epochStart}))
	}
	ok(s.ChangeUser(t.Context(), "anna", store.UserChange{Roles: &roles}))
	_, err = s.KeyByID(t.Context(), "key-anna")
	ok(err)
	_, err = s.CalendarTokenByHash(t.Context(), "calendar-anna")
	ok(err)
	ok(s.ChangeUser(t.Context(), "anna", store.UserChange{Method: new("ldap"), Records: []audit.Record{{Action: audit.UserEnabled, Actor: "root"}}}))
	_, err = s.KeyByID(t.Context(), "key-anna")
	wantCode(t, err, restart.CodeNotFound)
	_, err = s.CalendarTokenByHash(t.Context(), "calendar-anna")
	wantCode(t, err, restart.CodeNotFound)
	_, err = s.KeyByID(t.Context(), "key-boris")
	ok(err)
	_, err = s.CalendarTokenByHash(t.Context(), "calendar-boris")
	ok(err)
	for action, detail := range map[audit.Action]string{audit.KeyRemoved: "SHA256:anna laptop of anna", audit.CalendarTokenRevoked: "of anna"} {
		if found, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: action}); err != nil || len(found) != 1 || found[0].Actor != "root" || found[0].Detail != detail {
			t.Errorf("%s: %+v %v", action, found, err)
		}
	}
	wantCode(t, s.RevokeSession(t.Context(), "a", audit.Record{Action: audit.SessionRevoked}), restart.CodeNotFound)
	open("e", "f", "g")
	if n, err := s.RevokeSessions(t.Context(), "anna", "f", audit.Record{Action: audit.SessionRevoked}); err != nil || n != 2 || !slices.Equal(alive(), []string{"f"}) {
		t.Errorf("%d, %v, left: %v", n, err, alive())
	}
	for range 2 { // the second finds none, and was asked for all the same
		_, err = s.RevokeSessions(t.Context(), "anna", "", audit.Record{Action: audit.SessionRevoked})
		ok(err)
	}
	if n := countRecords(t, s, audit.SessionRevoked); n != 3 {
		t.Errorf("%d records", n)
	}
	open("d")
	ok(s.RevokeSession(t.Context(), "d", audit.Record{Action: audit.SessionRevoked}))
	if len(alive()) != 0 || countRecords(t, s, audit.SessionRevoked) != 4 {
		t.Errorf("%v", alive())
	}
	for i := range 60 { // however often somebody signs in
		open("n" + strconv.Itoa(i))
	}
	if got := alive(); len(got) != 50 || !slices.Contains(got, "n59") {
		t.Errorf("%d sessions: %v", len(got), got)
	}
	scoped := store.Token{ID: "t1", Owner: "anna", Scope: &restart.Scope{Services: []string{"shop-*"}}, Hash: "hash1", CreatedAt: epochStart}
	ok(s.CreateToken(t.Context(), scoped))
	if got, err := s.TokenByID(t.Context(), "t1"); err != nil || !cmp.Equal(got.Scope, scoped.Scope) {
		t.Errorf("%+v, %v", got.Scope, err)
	}
}

// exerciseLastAdmin: whatever two admins do to each other at once, one is left.
func exerciseLastAdmin(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	isAdmin := func(u store.User) bool { return slices.Contains(u.Roles, restart.RoleAdmin) }
	yes, no := true, false
	for _, name := range []string{"anna", "boris", "vera"} {
		u := store.User{Name: name, Method: "local", Roles: []restart.Role{restart.RoleAdmin}, CreatedAt: epochStart}
		if name == "vera" {
			u.Roles = nil
		}
		if err := s.CreateUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 10 {
		var left atomic.Int32
		var both sync.WaitGroup
		for _, name := range []string{"anna", "boris"} {
			both.Go(func() {
				change := store.UserChange{Disabled: &yes, Admin: isAdmin, Records: []audit.Record{{Action: audit.UserDisabled}}}
				if round%2 == 1 {
					change.Disabled, change.Roles = nil, &[]restart.Role{restart.RoleViewer}
				}
				switch err := s.ChangeUser(t.Context(), name, change); {
				case restart.CodeOf(err) == restart.CodeConflict:
					left.Add(1)
				case err != nil:
					t.Error(err)
				}
			})
		}
		both.Wait()
		if left.Load() != 1 {
			t.Fatalf("round %d: %d were refused", round, left.Load())
		}
		for _, name := range []string{"anna", "boris"} {
			if err := s.ChangeUser(t.Context(), name, store.UserChange{Disabled: &no, Roles: &[]restart.Role{restart.RoleAdmin}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := countRecords(t, s, audit.UserDisabled); n != 10 {
		t.Errorf("%d changes are recorded", n)
	}
	if err := s.ChangeUser(t.Context(), "vera", store.UserChange{Disabled: &yes, Admin: isAdmin}); err != nil { // no admin
		t.Error(err)
	}
}

func exerciseLogins(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ctx := t.Context()
	create := func(name, address string, life time.Duration) error {
		return s.CreateLogin(ctx, store.LoginRequest{Hash: "s" + name, CodeHash: "c" + name, Address: address, Client: "laptop", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(life)})
	}
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	mint := func(id string) func(store.LoginRequest) (store.Token, audit.Record) {
		return func(r store.LoginRequest) (store.Token, audit.Record) {
			return store.Token{ID: id, Owner: r.ConfirmedBy, Roles: r.Roles, Hash: "hash" + id, CreatedAt: time.Now(), ExpiresAt: r.TokenEnds}, audit.Record{Action: audit.TokenCreated, Actor: r.ConfirmedBy}
		}
	}
	for i, life := range []time.Duration{time.Hour, time.Hour, -time.Second} {
		if err := create(strconv.Itoa(i), "192.0.2.1", life); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.LoginByCode(ctx, "c2")
	wantCode(t, err, restart.CodeNotFound) // over
	_, _, err = s.ClaimLogin(ctx, "s2", mint("x"))
	wantCode(t, err, restart.CodeNotFound)
	_, _, err = s.ClaimLogin(ctx, "c0", mint("x")) // the code is not the secret
	wantCode(t, err, restart.CodeNotFound)
	if _, done, err := s.ClaimLogin(ctx, "s0", mint("x")); done || err != nil {
		t.Fatalf("before anybody has answered: %t, %v", done, err)
	}
	if r, err := s.LoginByCode(ctx, "c0"); err != nil || r.Client != "laptop" || r.Address != "192.0.2.1" {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := s.AnswerLogin(ctx, "c0", "anna", []restart.Role{restart.RoleDeveloper}, ends, audit.Record{Action: audit.LoginConfirmed}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.AnswerLogin(ctx, "c0", "boris", nil, ends, audit.Record{Action: audit.LoginConfirmed}), restart.CodeNotFound) // once
	_, err = s.LoginByCode(ctx, "c0")
	wantCode(t, err, restart.CodeNotFound)

	var tokens atomic.Int64
	var claiming sync.WaitGroup
	for i := range 8 { // one of them gets it
		claiming.Go(func() {
			if token, done, err := s.ClaimLogin(ctx, "s0", mint("t"+strconv.Itoa(i))); err == nil && done {
				tokens.Add(1)
				if token.Owner != "anna" || !token.ExpiresAt.Equal(ends) || !slices.Equal(token.Roles, []restart.Role{restart.RoleDeveloper}) {
					t.Errorf("%+v", token)
				}
			} else if restart.CodeOf(err) != restart.CodeNotFound {
				t.Errorf("%t, %v", done, err)
			}
		})
	}
	claiming.Wait()
	if n := tokens.Load(); n != 1 || countRecords(t, s, audit.TokenCreated) != 1 || countRecords(t, s, audit.LoginConfirmed) != 1 {
		t.Errorf("claimed %d times", n)
	}
	if err := s.AnswerLogin(ctx, "c1", "", nil, time.Time{}, audit.Record{Action: audit.LoginRefused}); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.ClaimLogin(ctx, "s1", mint("x"))
	wantCode(t, err, restart.CodeForbidden)

	for i := range 20 {
		if err := create("f"+strconv.Itoa(i), "192.0.2.66", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, create("one more", "192.0.2.66", time.Hour), restart.CodeTooMany)
	if err := create("elsewhere", "192.0.2.67", time.Hour); err != nil {
		t.Error(err)
	}
	for i := range 20 { // an IPv6 network of 64 bits is one machine's
		if err := create("v6 "+strconv.Itoa(i), "2001:db8:0:1::"+strconv.Itoa(i), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, create("one more of v6", "2001:db8:0:1:ffff::1", time.Hour), restart.CodeTooMany)
	if err := create("next network", "2001:db8:0:2::1", time.Hour); err != nil {
		t.Error(err)
	}
}

// Whoever opens logins from many addresses keeps nobody out: the oldest that
// nobody has confirmed makes room.
func exerciseManyLogins(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ctx := t.Context()
	now := time.Now()
	rows := make([]string, 0, 1000)
	for i := range 1000 {
		by := ""
		if i == 0 {
			by = "anna"
		}
		rows = append(rows, fmt.Sprintf("('s%d', 'c%d', '198.51.%d.%d', 'flood', %d, %d, '%s', '[]', 0, 0)", i, i, i/250, i%250, now.Add(time.Duration(i)*time.Millisecond).UnixMicro(), now.Add(time.Hour).UnixMicro(), by))
	}
	if err := store.Do(s, "INSERT INTO login_requests (hash, code_hash, address, client, created_at, expires_at, confirmed_by, roles, refused_at, token_ends) VALUES "+strings.Join(rows, ", ")); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateLogin(ctx, store.LoginRequest{Hash: "mine", CodeHash: "my code", Address: "192.0.2.1", Client: "laptop", CreatedAt: now.Add(time.Minute), ExpiresAt: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for code, there := range map[string]bool{"my code": true, "c1": false, "c2": true, "c999": true} {
		if _, err := s.LoginByCode(ctx, code); (err == nil) != there {
			t.Errorf("%s: %v", code, err)
		}
	}
	_, done, err := s.ClaimLogin(ctx, "s0", func(r store.LoginRequest) (store.Token, audit.Record) {
		return store.Token{ID: "t", Owner: r.ConfirmedBy, Hash: "hash", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, audit.Record{Action: audit.TokenCreated}
	})
	if !done || err != nil { // the oldest, and confirmed
		t.Errorf("%t, %v", done, err)
	}
}
