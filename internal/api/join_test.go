package api_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const named = "web7.example.com"

// newHost is a machine that wants to join.
type newHost struct {
	name string
	key  []byte
}

func machine(t *testing.T, name string) newHost {
	t.Helper()
	key, err := pki.NewKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	return newHost{name, key}
}

// join shows a token's secret.
func (h newHost) join(t *testing.T, s *apitest.Server, text string, off time.Duration) apitest.Answer {
	t.Helper()
	token, err := pki.ParseJoinToken(text)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewAgentCSRFor(h.key, h.name)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(protocol.JoinRequest{Host: h.name, CSR: string(csr), Clock: time.Now().Add(off)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Request("POST", "/api/v1/join", token.Secret, body, nil)
}

func serialIn(t *testing.T, a protocol.JoinAnswer) string {
	t.Helper()
	block, _ := pem.Decode([]byte(a.Certificate))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return pki.SerialOf(cert)
}

func joinToken(t *testing.T, s *apitest.Server, root, body string) wire.NewJoinToken {
	t.Helper()
	return decode[wire.NewJoinToken](t, s.Request("POST", "/api/v1/join-tokens", root, []byte(body), nil), 201)
}

// records gives "outcome detail" of an action's records.
func records(t *testing.T, s *apitest.Server, action audit.Action) []string {
	t.Helper()
	list, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Action: action, Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range list {
		out = append(out, strings.TrimSpace(r.Host+" "+r.Outcome+" "+r.Detail))
	}
	return out
}

func TestAHostJoins(t *testing.T) {
	s := apitest.Start(t, nil)
	root := s.Token("root", admin)
	made := joinToken(t, s, root, `{"host":"`+named+`"}`)
	if made.State != wire.JoinTokenGood || made.Left != 1 || made.ExpiresAt.Sub(made.CreatedAt) != 15*time.Minute {
		t.Errorf("%+v", made)
	}
	token, err := pki.ParseJoinToken(made.Token)
	if err != nil || token.Pin != pki.PinOf(s.HTTP.Certificate()) {
		t.Fatalf("the token does not name the server: %v", err)
	}
	h := machine(t, named)
	answer := decode[protocol.JoinAnswer](t, h.join(t, s, made.Token, 0), 201)
	if _, err := pki.CheckIssued([]byte(answer.Certificate), []byte(answer.CA), h.key, named, time.Now()); err != nil || answer.Server != "test" {
		t.Fatalf("%+v: %v", answer, err)
	}
	// The answer was lost: the same key gets the same certificate.
	if again := decode[protocol.JoinAnswer](t, h.join(t, s, made.Token, 0), 201); again.Certificate != answer.Certificate {
		t.Error("the same host got another certificate")
	}
	// Another key does not.
	p := problem(t, machine(t, named).join(t, s, made.Token, 0), 403)
	if !strings.Contains(p.Detail, "used already") || !strings.Contains(p.Hint, "host join-token "+named) {
		t.Errorf("%+v", p)
	}
	// A named token enrols anew, and ends what was before.
	second := joinToken(t, s, root, `{"host":"`+named+`"}`)
	renewed := decode[protocol.JoinAnswer](t, machine(t, named).join(t, s, second.Token, 0), 201)
	list := decode[wire.List[wire.Certificate]](t, s.Request("GET", "/api/v1/certificates", root, nil, nil), 200)
	for _, c := range list.Items {
		want := map[string]string{serialIn(t, answer): wire.CertificateRevoked, serialIn(t, renewed): wire.CertificateGood}[c.Serial]
		if c.State != want || c.Host != named {
			t.Errorf("%+v, want %s", c, want)
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("%d certificates", len(list.Items))
	}
	if got := records(t, s, audit.HostJoin); len(got) != 4 || !slices.ContainsFunc(got, func(r string) bool { return strings.Contains(r, "forbidden this join token has been used") }) {
		t.Errorf("trail: %q", got)
	}
	// No secret is in any list or record.
	for _, text := range []string{read(t, s.Request("GET", "/api/v1/join-tokens", root, nil, nil)), read(t, s.Request("GET", "/api/v1/audit?limit=200", s.Token("olga", auditor), nil, nil))} {
		if strings.Contains(text, token.Secret) || strings.Contains(text, token.Hash()) {
			t.Error("a secret, or its hash, is told")
		}
	}
}

func TestAJoinIsRefused(t *testing.T) {
	s := apitest.Start(t, nil)
	root := s.Token("root", admin)
	one := joinToken(t, s, root, `{"host":"`+named+`"}`)
	many := joinToken(t, s, root, `{"pattern":"web*.example.com","count":2,"window":"8h"}`)
	gone := joinToken(t, s, root, `{"pattern":"db*.example.com","count":2,"window":"8h"}`)
	if resp := s.Request("DELETE", "/api/v1/join-tokens/"+gone.ID, root, nil, nil); resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.Status)
	}
	late := pki.NewJoinToken(pki.Pin{})
	long := time.Now().Add(-time.Hour)
	if err := s.Store.CreateJoinToken(t.Context(), store.JoinToken{
		ID: restart.NewID(long), Host: named, Hash: late.Hash(), Uses: 1, Left: 1, CreatedBy: "root", CreatedAt: long, ExpiresAt: long.Add(15 * time.Minute),
	}); err != nil {
		t.Fatal(err)
	}
	enrolled := machine(t, "web8.example.com")
	decode[protocol.JoinAnswer](t, enrolled.join(t, s, many.Token, 0), 201)
	for name, c := range map[string]struct {
		token, host string
		off         time.Duration
		status      int
		code        restart.Code
		says, hint  string
	}{
		"another name":        {one.Token, "web9.example.com", 0, 403, restart.CodeWrongHost, "is for " + named, "--host"},
		"not of the pattern":  {many.Token, "db1.example.com", 0, 403, restart.CodeWrongHost, "web*.example.com", "host join-token db1.example.com"},
		"a label more":        {many.Token, "web1.evil.example.com", 0, 403, restart.CodeWrongHost, "web*.example.com", "host join-token"},
		"late":                {late.String(), named, 0, 403, restart.CodeForbidden, "was good until", "host join-token " + named},
		"revoked":             {gone.Token, "db1.example.com", 0, 403, restart.CodeForbidden, "was revoked", "host join-token"},
		"enrolled already":    {many.Token, "web8.example.com", 0, 409, restart.CodeConflict, "is enrolled already", "host join-token web8.example.com"},
		"clock an hour ahead": {one.Token, named, time.Hour, 403, restart.CodeClockSkew, "1 hour ahead", "set the clock"},
		"clock behind":        {one.Token, named, -time.Hour, 403, restart.CodeClockSkew, "1 hour behind", "has not been used"},
		"a name like options": {one.Token, named, 0, 422, restart.CodeInvalid, "not a valid name", ""},
	} {
		h := machine(t, c.host)
		before := len(records(t, s, audit.HostJoin))
		var resp apitest.Answer
		if name == "a name like options" {
			token, _ := pki.ParseJoinToken(c.token)
			resp = s.Request("POST", "/api/v1/join", token.Secret, []byte(`{"host":"-oProxyCommand=x","csr":"","clock":"2026-01-01T00:00:00Z"}`), nil)
		} else {
			resp = h.join(t, s, c.token, c.off)
		}
		p := problem(t, resp, c.status)
		if p.Code != c.code || !strings.Contains(p.Detail, c.says) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: %+v", name, p)
		}
		if got := len(records(t, s, audit.HostJoin)); got != before+1 {
			t.Errorf("%s: %d records more", name, got-before)
		}
	}
	// Another host's request with this host's name on the outside is not signed.
	token, _ := pki.ParseJoinToken(one.Token)
	_, csr, err := pki.NewAgentCSR("web9.example.com")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(protocol.JoinRequest{Host: named, CSR: string(csr), Clock: time.Now()})
	problem(t, s.Request("POST", "/api/v1/join", token.Secret, body, nil), 422)
	// After all of that the named token is still good.
	decode[protocol.JoinAnswer](t, machine(t, named).join(t, s, one.Token, 0), 201)
	// Who has no token learns nothing but that.
	unknown := pki.NewJoinToken(pki.Pin{})
	none := problem(t, s.Request("POST", "/api/v1/join", "", []byte(`{}`), nil), 401)
	some := problem(t, machine(t, named).join(t, s, unknown.String(), 0), 401)
	if none.Detail != some.Detail || none.Hint != some.Hint {
		t.Errorf("%+v and %+v", none, some)
	}
	big := s.Request("POST", "/api/v1/join", token.Secret, []byte(`{"csr":"`+strings.Repeat("x", 2<<20)+`"}`), nil)
	if big.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MiB: %d", big.StatusCode)
	}
}

func TestTheLastUseIsOneHosts(t *testing.T) {
	s := apitest.Start(t, nil)
	made := joinToken(t, s, s.Token("root", admin), `{"pattern":"web*.example.com","count":1,"window":"8h"}`)
	hosts := []newHost{machine(t, "web1.example.com"), machine(t, "web2.example.com"), machine(t, "web3.example.com"), machine(t, "web4.example.com")}
	var won, lost atomic.Int64
	var all sync.WaitGroup
	for _, h := range hosts {
		all.Go(func() {
			switch h.join(t, s, made.Token, 0).StatusCode {
			case http.StatusCreated:
				won.Add(1)
			case http.StatusForbidden:
				lost.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 3 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func TestJoinTokensAreForAdmins(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, root := s.Token("anna", developer), s.Token("root", admin)
	made := joinToken(t, s, root, `{"host":"`+named+`"}`)
	problem(t, s.Request("POST", "/api/v1/join-tokens", anna, []byte(`{"host":"web1.example.com"}`), nil), 403)
	problem(t, s.Request("GET", "/api/v1/join-tokens", anna, nil, nil), 403)
	problem(t, s.Request("DELETE", "/api/v1/join-tokens/"+made.ID, anna, nil, nil), 403)
	problem(t, s.Request("POST", "/api/v1/certificates/revoke", anna, []byte(`{"host":"web1.example.com","reason":"I do not like it"}`), nil), 403)
	if got := records(t, s, audit.JoinTokenCreated); len(got) != 2 {
		t.Errorf("trail: %q", got)
	}
	// An API token of an admin is no join token, and a join token no API token.
	problem(t, s.Request("POST", "/api/v1/join", root, []byte(`{}`), nil), 401)
	token, err := pki.ParseJoinToken(made.Token)
	if err != nil {
		t.Fatal(err)
	}
	problem(t, s.Request("GET", "/api/v1/whoami", token.Secret, nil, nil), 401)
	for _, body := range []string{
		`{}`, `{"host":"web1.example.com","pattern":"web*.example.com"}`, `{"host":"web1.example.com","count":2}`, `{"host":"web1.example.com","window":"8h"}`,
		`{"pattern":"*","count":1,"window":"1h"}`, `{"pattern":"*.com","count":1,"window":"1h"}`, `{"pattern":"web*.example.com","count":0,"window":"1h"}`,
		`{"pattern":"web*.example.com","count":10001,"window":"1h"}`, `{"pattern":"web*.example.com","count":1,"window":"169h"}`,
		`{"pattern":"web*.example.com","count":1}`, `{"pattern":"web.example.com","count":1,"window":"1h"}`, `{"host":"../evil"}`,
	} {
		if p := problem(t, s.Request("POST", "/api/v1/join-tokens", root, []byte(body), nil), 422); p.Code != restart.CodeInvalid {
			t.Errorf("%s: %+v", body, p)
		}
	}
}

func TestCertificatesAreRevoked(t *testing.T) {
	s := apitest.Start(t, nil)
	root := s.Token("root", admin)
	made := joinToken(t, s, root, `{"host":"`+named+`"}`)
	h := machine(t, named)
	answer := decode[protocol.JoinAnswer](t, h.join(t, s, made.Token, 0), 201)
	const why = "the disk left the building"
	revoke := func(body string) apitest.Answer {
		return s.Request("POST", "/api/v1/certificates/revoke", root, []byte(body), nil)
	}
	for body, status := range map[string]int{
		`{"reason":"` + why + `"}`: 422, `{"host":"web1.example.com","serial":"ff","reason":"` + why + `"}`: 422, `{"host":"` + named + `","reason":"x"}`: 422,
		`{"serial":"FF","reason":"` + why + `"}`: 422, `{"serial":"ff","reason":"` + why + `"}`: 404, `{"host":"web1.example.com","reason":"` + why + `"}`: 404,
	} {
		problem(t, revoke(body), status)
	}
	list := decode[wire.List[wire.Certificate]](t, revoke(`{"host":"`+named+`","reason":"`+why+`"}`), 200)
	if len(list.Items) != 1 || list.Items[0].Serial != serialIn(t, answer) || list.Items[0].State != wire.CertificateRevoked || list.Items[0].Revocation != why {
		t.Fatalf("%+v", list.Items)
	}
	if list = decode[wire.List[wire.Certificate]](t, revoke(`{"serial":"`+serialIn(t, answer)+`","reason":"`+why+`"}`), 200); len(list.Items) != 0 {
		t.Errorf("%+v", list.Items)
	}
	// The lost answer is not given out any more.
	problem(t, h.join(t, s, made.Token, 0), 403)
	if got := records(t, s, audit.CertificateRevoked); len(got) != 7 {
		t.Errorf("trail: %q", got)
	}
}
