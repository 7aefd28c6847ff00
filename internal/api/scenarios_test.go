package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/hiddeco/sshsig"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// The reviewers of these tests: anna writes.
const annaMail, olgaMail, ivanMail, paulMail = "anna@example.com", "olga@example.com", "ivan@example.com", "paul@example.com"

// desk is a server with review: signed, and its people.
type desk struct {
	t *testing.T
	*apitest.Server
	*apitest.Reviewers
	anna, olga, ivan, root, vera string // tokens
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	r := apitest.NewReviewers(t, annaMail, olgaMail, ivanMail, paulMail)
	s := apitest.StartReviewed(t, r.Review())
	return &desk{
		t: t, Server: s, Reviewers: r, anna: s.Token("anna", restart.RoleDeveloper), olga: s.Token("olga", restart.RoleReviewer),
		ivan: s.Token("ivan", restart.RoleReviewer), root: s.Token("root", restart.RoleAdmin), vera: s.Token("vera", restart.RoleViewer),
	}
}

// text is the shop's scenario with a serial of its own.
func text(serial int, more ...string) string {
	return fmt.Sprintf("format: 1\nname: shop-restart\nserial: %d\nauthor: %s\nkind: restart\nservices: [shop]\ndescription: Restart the shop\nrun_as: root\n%ssteps:\n  run: {script: \"systemctl restart #unit#\"}\nhealth:\n  new_process: {unit: \"#unit#\"}\n  healthy_for: 1s\n  deadline: 10s\n",
		serial, annaMail, strings.Join(more, ""))
}

// send asks the API and wants a status; the answer goes into out, unless nil.
func (d *desk) send(method, path, token string, in any, status int, out any) *wire.Problem {
	d.t.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			d.t.Fatal(err)
		}
	}
	resp := d.Request(method, "/api/v1/"+path, token, body, nil)
	if resp.StatusCode != status {
		var p wire.Problem
		json.NewDecoder(resp.Body).Decode(&p)
		d.t.Fatalf("%s %s: %s, want %d: %+v", method, path, resp.Status, status, p)
	}
	if status >= 400 {
		var p wire.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			d.t.Fatal(err)
		}
		return &p
	}
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			d.t.Fatal(err)
		}
	}
	return nil
}

func (d *desk) push(token, body string, sigs ...wire.SignatureRequest) wire.ScenarioVersion {
	d.t.Helper()
	var v wire.ScenarioVersion
	d.send("POST", "scenario-versions", token, wire.ScenarioProposal{Body: body, Signatures: sigs}, 201, &v)
	return v
}

func (d *desk) sign(token, principal, body string) wire.ScenarioVersion {
	d.t.Helper()
	var v wire.ScenarioVersion
	d.send("POST", "scenario-versions/"+scenario.Digest([]byte(body))+"/signatures", token, d.Sign(principal, body), 201, &v)
	return v
}

func (d *desk) plan(status int) *wire.Problem {
	d.t.Helper()
	return d.send("POST", "plans", d.anna, restart.Request{Service: "shop", Kind: restart.KindRestart, Reason: "502s since the 14:00 deploy"}, status, nil)
}

// planned gives the serial that a plan would use.
func (d *desk) planned() string {
	d.t.Helper()
	var p restart.Plan
	d.send("POST", "plans", d.anna, restart.Request{Service: "shop", Reason: "502s since the 14:00 deploy"}, 200, &p)
	return p.Digest
}

func (d *desk) records(action audit.Action) []audit.Record {
	d.t.Helper()
	list, _, err := d.Store.AuditSearch(d.t.Context(), store.AuditFilter{Action: action, Limit: 200})
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// A version comes into force with its second signature, and not before; its
// author's does not count; every step is on record.
func TestReview(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if p := d.plan(403); p.Code != restart.CodeNotReviewed || !strings.Contains(p.Detail, "plain-restart") {
		t.Errorf("what lies in the folder, unsigned: %+v", p)
	}
	one := text(1)
	v := d.push(d.anna, one)
	if v.Standing != "waiting" || v.State != restart.VersionProposed || v.ProposedBy != "anna" || v.Quorum != 2 || v.Good != 0 {
		t.Fatalf("%+v", v)
	}
	if again := d.push(d.anna, one); again.Digest != v.Digest {
		t.Errorf("the same again: %+v", again)
	}
	if p := d.send("POST", "scenario-versions/"+v.Digest+"/signatures", d.anna, d.Sign(annaMail, one), 403, nil); !strings.Contains(p.Detail, "author") {
		t.Errorf("its author signs: %+v", p)
	}
	if v = d.sign(d.olga, olgaMail, one); v.Standing != "waiting" || v.Good != 1 {
		t.Errorf("with one: %+v", v)
	}
	if p := d.plan(403); p.Code != restart.CodeNotReviewed {
		t.Errorf("with one signature: %+v", p)
	}
	if v = d.sign(d.ivan, ivanMail, one); v.Standing != "in_force" || v.State != restart.VersionApproved || v.ApprovedAt == nil {
		t.Errorf("with two: %+v", v)
	}
	if got := d.planned(); got != v.Digest {
		t.Errorf("planned with %s", got)
	}
	two := text(2)
	d.push(d.anna, two, d.Sign(olgaMail, two), d.Sign(ivanMail, two))
	if got := d.planned(); got != scenario.Digest([]byte(two)) {
		t.Errorf("after the second: %s", got)
	}
	for action, n := range map[audit.Action]int{audit.ScenarioProposed: 3, audit.ScenarioSigned: 5, audit.ScenarioApproved: 2} { // plain-restart lay there; one refusal
		if got := d.records(action); len(got) != n {
			t.Errorf("%d records of %s, want %d: %+v", len(got), action, n, got)
		}
	}
	var versions wire.List[wire.ScenarioVersion]
	d.send("GET", "scenario-versions?name=shop-restart", d.vera, nil, 200, &versions)
	if len(versions.Items) != 2 || versions.Items[0].Serial != 2 || versions.Items[1].Standing != "superseded" {
		t.Errorf("%+v", versions.Items)
	}
}

// What is pushed must go forward, and never change.
func TestPushGoesForward(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	three := text(3)
	d.push(d.anna, three, d.Sign(olgaMail, three), d.Sign(ivanMail, three))
	for name, c := range map[string]struct {
		token, body string
		status      int
		says, hint  string
	}{
		"the same serial, other bytes": {d.anna, text(3, "holds: group\n"), 409, "other bytes", "raise the serial"},
		"a lower serial":               {d.anna, text(2), 409, "serial 3 is approved", "raise the serial to 4"},
		"a viewer":                     {d.vera, text(4), 403, "developer or reviewer", "ask an admin"},
		"what lint refuses":            {d.anna, "format: 1\nname: x\n", 422, "", ""},
		"not YAML":                     {d.anna, "{", 422, "", ""},
		"empty":                        {d.anna, "", 422, "", ""},
		"too long":                     {d.anna, text(4) + strings.Repeat("# x\n", 300_000), 413, "at most 524288", ""},
	} {
		p := d.send("POST", "scenario-versions", c.token, wire.ScenarioProposal{Body: c.body}, c.status, nil)
		if !strings.Contains(p.Detail, c.says) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if got := d.records(audit.ScenarioProposed); len(got) != 9 { // plain-restart, serial 3, seven refusals
		t.Errorf("%d records: %+v", len(got), got)
	}
}

// Who proposes first, or high, or much, keeps nobody else from proposing, and
// a reviewer takes it away.
func TestNobodySquats(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	mallory := d.Token("mallory", restart.RoleDeveloper)
	one := text(1)
	d.push(d.anna, one, d.Sign(olgaMail, one), d.Sign(ivanMail, one))
	var theirs []string
	for i := range 18 {
		theirs = append(theirs, d.push(mallory, text(2+i, "holds: group\n")).Digest)
	}
	theirs = append(theirs, d.push(mallory, text(1_000_000_000, "holds: group\n")).Digest)
	d.push(mallory, strings.Replace(text(2), "shop-restart", "other-restart", 1))
	propose := func(token, body string, status int) *wire.Problem {
		return d.send("POST", "scenario-versions", token, wire.ScenarioProposal{Body: body}, status, nil)
	}
	if p := propose(mallory, text(30), 429); p.Code != restart.CodeTooMany || !strings.Contains(p.Hint, "withdrawn by a reviewer") {
		t.Errorf("%+v", p)
	}
	if p := propose(d.anna, text(1, "holds: group\n"), 409); !strings.Contains(p.Hint, "(to 2 or more)") { // as what counts stands
		t.Errorf("%+v", p)
	}
	if p := propose(mallory, text(2, "holds: environment\n"), 429); p.Code != restart.CodeTooMany {
		t.Errorf("%+v", p)
	}
	two := text(2)
	if v := d.push(d.anna, two, d.Sign(olgaMail, two), d.Sign(ivanMail, two)); v.Standing != "in_force" {
		t.Fatalf("serial 2, which somebody else has proposed: %+v", v)
	}
	if p := propose(d.anna, text(2, "holds: environment\n"), 409); !strings.Contains(p.Detail, "other bytes") || !strings.Contains(p.Hint, "(to 3 or more)") {
		t.Errorf("%+v", p)
	}
	d.push(mallory, text(30)) // his serial 2 waits for nobody any more
	propose(mallory, text(31), 429)
	why := wire.WithdrawRequest{Reason: "nobody has asked for this one"}
	d.send("POST", "scenario-versions/"+theirs[5]+"/withdraw", d.anna, why, 403, nil)
	d.send("POST", "scenario-versions/"+theirs[5]+"/withdraw", d.olga, why, 200, nil)
	d.push(mallory, text(31))
	seven := text(7) // the serial of the one that was withdrawn, which no host has seen
	if v := d.push(d.anna, seven); v.Standing != "waiting" {
		t.Errorf("%+v", v)
	}
	if p := propose(d.anna, text(7, "holds: environment\n"), 409); !strings.Contains(p.Detail, "other bytes") { // her own
		t.Errorf("%+v", p)
	}
}

// Hostile signatures are refused and recorded, and nothing of them is kept.
func TestHostileSignatures(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	body := text(1)
	v := d.push(d.anna, body)
	d.sign(d.olga, olgaMail, body)
	good := d.Sign(ivanMail, body)
	with := func(principal, armored string) wire.SignatureRequest {
		return wire.SignatureRequest{Principal: principal, Armored: armored}
	}
	other, err := sshsig.Sign(strings.NewReader(body), d.Keys[ivanMail], sshsig.HashSHA512, "file")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := signing.Sign([]byte(body), apitest.NewSigner(t))
	if err != nil {
		t.Fatal(err)
	}
	d.Revoke("key " + d.Fingerprint(paulMail))
	path := "scenario-versions/" + v.Digest + "/signatures"
	paul := d.Token("paul", restart.RoleReviewer)
	cases := map[string]struct {
		token  string
		req    wire.SignatureRequest
		status int
		says   string
	}{
		"wrong namespace":        {d.ivan, with(ivanMail, string(sshsig.Armor(other))), 403, "namespace"},
		"cut short":              {d.ivan, with(ivanMail, good.Armored[:len(good.Armored)/2]), 403, "damaged"},
		"empty":                  {d.ivan, with(ivanMail, ""), 403, "not an SSH signature"},
		"of another file":        {d.ivan, d.Sign(ivanMail, text(2)), 403, "not over these bytes"},
		"a stranger's key":       {d.ivan, with(ivanMail, string(stranger)), 403, "not among those"},
		"another's key":          {d.ivan, with(ivanMail, d.Sign(paulMail, body).Armored), 403, "is one of paul"},
		"another's name":         {d.ivan, d.Sign(paulMail, body), 403, "is signed in"},
		"a revoked key":          {paul, d.Sign(paulMail, body), 403, "revoked"},
		"twice":                  {d.olga, d.Sign(olgaMail, body), 409, "already"},
		"a path for a principal": {d.ivan, with("../../ivan", good.Armored), 403, ""},
		"a principal too long":   {d.ivan, with(strings.Repeat("i", 300), good.Armored), 422, ""},
		"an armor too long":      {d.ivan, with(ivanMail, strings.Repeat("A", 20_000)), 422, ""},
		"two in one":             {d.ivan, with(ivanMail, good.Armored+good.Armored), 403, "follows"},
		"no principal":           {d.ivan, with("", good.Armored), 403, ""},
	}
	for name, c := range cases {
		if p := d.send("POST", path, c.token, c.req, c.status, nil); !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if got := d.records(audit.ScenarioSigned); len(got) != 1+len(cases) {
		t.Errorf("%d records, want %d", len(got), 1+len(cases))
	}
	var r wire.ScenarioReview
	d.send("GET", "scenario-versions/"+v.Digest, d.vera, nil, 200, &r)
	if len(r.Version.Signatures) != 1 || r.Version.Standing != "waiting" || strings.Join(r.Version.Missing, " ") != ivanMail {
		t.Errorf("%+v", r.Version)
	}
	many := make([]wire.SignatureRequest, 65)
	for i := range many {
		many[i] = good
	}
	d.send("POST", "scenario-versions", d.anna, wire.ScenarioProposal{Body: text(2), Signatures: many}, 413, nil)
	d.send("POST", "scenario-versions", d.anna, wire.ScenarioProposal{Body: text(2), Signatures: many[:1]}, 403, nil) // all of them count, or nothing is kept
	huge := d.Request("POST", "/api/v1/scenario-versions", d.anna, []byte(`{"body":"`+strings.Repeat("x", 10<<20)+`"}`), nil)
	if huge.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("10 MiB: %s", huge.Status)
	}
	if got := d.records(audit.ScenarioProposed); len(got) != 5 || got[len(got)-1].Outcome != string(restart.CodeTooLarge) {
		t.Errorf("%d records: %+v", len(got), got)
	}
	var list wire.List[wire.ScenarioVersion]
	d.send("GET", "scenario-versions?name=shop-restart", d.vera, nil, 200, &list)
	if len(list.Items) != 1 {
		t.Errorf("%+v", list.Items)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	one, two := text(1), text(2)
	d.push(d.anna, one, d.Sign(olgaMail, one), d.Sign(ivanMail, one))
	v := d.push(d.anna, two, d.Sign(olgaMail, two), d.Sign(ivanMail, two))
	path, why := "scenario-versions/"+v.Digest+"/withdraw", wire.WithdrawRequest{Reason: "it forgets to wait for the drain"}
	d.send("POST", path, d.anna, why, 403, nil)
	if p := d.send("POST", path, d.olga, wire.WithdrawRequest{Reason: "x"}, 422, nil); p.Code != restart.CodeReason {
		t.Errorf("%+v", p)
	}
	run := d.send("POST", "scenario-versions/"+strings.Repeat("0", 64)+"/withdraw", d.olga, why, 404, nil)
	if run.Hint == "" {
		t.Errorf("%+v", run)
	}
	var gone wire.ScenarioVersion
	d.send("POST", path, d.olga, why, 200, &gone)
	if gone.Standing != "withdrawn" || gone.WithdrawnBy != "olga" || gone.Reason != why.Reason {
		t.Errorf("%+v", gone)
	}
	d.send("POST", path, d.olga, why, 409, nil)
	if got := d.planned(); got != scenario.Digest([]byte(one)) {
		t.Errorf("after the withdrawal: %s", got)
	}
	if p := d.send("POST", "scenario-versions", d.anna, wire.ScenarioProposal{Body: two}, 409, nil); !strings.Contains(p.Detail, "withdrawn by olga") {
		t.Errorf("pushed again: %+v", p)
	}
	d.send("POST", "scenario-versions/"+v.Digest+"/signatures", d.olga, d.Sign(olgaMail, two), 409, nil)
	if got := d.records(audit.ScenarioWithdrawn); len(got) != 5 {
		t.Errorf("%d records: %+v", len(got), got)
	}
}

// A run whose version is withdrawn, or its signers' key revoked, touches no
// further host; its expiry does not stop it.
func TestWithdrawnVersionStopsARun(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*desk, string){
		"withdrawn": func(d *desk, digest string) {
			d.send("POST", "scenario-versions/"+digest+"/withdraw", d.olga, wire.WithdrawRequest{Reason: "it forgets to wait for the drain"}, 200, nil)
		},
		"revoked":     func(d *desk, digest string) { d.Revoke("scenario " + digest) },
		"key revoked": func(d *desk, _ string) { d.Revoke("key " + d.Fingerprint(ivanMail)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			body := text(1)
			v := d.push(d.anna, body, d.Sign(olgaMail, body), d.Sign(ivanMail, body))
			run := restart.Run{Actor: "anna", Service: "shop", Environment: "production", Scenario: "shop-restart", Digest: v.Digest, Kind: restart.KindRestart, Plan: &restart.Plan{Service: restart.Service{Name: "shop", Owners: []string{"anna"}}}}
			if cause, why := d.Control.MayGoOn(t.Context(), run); cause != "" {
				t.Fatalf("before: %s %s", cause, why)
			}
			newer := text(2)
			d.push(d.anna, newer, d.Sign(olgaMail, newer), d.Sign(paulMail, newer))
			if cause, why := d.Control.MayGoOn(t.Context(), run); cause != "" {
				t.Fatalf("with a newer one in force: %s %s", cause, why)
			}
			stop(d, v.Digest)
			cause, why := d.Control.MayGoOn(t.Context(), run)
			if cause != restart.CauseGate || !strings.Contains(why, "shop-restart serial 1") {
				t.Errorf("%s %q", cause, why)
			}
		})
	}
}

// Without its list of signers nothing is in force, and everybody is told why.
func TestBrokenSigners(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	body := text(1)
	d.push(d.anna, body, d.Sign(olgaMail, body), d.Sign(ivanMail, body))
	if err := os.WriteFile(d.Signers, []byte("olga@example.com ssh-ed25519 AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := d.plan(503); !strings.Contains(p.Detail, "line 1") || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	d.send("POST", "scenario-versions", d.anna, wire.ScenarioProposal{Body: text(2)}, 503, nil)
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	body := text(1)
	d.push(d.anna, body, d.Sign(olgaMail, body), d.Sign(ivanMail, body))
	ask := func(without string) wire.ScenarioCoverage {
		t.Helper()
		var list wire.List[wire.ScenarioCoverage]
		d.send("GET", "scenario-coverage?without="+url.QueryEscape(without), d.vera, nil, 200, &list)
		if len(list.Items) != 1 {
			t.Fatalf("%+v", list.Items)
		}
		return list.Items[0]
	}
	for without, loses := range map[string]bool{ivanMail: true, d.Fingerprint(olgaMail): true, paulMail: false} {
		if c := ask(without); c.Loses != loses || c.Good != 2 {
			t.Errorf("without %s: %+v", without, c)
		}
	}
	d.sign(d.Token("paul", restart.RoleReviewer), paulMail, body)
	if c := ask(ivanMail); c.Loses || c.Left != 2 {
		t.Errorf("with a third signature: %+v", c)
	}
	d.send("GET", "scenario-coverage?without=SHA256:short", d.vera, nil, 422, nil)
	stranger := ssh.FingerprintSHA256(apitest.NewSigner(t).PublicKey())
	for _, unknown := range []string{stranger, "ivan"} {
		d.send("GET", "scenario-coverage?without="+url.QueryEscape(unknown), d.vera, nil, 404, nil)
	}
}

// The folder may be a checkout: its files and the signatures beside them are
// proposals like those that are pushed.
func TestFolderOfProposals(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	put := func(name, body string, sigs ...string) {
		t.Helper()
		path := filepath.Join(d.Shelf, name)
		if err := os.MkdirAll(path+signing.FolderSuffix, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, s := range sigs {
			if err := os.WriteFile(filepath.Join(path+signing.FolderSuffix, s+signing.FileSuffix), []byte(d.Sign(s, body).Armored), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("shop.yaml", text(2), olgaMail)
	d.plan(403)
	put("shop.yaml", text(2), ivanMail)
	if got := d.planned(); got != scenario.Digest([]byte(text(2))) {
		t.Errorf("planned with %s", got)
	}
	put("shop.yaml", text(2, "holds: group\n"), olgaMail, ivanMail) // the serial was forgotten
	if got := d.planned(); got != scenario.Digest([]byte(text(2))) {
		t.Errorf("planned with %s", got)
	}
	var problems wire.List[wire.ScenarioProblem]
	d.send("GET", "scenario-problems", d.vera, nil, 200, &problems)
	if len(problems.Items) != 1 || problems.Items[0].File != "shop.yaml" || !strings.Contains(problems.Items[0].Why, "raise the serial") {
		t.Errorf("%+v", problems.Items)
	}
	if err := os.RemoveAll(filepath.Join(d.Shelf, "shop.yaml"+signing.FolderSuffix)); err != nil {
		t.Fatal(err)
	}
	put("shop.yaml", text(3), olgaMail, ivanMail)
	if got := d.planned(); got != scenario.Digest([]byte(text(3))) {
		t.Errorf("planned with %s", got)
	}
}

// With review: files nothing is new: what lies in the folder is in force, and
// its versions are remembered.
func TestReviewFiles(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, nil)
	d := &desk{t: t, Server: s, anna: s.Token("anna", restart.RoleDeveloper), root: s.Token("root", restart.RoleAdmin)}
	for name, p := range map[string]*wire.Problem{
		"push":     d.send("POST", "scenario-versions", d.root, wire.ScenarioProposal{Body: text(1)}, 409, nil),
		"withdraw": d.send("POST", "scenario-versions/"+scenario.Digest([]byte(apitest.Scenario))+"/withdraw", d.root, wire.WithdrawRequest{Reason: "it forgets to wait for the drain"}, 409, nil),
		"coverage": d.send("GET", "scenario-coverage?without="+annaMail, d.root, nil, 409, nil),
	} {
		if !strings.Contains(p.Detail, "review: files") || p.Hint == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	before := d.planned()
	changed := strings.Replace(apitest.Scenario, "serial: 1", "serial: 2", 1)
	if err := os.WriteFile(filepath.Join(s.Shelf, "plain-restart.yaml"), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	var list wire.List[wire.ScenarioVersion]
	d.send("GET", "scenario-versions", d.anna, nil, 200, &list) // the first was not looked at before it changed
	if len(list.Items) != 1 || list.Items[0].Standing != "in_force" || list.Items[0].Quorum != 0 {
		t.Errorf("%+v", list.Items)
	}
	if after := d.planned(); after == before || after != scenario.Digest([]byte(changed)) {
		t.Errorf("%s, then %s", before, after)
	}
	over := strings.Replace(changed, "serial: 2", "serial: 3\nexpires: 2020-02-29", 1)
	if err := os.WriteFile(filepath.Join(s.Shelf, "plain-restart.yaml"), []byte(over), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := d.plan(403); p.Code != restart.CodeNotReviewed || !strings.Contains(p.Detail, "2020-02-29") || !strings.Contains(p.Hint, "higher serial") {
		t.Errorf("%+v", p)
	}
	d.send("GET", "scenario-versions", d.anna, nil, 200, &list)
	if len(list.Items) != 2 || list.Items[0].Standing != "expired" || list.Items[1].Standing != "superseded" {
		t.Errorf("%+v", list.Items)
	}
}

// The end of a version is told 30, 14 and 3 days ahead, once each.
func TestExpiryIsTold(t *testing.T) {
	t.Parallel()
	r := apitest.NewReviewers(t, annaMail, olgaMail, ivanMail)
	s := apitest.StartReviewed(t, r.Review())
	d := &desk{t: t, Server: s, Reviewers: r, anna: s.Token("anna", restart.RoleDeveloper)}
	body := text(1, "expires: "+time.Now().UTC().AddDate(0, 0, 9).Format(time.DateOnly)+"\n")
	v := d.push(d.anna, body, d.Sign(olgaMail, body), d.Sign(ivanMail, body))
	for range 3 {
		if err := d.Control.WarnOfExpiry(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	due, err := d.Store.DueMessages(t.Context(), []string{"test"}, time.Minute, 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("%+v, %v", due, err)
	}
	var n wire.Notification
	if err := json.Unmarshal(due[0].Body, &n); err != nil || n.Event != wire.EventScenarioExpires || n.Digest != v.Digest || n.ExpiresAt == nil || !strings.HasSuffix(n.URL, "/scenarios/shop-restart") || n.Run != "" {
		t.Errorf("%+v, %v", n, err)
	}
	counts, err := d.Control.CountScenarios(t.Context())
	if want := (control.ScenarioCounts{InForce: 1, Waiting: 1, NextExpiry: *v.Expires, Expiring: 1}); err != nil || counts != want {
		t.Errorf("%+v, %v", counts, err)
	}
}

// everybody is a Directory in which all are developers.
type everybody struct{}

func (everybody) Person(_ context.Context, name string) (restart.Actor, error) {
	return restart.Actor{Name: name, Roles: []restart.Role{restart.RoleDeveloper}}, nil
}

func (e everybody) Present(ctx context.Context, name string) (restart.Actor, error) {
	return e.Person(ctx, name)
}

// A version whose last day is over is planned with no more, and brings none
// back; a run that has it goes on.
func TestExpiredVersion(t *testing.T) {
	t.Parallel()
	r := apitest.NewReviewers(t, annaMail, olgaMail, ivanMail)
	var ahead atomic.Int64
	s := apitest.StartReviewed(t, r.Review(), func(c *control.Config) {
		c.People = everybody{}
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	d := &desk{t: t, Server: s, Reviewers: r, anna: s.Token("anna", restart.RoleDeveloper)}
	one, two := text(1), text(2, "expires: "+time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly)+"\n")
	d.push(d.anna, one, d.Sign(olgaMail, one), d.Sign(ivanMail, one))
	v := d.push(d.anna, two, d.Sign(olgaMail, two), d.Sign(ivanMail, two))
	if got := d.planned(); got != v.Digest {
		t.Fatalf("planned with %s", got)
	}
	ahead.Store(int64(4 * 24 * time.Hour))
	if p := d.plan(403); p.Code != restart.CodeNotReviewed || !strings.Contains(p.Detail, "serial 2 may be used no more") || !strings.Contains(p.Hint, "higher serial") {
		t.Errorf("%+v", p)
	}
	run := restart.Run{Actor: "anna", Service: "shop", Environment: "production", Scenario: "shop-restart", Digest: v.Digest, Kind: restart.KindRestart, Plan: &restart.Plan{Service: restart.Service{Name: "shop", Owners: []string{"anna"}}}}
	if cause, why := d.Control.MayGoOn(t.Context(), run); cause != restart.CauseGate || !strings.Contains(why, "used no more") {
		t.Errorf("a run under way, which hosts would refuse: %s %s", cause, why)
	}
	run.Work = restart.WorkUndrain
	if cause, why := d.Control.MayGoOn(t.Context(), run); cause != "" {
		t.Errorf("drained hosts are put back: %s %s", cause, why)
	}
	counts, err := d.Control.CountScenarios(t.Context())
	if err != nil || counts.Expired != 1 || counts.InForce != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
}
