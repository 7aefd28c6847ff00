package store_test

import (
	"fmt"
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

const oldHost, newHost = "web1.example.com", "web2.example.com"

// joinToken stores a token that lives from epochStart for an hour.
func joinToken(t *testing.T, s *store.Store, id, host, pattern string, uses int) store.JoinToken {
	t.Helper()
	token := store.JoinToken{
		ID: id, Host: host, Pattern: pattern, Hash: "hash of " + id, Uses: uses, Left: uses, CreatedBy: "root",
		CreatedAt: epochStart, ExpiresAt: epochStart.Add(time.Hour),
	}
	if err := s.CreateJoinToken(t.Context(), token, audit.Record{Action: audit.JoinTokenCreated}); err != nil {
		t.Fatal(err)
	}
	return token
}

// joining is a use of a token a minute after epochStart.
func joining(token, host, serial, key string) store.Join {
	at := epochStart.Add(time.Minute)
	return store.Join{
		Token: token, KeyHash: key, PEM: []byte("certificate " + serial),
		Certificate: store.Certificate{Serial: serial, Host: host, IssuedAt: at, NotAfter: at.AddDate(1, 0, 0)},
		Records:     []audit.Record{{Action: audit.HostJoin, Host: host}, {Action: audit.CertificateIssued, Host: host}},
		Again:       []audit.Record{{Action: audit.HostJoin, Host: host, Detail: "again"}},
		Revoked:     audit.Record{Action: audit.CertificateRevoked},
	}
}

func certificatesOf(t *testing.T, s *store.Store) string {
	t.Helper()
	list, err := s.Certificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		text := c.Serial
		if !c.RevokedAt.IsZero() {
			text += " revoked"
		} else if c.Pending {
			text += " pending"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func exerciseJoinTokens(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	one := joinToken(t, s, "t1", oldHost, "", 1)
	got, err := s.JoinTokenByHash(t.Context(), one.Hash)
	if diff := cmp.Diff(one, got); err != nil || diff != "" {
		t.Fatalf("error %v (-want +got):\n%s", err, diff)
	}
	_, err = s.JoinTokenByHash(t.Context(), "another hash")
	wantCode(t, err, restart.CodeNotFound)
	wantCode(t, s.CreateJoinToken(t.Context(), store.JoinToken{ID: "t2", Hash: one.Hash, CreatedAt: epochStart}), restart.CodeConflict)
	for range 2 {
		if err := s.RevokeJoinToken(t.Context(), "t1", epochStart.Add(time.Second), audit.Record{Action: audit.JoinTokenRevoked}); err != nil {
			t.Fatal(err)
		}
	}
	if n := countRecords(t, s, audit.JoinTokenRevoked); n != 1 {
		t.Errorf("%d records of one revocation", n)
	}
	wantCode(t, s.RevokeJoinToken(t.Context(), "t9", epochStart), restart.CodeNotFound)
	_, err = s.UseJoinToken(t.Context(), joining("t1", oldHost, "01", "key"))
	wantCode(t, err, restart.CodeForbidden)

	// A token that is long over is forgotten, with what it was used for.
	later := one
	later.ID, later.Hash, later.CreatedAt = "t3", "hash of t3", epochStart.AddDate(0, 2, 0)
	if err := s.CreateJoinToken(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if list, err := s.JoinTokens(t.Context()); err != nil || len(list) != 1 || list[0].ID != "t3" {
		t.Errorf("%+v, %v", list, err)
	}
	// Refused uses are recorded, and not without end.
	recorded := 0
	for range 120 {
		ok, err := s.RefuseJoin(t.Context(), "t3", audit.Record{Action: audit.HostJoin, Outcome: "forbidden"})
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			recorded++
		}
	}
	if recorded != 100 {
		t.Errorf("%d refusals recorded", recorded)
	}
}

func exerciseJoins(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	before := store.Certificate{Serial: "00", Host: oldHost, IssuedAt: epochStart, NotAfter: epochStart.AddDate(1, 0, 0)}
	if err := s.PutCertificate(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	use := func(j store.Join, again string, code restart.Code) {
		t.Helper()
		got, err := s.UseJoinToken(t.Context(), j)
		if restart.CodeOf(err) != code || string(got) != again {
			t.Errorf("token %s for %s: %q, %v; want %q, code %q", j.Token, j.Certificate.Host, got, err, again, code)
		}
	}
	joinToken(t, s, "named", oldHost, "", 1)
	use(joining("named", oldHost, "01", "key1"), "", "")
	if got := certificatesOf(t, s); got != "00 revoked, 01" {
		t.Errorf("certificates: %s", got)
	}
	use(joining("named", oldHost, "02", "key1"), "certificate 01", "") // its answer was lost
	use(joining("named", oldHost, "03", "key2"), "", restart.CodeForbidden)
	late := joining("named", oldHost, "04", "key1")
	late.Certificate.IssuedAt = epochStart.Add(time.Hour)
	use(late, "", restart.CodeForbidden)

	joinToken(t, s, "many", "", "web*.example.com", 2)
	use(joining("many", oldHost, "05", "key1"), "", restart.CodeConflict) // a pattern replaces nobody
	use(joining("many", newHost, "06", "key1"), "", "")
	use(joining("many", newHost, "07", "key1"), "certificate 06", "")
	use(joining("many", newHost, "08", "key2"), "", restart.CodeConflict)
	use(joining("many", "web3.example.com", "09", "key"), "", "")
	use(joining("many", "web4.example.com", "10", "key"), "", restart.CodeForbidden)
	use(joining("none", "web4.example.com", "10", "key"), "", restart.CodeNotFound)
	if got := certificatesOf(t, s); got != "00 revoked, 01, 06, 09" {
		t.Errorf("certificates: %s", got)
	}
	if joins, issued, revoked := countRecords(t, s, audit.HostJoin), countRecords(t, s, audit.CertificateIssued), countRecords(t, s, audit.CertificateRevoked); joins != 5 || issued != 3 || revoked != 1 {
		t.Errorf("records: %d joins, %d issued, %d revoked", joins, issued, revoked)
	}
	// What is revoked is not handed out again.
	if _, err := s.RevokeCertificates(t.Context(), store.Revocation{Host: newHost, Reason: "stolen", At: epochStart.Add(2 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	use(joining("many", newHost, "11", "key1"), "", restart.CodeForbidden)
	// Nor does who was revoked come back by a token that is good for many, with
	// another key: only by one that an admin has made for its name.
	joinToken(t, s, "more", "", "web*.example.com", 5)
	use(joining("more", newHost, "12", "key9"), "", restart.CodeConflict)
	joinToken(t, s, "anew", newHost, "", 1)
	use(joining("anew", newHost, "13", "key9"), "", "")

	// A revocation ends the tokens for the host's name, and no others.
	joinToken(t, s, "unspent", newHost, "", 1)
	joinToken(t, s, "other", "web5.example.com", "", 1)
	revocation := store.Revocation{Host: newHost, Reason: "stolen again", At: epochStart.Add(3 * time.Minute), Record: audit.Record{Action: audit.CertificateRevoked}}
	if _, err := s.RevokeCertificates(t.Context(), revocation); err != nil {
		t.Fatal(err)
	}
	late = joining("unspent", newHost, "14", "key10")
	late.Certificate.IssuedAt = revocation.At
	use(late, "", restart.CodeForbidden)
	use(joining("other", "web5.example.com", "15", "key11"), "", "")
	if n := countRecords(t, s, audit.JoinTokenRevoked); n != 1 {
		t.Errorf("%d records of join tokens that a revocation ended, want 1", n)
	}

	// Also of a host that has never joined: a token is all that there is of it.
	joinToken(t, s, "never", "web6.example.com", "", 1)
	revocation.Host = "web6.example.com"
	if out, err := s.RevokeCertificates(t.Context(), revocation); err != nil || len(out) != 0 {
		t.Errorf("only a token: %+v, %v", out, err)
	}
	late = joining("never", "web6.example.com", "16", "key12")
	late.Certificate.IssuedAt = revocation.At
	use(late, "", restart.CodeForbidden)
}

// A host that asks for its answer again and again does not fill the trail.
func exerciseRepeatedJoin(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	joinToken(t, s, "named", oldHost, "", 1)
	for i := range 150 {
		again, err := s.UseJoinToken(t.Context(), joining("named", oldHost, fmt.Sprintf("%02x", i), "key"))
		if err != nil || i > 0 && string(again) != "certificate 00" {
			t.Fatalf("try %d: %q, %v", i, again, err)
		}
	}
	found, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: audit.HostJoin, Limit: 200})
	if err != nil || len(found) != 101 {
		t.Errorf("%d records of one join and its repetitions: %v", len(found), err)
	}
}

// Many hosts want the last use at once: exactly one gets it. Then many that
// call themselves alike, by two tokens for patterns: again one.
func exerciseJoinRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	joinToken(t, s, "last", "", "web*.example.com", 1)
	joinToken(t, s, "first", "", "web*.example.com", 100)
	joinToken(t, s, "second", "", "web*.example.com", 100)
	race := func(join func(i int) store.Join) (won, lost int64) {
		var wins, losses atomic.Int64
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				_, err := s.UseJoinToken(t.Context(), join(i))
				switch restart.CodeOf(err) {
				case "":
					wins.Add(1)
				case restart.CodeForbidden, restart.CodeConflict:
					losses.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		return wins.Load(), losses.Load()
	}
	if won, lost := race(func(i int) store.Join {
		return joining("last", fmt.Sprintf("web%d.example.com", i), fmt.Sprintf("a%d", i), "key")
	}); won != 1 || lost != 15 {
		t.Errorf("%d hosts got the last use, %d did not", won, lost)
	}
	if won, lost := race(func(i int) store.Join {
		return joining([]string{"first", "second"}[i%2], "same.example.com", fmt.Sprintf("b%d", i), fmt.Sprint("key", i))
	}); won != 1 || lost != 15 {
		t.Errorf("%d machines of one name were enrolled, %d were not", won, lost)
	}
	if n := countRecords(t, s, audit.CertificateIssued); n != 2 {
		t.Errorf("%d certificates in the trail", n)
	}
}

func exerciseRevocations(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	at := epochStart.Add(time.Hour)
	for _, c := range []store.Certificate{
		{Serial: "01", Host: oldHost, IssuedAt: epochStart, NotAfter: epochStart.AddDate(1, 0, 0)},
		{Serial: "02", Host: oldHost, IssuedAt: epochStart, NotAfter: epochStart.AddDate(2, 0, 0)},
		{Serial: "03", Host: newHost, IssuedAt: epochStart, NotAfter: epochStart.AddDate(1, 0, 0)},
	} {
		if err := s.PutCertificate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	revoke := func(r store.Revocation) []store.Certificate {
		t.Helper()
		r.Reason, r.At, r.Record = "the disk was stolen", at, audit.Record{Action: audit.CertificateRevoked, Actor: "root"}
		out, err := s.RevokeCertificates(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := revoke(store.Revocation{Serial: "03"}); len(out) != 1 || out[0].Host != newHost || !out[0].RevokedAt.Equal(at) || out[0].Revocation == "" {
		t.Errorf("%+v", out)
	}
	if out := revoke(store.Revocation{Host: oldHost}); len(out) != 2 {
		t.Errorf("%+v", out)
	}
	if out := revoke(store.Revocation{Host: oldHost}); len(out) != 0 {
		t.Errorf("revoked twice: %+v", out)
	}
	for _, r := range []store.Revocation{{Host: "web9.example.com"}, {Serial: "ff"}} {
		_, err := s.RevokeCertificates(t.Context(), r)
		wantCode(t, err, restart.CodeNotFound)
	}
	// What was revoked is not renewed by a server that was about to.
	renewed := store.Certificate{Serial: "04", Host: oldHost, IssuedAt: at, NotAfter: at.AddDate(1, 0, 0), Pending: true, Renews: "01"}
	wantCode(t, s.PutCertificate(t.Context(), renewed, audit.Record{Action: audit.CertificateIssued}), restart.CodeRevoked)
	if got := certificatesOf(t, s); strings.Contains(got, "04") || countRecords(t, s, audit.CertificateIssued) != 0 {
		t.Errorf("certificates: %s", got)
	}
	if n := countRecords(t, s, audit.CertificateRevoked); n != 3 {
		t.Errorf("%d records of three revocations", n)
	}
	list, err := s.RevokedCertificates(t.Context(), epochStart.AddDate(1, 6, 0)) // two of them are over by themselves
	if err != nil || len(list) != 1 || list[0].Serial != "02" || list[0].Revocation != "the disk was stolen" {
		t.Errorf("%+v, %v", list, err)
	}
}

func exerciseRenewals(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	put := func(serial, host string, issued time.Time, life time.Duration, pending bool) {
		t.Helper()
		if err := s.PutCertificate(t.Context(), store.Certificate{Serial: serial, Host: host, IssuedAt: issued, NotAfter: issued.Add(life), Pending: pending}); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	put("01", oldHost, epochStart, 90*day, false)
	put("02", newHost, epochStart, 90*day, false)
	put("03", newHost, epochStart.Add(day), 90*day, false) // newer: 02 is of no interest
	put("04", "gone.example.com", epochStart, 30*day, false)
	due := func(now time.Time) string {
		t.Helper()
		list, err := s.DueRenewals(t.Context(), now, 100)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range list {
			out = append(out, c.Serial)
		}
		return strings.Join(out, " ")
	}
	two := epochStart.Add(60 * day) // two thirds
	for at, want := range map[time.Time]string{two.Add(-time.Minute): "", two.Add(time.Minute): "01", two.Add(day + time.Minute): "01 03"} {
		if got := due(at); got != want {
			t.Errorf("due on %v: %q, want %q", at, got, want)
		}
	}
	now := two.Add(time.Minute)
	var mine atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			ok, err := s.ClaimRenewal(t.Context(), oldHost, now, now.Add(time.Minute))
			if err != nil {
				t.Error(err)
			}
			if ok {
				mine.Add(1)
			}
		})
	}
	all.Wait()
	if mine.Load() != 1 || due(now) != "" {
		t.Fatalf("%d servers renew one host; due: %q", mine.Load(), due(now))
	}
	// A renewal that was not taken up does not count, and the next try comes later and later.
	put("05", oldHost, now, 90*day, true)
	for _, want := range []int{1, 2} {
		var seen int
		err := s.FailRenewal(t.Context(), oldHost, "no answer", now, func(n int) time.Duration { seen = n; return time.Duration(n) * time.Hour })
		if err != nil || seen != want || due(now.Add(time.Duration(want)*time.Hour)) != "01" || due(now.Add(time.Duration(want)*time.Hour-time.Second)) != "" {
			t.Errorf("failure %d: %v, %d", want, err, seen)
		}
	}
	if list, err := s.Certificates(t.Context()); err != nil || list[1].Host != oldHost || list[1].Failure != "no answer" {
		t.Errorf("%+v, %v", list, err)
	}
	put("06", oldHost, now.Add(time.Hour), 90*day, true)
	if err := s.ConfirmRenewal(t.Context(), oldHost, "06", now, time.Time{}, audit.Record{Action: audit.CertificateRevoked}); err != nil {
		t.Fatal(err)
	}
	if got := certificatesOf(t, s); got != "04, 01, 05 revoked, 06, 02, 03" || countRecords(t, s, audit.CertificateRevoked) != 1 {
		t.Errorf("certificates: %s", got)
	}
	if got := due(now.Add(day)); got != "03" { // 06 is young
		t.Errorf("due: %q", got)
	}
}

// A database of the schema before has hosts whose certificates are renewed as
// well.
func exerciseSecondMigration(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	old := store.Certificate{Serial: "01", Host: oldHost, IssuedAt: epochStart, NotAfter: epochStart.AddDate(0, 0, 90)}
	if err := store.Before0002(t.Context(), dsn, old); err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, dsn)
	list, err := s.DueRenewals(t.Context(), epochStart.AddDate(0, 0, 61), 10)
	if diff := cmp.Diff([]store.Certificate{old}, list); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}
