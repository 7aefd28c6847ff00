package authn_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

const developer, admin = restart.RoleDeveloper, restart.RoleAdmin

// world is a store with a hasher, and a directory that can be told what to say.
type world struct {
	t      *testing.T
	store  *store.Store
	hasher *authn.Hasher
	dir    *directory
	people authn.People
	now    time.Time
}

// directory stands for an LDAP server.
type directory struct {
	asked  int
	groups []string
	err    error
}

func (d *directory) Method() string { return authn.MethodLDAP }

func (d *directory) SignIn(_ context.Context, name, password string) (authn.Identity, error) {
	d.asked++
	if password != "directory password" {
		return authn.Identity{}, restart.Errorf(restart.CodeUnauthorised, "no")
	}
	return authn.Identity{Name: name, Method: authn.MethodLDAP, Subject: "uid=" + name, Groups: d.groups}, d.err
}

func (d *directory) Refresh(_ context.Context, name string) (authn.Identity, error) {
	d.asked++
	return authn.Identity{Name: name, Method: authn.MethodLDAP, Subject: "uid=" + name, Groups: d.groups}, d.err
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: storetest.Open(t, storetest.SQLite(t)), hasher: authn.NewHasher(), dir: &directory{groups: []string{"web"}}, now: time.Now().UTC().Truncate(time.Microsecond)}
	w.people = authn.People{
		Store: w.store, Refreshers: []authn.Refresher{w.dir}, Away: &authn.Away{}, Now: func() time.Time { return w.now },
		RolesFor: func(name string, groups []string) []restart.Role {
			if slices.Contains(groups, "web") {
				return []restart.Role{developer}
			}
			return nil
		},
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) local(name, password string, roles ...restart.Role) {
	w.t.Helper()
	hash, err := w.hasher.Hash(w.t.Context(), password)
	w.must(err)
	w.must(w.store.CreateUser(w.t.Context(), store.User{Name: name, Method: authn.MethodLocal, Roles: roles, Password: hash, CreatedAt: w.now}))
}

func (w *world) entrance(methods ...authn.Password) *authn.Entrance {
	if methods == nil {
		methods = []authn.Password{authn.Local{Store: w.store, Hasher: w.hasher}, w.dir}
	}
	return &authn.Entrance{People: w.people, Passwords: methods, Throttle: &authn.Throttle{}}
}

func (w *world) token(owner string, scope *restart.Scope, roles ...restart.Role) string {
	w.t.Helper()
	secret, hash := authn.NewSecret()
	w.must(w.store.CreateToken(w.t.Context(), store.Token{ID: restart.NewID(time.Now()), Owner: owner, Roles: roles, Scope: scope, Hash: hash, CreatedAt: w.now, ExpiresAt: w.now.Add(90 * 24 * time.Hour)}))
	return secret
}

func (w *world) tokens() authn.Tokens {
	return authn.Tokens{Store: w.store, People: &w.people, Now: func() time.Time { return w.now }}
}

// Whoever is asked for, it costs one hash, and says the same.
func TestAnUnknownUserCostsTheSame(t *testing.T) {
	w := newWorld(t)
	w.local("anna", "correct horse battery", developer)
	w.local("gone", "correct horse battery", developer)
	yes := true
	w.must(w.store.ChangeUser(t.Context(), "gone", store.UserChange{Disabled: &yes}))
	_, err := w.people.Admit(t.Context(), authn.Identity{Name: "vera", Method: authn.MethodLDAP, Subject: "uid=vera"})
	w.must(err)
	e := w.entrance(authn.Local{Store: w.store, Hasher: w.hasher})
	said := map[string]bool{}
	for i, c := range []struct{ name, password string }{
		{"anna", "wrong"}, {"nobody", "wrong"}, {"gone", "correct horse battery"}, {"vera", "wrong"}, {"", "wrong"}, {"-rf\n*)(uid=*", "wrong"}, {"anna", ""}, {"anna", strings.Repeat("x", 500)},
	} {
		before := w.hasher.Calls()
		_, err := e.SignIn(t.Context(), c.name, c.password, "192.0.2."+string(rune('1'+i)))
		if restart.CodeOf(err) != restart.CodeUnauthorised {
			t.Errorf("%q: %v", c.name, err)
			continue
		}
		if n := w.hasher.Calls() - before; n != 1 {
			t.Errorf("%q took %d hashes", c.name, n)
		}
		said[err.Error()] = true
	}
	if len(said) != 1 {
		t.Errorf("it says different things: %v", said)
	}
	before := w.hasher.Calls()
	actor, err := e.SignIn(t.Context(), "anna", "correct horse battery", "192.0.2.99")
	if err != nil || actor.Name != "anna" || !actor.Has(developer) || actor.Method != "local" || w.hasher.Calls() != before+1 {
		t.Errorf("%+v, %v", actor, err)
	}
}

// A password of this server is never shown to a directory, and a name belongs
// to the method that came with it first.
func TestANameBelongsToOneMethod(t *testing.T) {
	w := newWorld(t)
	w.local("anna", "correct horse battery", admin)
	e := w.entrance()
	if _, err := e.SignIn(t.Context(), "anna", "directory password", "a"); restart.CodeOf(err) != restart.CodeUnauthorised || w.dir.asked != 0 {
		t.Errorf("%v, and the directory was asked %d times", err, w.dir.asked)
	}
	actor, err := e.SignIn(t.Context(), "boris", "directory password", "a")
	if err != nil || !actor.Has(developer) || !slices.Equal(actor.Teams, []string{"web"}) {
		t.Fatalf("%+v, %v", actor, err)
	}
	w.must(w.store.CreateToken(t.Context(), store.Token{ID: restart.NewID(w.now), Name: "pipeline", Owner: "deploy", Roles: []restart.Role{developer}, Hash: "x", CreatedAt: w.now, ExpiresAt: w.now.Add(time.Hour)}))
	for what, id := range map[string]authn.Identity{
		"a program's name":       {Name: "deploy", Method: authn.MethodOIDC, Subject: "00u9"},
		"another method":         {Name: "boris", Method: authn.MethodOIDC, Subject: "uid=boris"},
		"another person":         {Name: "boris", Method: authn.MethodLDAP, Subject: "uid=boris2"},
		"an admin's name":        {Name: "anna", Method: authn.MethodProxy},
		"a name that is none":    {Name: "Boris Ivanov", Method: authn.MethodOIDC},
		"a path":                 {Name: "../admin", Method: authn.MethodOIDC},
		"an empty name":          {Method: authn.MethodOIDC},
		"an option":              {Name: "-rf", Method: authn.MethodLDAP},
		"nobody of this server":  {Name: "zoe", Method: authn.MethodLocal},
		"a subject without end":  {Name: "igor", Method: authn.MethodOIDC, Subject: strings.Repeat("x", 1000)},
		"a name with a line end": {Name: "anna\n", Method: authn.MethodLDAP},
	} {
		if got, err := w.people.Admit(t.Context(), id); err == nil {
			t.Errorf("%s gets in as %+v", what, got)
		}
	}
	method := authn.MethodOIDC
	w.must(w.store.ChangeUser(t.Context(), "boris", store.UserChange{Method: &method}))
	if _, err := w.people.Admit(t.Context(), authn.Identity{Name: "boris", Method: authn.MethodOIDC, Subject: "00u1"}); err != nil {
		t.Errorf("after an admin has said so: %v", err)
	}
}

func TestGroupsAreBounded(t *testing.T) {
	w := newWorld(t)
	groups := []string{"web", "web", "", "bad\ngroup", "\u202egnp", strings.Repeat("x", 300), " db"}
	for range 1000 {
		groups = append(groups, authn.NewCode())
	}
	actor, err := w.people.Admit(t.Context(), authn.Identity{Name: "anna", Method: authn.MethodOIDC, Subject: "1", Groups: groups, Mail: "a\x1b[31m@x", Display: "Anna"})
	if err != nil || len(actor.Teams) != 500 && len(actor.Teams) != 499 || slices.Contains(actor.Teams, "bad\ngroup") {
		t.Errorf("%d groups, %v", len(actor.Teams), err)
	}
	u, err := w.store.User(t.Context(), "anna")
	if err != nil || u.Mail != "" || u.Display != "Anna" {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestPersonNow: who somebody is before a host is touched.
func TestPersonNow(t *testing.T) {
	w := newWorld(t)
	away := restart.Errorf(restart.CodeUnavailable, "no answer")
	person := func() (restart.Actor, error) { return w.people.Person(t.Context(), "vera") }
	has := func(what string, want bool) {
		t.Helper()
		actor, err := person()
		if err != nil || actor.Has(developer) != want {
			t.Errorf("%s: %+v, %v", what, actor, err)
		}
	}
	_, err := w.people.Admit(t.Context(), authn.Identity{Name: "vera", Method: authn.MethodLDAP, Subject: "uid=vera", Groups: []string{"web"}})
	w.must(err)
	has("just signed in", true)
	if w.dir.asked != 0 {
		t.Errorf("asked %d times within the minute", w.dir.asked)
	}
	w.now = w.now.Add(2 * time.Minute)
	has("asked again", true)
	has("once", true)
	if w.dir.asked != 1 {
		t.Errorf("asked %d times", w.dir.asked)
	}
	w.dir.err = away
	w.now = w.now.Add(14 * time.Minute)
	has("the directory is away for 14 minutes", true)
	if asked := w.dir.asked; asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	has("and is left alone for a while", true)
	if asked := w.dir.asked; asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	w.now = w.now.Add(2 * time.Minute)
	if _, err := person(); restart.CodeOf(err) != restart.CodeUnavailable {
		t.Errorf("after 16 minutes: %v", err)
	}
	// A request of hers is answered all the same, without what groups give.
	actor, err := w.tokens().Check(t.Context(), w.token("vera", nil, developer))
	if err != nil || actor.Name != "vera" || len(actor.Roles) != 0 || len(actor.Teams) != 0 {
		t.Errorf("her request: %+v, %v", actor, err)
	}
	w.now = w.now.Add(time.Minute)
	w.dir.err, w.dir.groups = nil, []string{"db"}
	has("moved to another team", false)
	w.now = w.now.Add(2 * time.Minute)
	w.dir.groups = []string{"web"}
	has("moved back", true)
	w.now = w.now.Add(2 * time.Minute)
	w.dir.err = restart.Errorf(restart.CodeNotFound, "gone")
	has("gone from the directory", false)
	if _, err := w.tokens().Check(t.Context(), w.token("vera", nil, developer)); restart.CodeOf(err) != restart.CodeUnauthorised {
		t.Errorf("a token of hers: %v", err)
	}

	_, err = w.people.Admit(t.Context(), authn.Identity{Name: "olga", Method: authn.MethodOIDC, Subject: "1", Groups: []string{"web"}})
	w.must(err)
	for after, want := range map[time.Duration]bool{11 * time.Hour: true, 13 * time.Hour: false} {
		later := w.people
		later.Now = func() time.Time { return w.now.Add(after) }
		if actor, err := later.Person(t.Context(), "olga"); err != nil || actor.Has(developer) != want {
			t.Errorf("OIDC after %s: %+v, %v", after, actor, err)
		}
	}
}

func TestTokensAreCutDown(t *testing.T) {
	w := newWorld(t)
	w.local("anna", "correct horse battery", developer)
	hers, robots := w.token("anna", nil, developer, admin), w.token("robot", nil, developer, admin)
	if actor, err := w.tokens().Check(t.Context(), hers); err != nil || actor.Has(admin) || !actor.Has(developer) {
		t.Errorf("%+v, %v", actor, err)
	}
	if actor, err := w.tokens().Check(t.Context(), robots); err != nil || !actor.Has(admin) {
		t.Errorf("%+v, %v", actor, err)
	}
	none := []restart.Role{}
	w.must(w.store.ChangeUser(t.Context(), "anna", store.UserChange{Roles: &none}))
	if actor, err := w.tokens().Check(t.Context(), hers); err != nil || len(actor.Roles) != 0 {
		t.Errorf("%+v, %v", actor, err)
	}
	yes := true
	w.must(w.store.ChangeUser(t.Context(), "anna", store.UserChange{Disabled: &yes}))
	if _, err := w.tokens().Check(t.Context(), hers); restart.CodeOf(err) != restart.CodeUnauthorised {
		t.Errorf("a disabled user's token: %v", err)
	}
	if actor, err := w.people.Person(t.Context(), "anna"); err != nil || len(actor.Roles) != 0 {
		t.Errorf("a disabled user: %+v, %v", actor, err)
	}
	w.local("root", "correct horse battery", admin)
	if actor, err := w.tokens().Check(t.Context(), w.token("root", nil, developer)); err != nil || actor.Has(admin) || !actor.Has(developer) {
		t.Errorf("an admin's lesser token: %+v, %v", actor, err)
	}
	scope := &restart.Scope{Services: []string{"shop-*"}}
	if actor, err := w.tokens().Check(t.Context(), w.token("robot", scope, admin)); err != nil || actor.Scope.String() != "services shop-*" {
		t.Errorf("%+v, %v", actor, err)
	}
}

func TestProxy(t *testing.T) {
	w := newWorld(t)
	w.local("root", "correct horse battery", admin)
	p, err := authn.NewProxy(authn.ProxyConfig{Addresses: []string{"10.0.0.5", "2001:db8::/64"}, UserHeader: "x-forwarded-user", GroupsHeader: "X-Forwarded-Groups"}, w.people)
	w.must(err)
	for what, c := range map[string]struct {
		from    string
		headers []string // in pairs
		name    string   // "" = nobody
		refused bool
	}{
		"the proxy":                    {"10.0.0.5:1234", []string{"X-Forwarded-User", "Anna", "X-Forwarded-Groups", "web, db,,"}, "anna", false},
		"the proxy, by IPv6":           {"[2001:db8::7]:1", []string{"X-Forwarded-User", "anna"}, "anna", false},
		"mapped into IPv6":             {"[::ffff:10.0.0.5]:1", []string{"X-Forwarded-User", "anna"}, "anna", false},
		"somebody else":                {"10.0.0.6:1234", []string{"X-Forwarded-User", "anna"}, "", false},
		"somebody who names the proxy": {"10.0.0.6:1234", []string{"X-Forwarded-User", "anna", "X-Forwarded-For", "10.0.0.5", "X-Real-IP", "10.0.0.5", "Forwarded", "for=10.0.0.5"}, "", false},
		"another network":              {"[2001:db8:0:1::7]:1", []string{"X-Forwarded-User", "anna"}, "", false},
		"no address":                   {"", []string{"X-Forwarded-User", "anna"}, "", false},
		"no header":                    {"10.0.0.5:1234", []string{"X-Forwarded-Groups", "web"}, "", false},
		"twice":                        {"10.0.0.5:1234", []string{"X-Forwarded-User", "anna", "X-Forwarded-User", "root"}, "", true},
		"groups twice":                 {"10.0.0.5:1234", []string{"X-Forwarded-User", "anna", "X-Forwarded-Groups", "web", "X-Forwarded-Groups", "admins"}, "", true},
		"a name with a comma":          {"10.0.0.5:1234", []string{"X-Forwarded-User", "anna,root"}, "", true},
		"a local user's name":          {"10.0.0.5:1234", []string{"X-Forwarded-User", "root"}, "", true},
		"an address":                   {"10.0.0.5:1234", []string{"X-Forwarded-User", "anna petrova"}, "", true},
		"an underscore":                {"10.0.0.5:1234", []string{"X_Forwarded_User", "root"}, "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/runs", nil)
		r.RemoteAddr = c.from
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Add(c.headers[i], c.headers[i+1])
		}
		actor, err := p.Authenticate(t.Context(), r)
		if actor.Name != c.name || (restart.CodeOf(err) == restart.CodeForbidden) != c.refused || (err != nil) != c.refused {
			t.Errorf("%s: %+v, %v", what, actor, err)
		}
		if c.name != "" && (actor.Via != "web" || actor.Method != "proxy" || actor.SignedInAt != nil) {
			t.Errorf("%s: %+v", what, actor)
		}
	}
	records, _, err := w.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.UserCreated})
	if err != nil || len(records) != 1 || records[0].Actor != "anna" {
		t.Errorf("%+v, %v", records, err)
	}
	for _, c := range []authn.ProxyConfig{
		{UserHeader: "X-User"}, {Addresses: []string{"10.0.0.5"}}, {Addresses: []string{"0.0.0.0/0"}, UserHeader: "X-User"}, {Addresses: []string{"::/0"}, UserHeader: "X-User"},
		{Addresses: []string{"proxy"}, UserHeader: "X-User"}, {Addresses: []string{"10.0.0.5"}, UserHeader: "Cookie"}, {Addresses: []string{"10.0.0.5"}, UserHeader: "X User"},
		{Addresses: []string{"10.0.0.5"}, UserHeader: "X-User", GroupsHeader: "x-user"},
	} {
		if err := c.Check(); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
	if err := (authn.ProxyConfig{}).Check(); err != nil {
		t.Errorf("none at all: %v", err)
	}
}

func FuzzProxyHeaders(f *testing.F) {
	f.Add("anna", "web, db")
	f.Add("Anna\x00", "\u202e,,,")
	f.Fuzz(func(t *testing.T, user, groups string) {
		p, err := authn.NewProxy(authn.ProxyConfig{Addresses: []string{"10.0.0.5"}, UserHeader: "X-User", GroupsHeader: "X-Groups"}, authn.People{Store: noUsers{}})
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{RemoteAddr: "10.0.0.5:1", Header: http.Header{"X-User": {user}, "X-Groups": {groups}}}
		actor, err := p.Authenticate(t.Context(), r)
		if err == nil && actor.Name != "" && restart.CheckUser(actor.Name) != nil {
			t.Errorf("%q gets in as %q", user, actor.Name)
		}
		for _, team := range actor.Teams {
			if restart.Escape(team) != team || len(team) > 256 {
				t.Errorf("%q is a team", team)
			}
		}
	})
}

// noUsers is a store that nobody is in yet.
type noUsers struct{}

func (noUsers) User(context.Context, string) (store.User, error) {
	return store.User{}, restart.Errorf(restart.CodeNotFound, "nobody")
}
func (noUsers) AdmitUser(context.Context, store.User, ...audit.Record) error { return nil }
func (noUsers) Tokens(context.Context, string) ([]store.Token, error)        { return nil, nil }

// TestSessions: what a session stands on, and that a new sign-in is a new one.
func TestSessions(t *testing.T) {
	w := newWorld(t)
	w.local("anna", "correct horse battery", developer)
	now := time.Now()
	sessions := authn.Sessions{Store: w.store, Tokens: w.store, People: &w.people, Now: func() time.Time { return now }}
	open := func(cookie *http.Cookie) *http.Cookie {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/sign-in", nil)
		r.Header.Set("User-Agent", "Browser\x1b[31m "+strings.Repeat("x", 5000))
		if cookie != nil {
			r.AddCookie(cookie)
		}
		rec := httptest.NewRecorder()
		w.must(sessions.Open(t.Context(), rec, r, restart.Actor{Name: "anna", Method: "local", Teams: []string{"web"}}, audit.Record{Action: audit.SignIn, Actor: "anna"}))
		return rec.Result().Cookies()[0]
	}
	who := func(cookie *http.Cookie) restart.Actor {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/runs", nil)
		r.AddCookie(cookie)
		actor, err := sessions.Authenticate(t.Context(), r)
		w.must(err)
		return actor
	}
	first := open(nil)
	if a := who(first); a.Name != "anna" || !a.Has(developer) || a.Session == "" || a.SignedInAt == nil || a.Via != "web" {
		t.Fatalf("%+v", a)
	}
	list, err := w.store.Sessions(t.Context(), store.SessionFilter{Owner: "anna", Idle: authn.SessionIdle, Limit: 10})
	if err != nil || len(list) != 1 || strings.ContainsAny(list[0].UserAgent, "\x1b") || len(list[0].UserAgent) > 400 || list[0].Address != "192.0.2.1" || list[0].Groups[0] != "web" {
		t.Errorf("%+v, %v", list, err)
	}
	second := open(first)
	if second.Value == first.Value || who(first).Name != "" || who(second).Name != "anna" {
		t.Error("the session before lives on")
	}
	third := open(nil)
	w.must(w.store.RevokeSession(t.Context(), who(second).Session))
	if who(second).Name != "" || who(third).Name != "anna" {
		t.Error("a revoked session lives on, or the other does not")
	}
	then := now
	now = then.Add(authn.SessionIdle + 2*time.Minute)
	if who(third).Name != "" {
		t.Error("it has rested too long")
	}
	now = then
	method := authn.MethodLDAP
	w.must(w.store.ChangeUser(t.Context(), "anna", store.UserChange{Method: &method}))
	if who(third).Name != "" {
		t.Error("she signs in otherwise now")
	}
}

// Groups give rights: that somebody's are others is on record, whether he signs
// in or his directory is asked again, and that they are the same is not.
func TestOtherGroupsAreOnRecord(t *testing.T) {
	w := newWorld(t)
	e := w.entrance()
	enter := func() {
		t.Helper()
		_, err := e.SignIn(t.Context(), "boris", "directory password", "a")
		w.must(err)
	}
	enter()
	w.dir.groups = []string{"web", "db"}
	enter()
	w.dir.groups = []string{"db", "web"} // the same in another order
	enter()
	w.dir.groups = nil
	w.now = w.now.Add(24 * time.Hour)
	_, err := w.people.Person(t.Context(), "boris")
	w.must(err)
	records, _, err := w.store.AuditSearch(t.Context(), store.AuditFilter{Actor: "boris"})
	w.must(err)
	var said []string
	for _, r := range records {
		said = append(said, string(r.Action)+": "+r.Detail+" ("+r.Origin+")")
	}
	if want := []string{
		"user.created: signed in for the first time, groups web (ldap)", "user.changed: groups db, web; before: web (ldap)", "user.changed: groups none; before: db, web (ldap)",
	}; !slices.Equal(said, want) {
		t.Errorf("recorded:\n%s\nwant:\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}
