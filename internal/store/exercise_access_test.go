package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func countRecords(t *testing.T, s *store.Store, action audit.Action) int {
	t.Helper()
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: action})
	if err != nil {
		t.Fatal(err)
	}
	return len(records)
}

func exerciseTokens(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	one := store.Token{ID: "t1", Name: "laptop", Owner: "anna", Roles: []restart.Role{restart.RoleDeveloper, restart.RoleAdmin}, Hash: "hash1", CreatedAt: epochStart, ExpiresAt: epochStart.Add(time.Hour)}
	two := store.Token{ID: "t2", Owner: "boris", Hash: "hash2", CreatedAt: epochStart.Add(time.Second)}
	for _, token := range []store.Token{one, two} {
		if err := s.CreateToken(t.Context(), token, audit.Record{Action: audit.TokenCreated, Actor: token.Owner}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, s.CreateToken(t.Context(), store.Token{ID: "t3", Hash: "hash1"}), restart.CodeConflict)
	got, err := s.TokenByHash(t.Context(), "hash1")
	if diff := cmp.Diff(one, got); err != nil || diff != "" {
		t.Fatalf("error %v (-want +got):\n%s", err, diff)
	}
	if byID, err := s.TokenByID(t.Context(), "t1"); err != nil || !cmp.Equal(byID, got) {
		t.Fatalf("by id: %+v, error %v", byID, err)
	}
	if !got.Valid(epochStart) || got.Valid(epochStart.Add(time.Hour)) || !two.Valid(time.Now()) {
		t.Fatal("validity is not as of the expiry")
	}
	_, err = s.TokenByHash(t.Context(), "hash3")
	wantCode(t, err, restart.CodeNotFound)
	if all, err := s.Tokens(t.Context(), ""); err != nil || !cmp.Equal(all, []store.Token{one, two}) {
		t.Fatalf("tokens %+v, error %v", all, err)
	}
	if his, err := s.Tokens(t.Context(), "boris"); err != nil || len(his) != 1 || his[0].ID != "t2" {
		t.Fatalf("tokens %+v, error %v", his, err)
	}

	var used [2]time.Time
	for i := range used {
		if err := s.TouchToken(t.Context(), "t1"); err != nil {
			t.Fatal(err)
		}
		if got, err = s.TokenByHash(t.Context(), "hash1"); err != nil {
			t.Fatal(err)
		}
		used[i] = got.LastUsedAt
	}
	if used[0].IsZero() || used[0] != used[1] {
		t.Fatalf("last used %v, then %v: want one write a minute", used[0], used[1])
	}

	session := store.Session{ID: "s1", Hash: "s1", Owner: "anna", TokenID: "t1", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	if err := s.CreateSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	var revoked [2]time.Time
	for i := range revoked {
		if err := s.RevokeToken(t.Context(), "t1", audit.Record{Action: audit.TokenRevoked}); err != nil {
			t.Fatal(err)
		}
		if got, err = s.TokenByHash(t.Context(), "hash1"); err != nil || got.Valid(epochStart) {
			t.Fatalf("a revoked token is valid, error %v", err)
		}
		revoked[i] = got.RevokedAt
	}
	if revoked[0] != revoked[1] || countRecords(t, s, audit.TokenRevoked) != 1 {
		t.Fatalf("revoked at %v, then %v, %d records", revoked[0], revoked[1], countRecords(t, s, audit.TokenRevoked))
	}
	_, err = s.SessionByHash(t.Context(), "s1")
	wantCode(t, err, restart.CodeNotFound)
	wantCode(t, s.RevokeToken(t.Context(), "t9"), restart.CodeNotFound)
}

func exerciseSessions(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	now := time.Now().UTC().Truncate(time.Microsecond)
	over := store.Session{ID: "i1", Hash: "over", Method: "local", Groups: []string{"web"}, Address: "192.0.2.7", UserAgent: "x", Owner: "anna", CreatedAt: now.Add(-2 * time.Hour), LastSeenAt: now.Add(-2 * time.Hour), ExpiresAt: now.Add(-time.Hour)}
	live := store.Session{ID: "i2", Hash: "live", Method: "token", TokenID: "t1", Groups: []string{"web"}, Address: "192.0.2.7", UserAgent: "x", Owner: "anna", Roles: []restart.Role{restart.RoleViewer}, CreatedAt: now, LastSeenAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour)}
	for _, session := range []store.Session{over, live} {
		if err := s.CreateSession(t.Context(), session, audit.Record{Action: audit.SignIn}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.SessionByHash(t.Context(), "over")
	wantCode(t, err, restart.CodeNotFound)
	got, err := s.SessionByHash(t.Context(), "live")
	if diff := cmp.Diff(live, got); err != nil || diff != "" {
		t.Fatalf("error %v (-want +got):\n%s", err, diff)
	}
	if err := s.TouchSession(t.Context(), "live"); err != nil {
		t.Fatal(err)
	}
	if got, err = s.SessionByHash(t.Context(), "live"); err != nil || !got.LastSeenAt.After(live.LastSeenAt) {
		t.Fatalf("last seen %v, error %v", got.LastSeenAt, err)
	}
	for range 2 {
		if err := s.DeleteSession(t.Context(), "live", audit.Record{Action: audit.SignOut}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.SessionByHash(t.Context(), "live")
	wantCode(t, err, restart.CodeNotFound)
	if in, out := countRecords(t, s, audit.SignIn), countRecords(t, s, audit.SignOut); in != 2 || out != 1 {
		t.Fatalf("%d records of signing in, %d of signing out", in, out)
	}
}

func exerciseScenarios(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	digest := digestOf(scenarioBody)
	for _, serial := range []int{0, 3, 4} {
		if err := s.PutScenario(t.Context(), digest, "nginx-restart", serial, []byte(scenarioBody)); err != nil {
			t.Fatal(err)
		}
	}
	if body, err := s.Scenario(t.Context(), digest); err != nil || string(body) != scenarioBody {
		t.Fatalf("body %q, error %v", body, err)
	}
	wantCode(t, s.PutScenario(t.Context(), digest, "nginx-restart", 3, []byte("other")), restart.CodeInvalid)
	_, err := s.Scenario(t.Context(), digestOf("other"))
	wantCode(t, err, restart.CodeNotFound)
}

func exerciseCertificates(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	b := store.Certificate{Serial: "02", Host: "b.example.com", IssuedAt: epochStart, NotAfter: epochStart.AddDate(1, 0, 0)}
	a := store.Certificate{Serial: "01", Host: "a.example.com", IssuedAt: epochStart, NotAfter: epochStart.AddDate(1, 0, 0)}
	revoked := a
	revoked.RevokedAt = epochStart.Add(time.Hour)
	for _, c := range []store.Certificate{b, a, revoked, a} { // a revocation is not taken back
		if err := s.PutCertificate(t.Context(), c, audit.Record{Action: audit.CertificateIssued, Host: c.Host}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Certificates(t.Context())
	if diff := cmp.Diff([]store.Certificate{revoked, b}, got); err != nil || diff != "" {
		t.Fatalf("error %v (-want +got):\n%s", err, diff)
	}
}
