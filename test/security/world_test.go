package security

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const inventory = `
services:
  - {name: own, unit: own.service, owners: [anna]}
  - {name: teams, unit: teams.service, owners: ["team:web"]}
  - {name: others, unit: others.service, owners: [kate, "team:db"]}
  - {name: ownerless, unit: ownerless.service}
groups:
  - {name: own-production, environment: production, services: [own], hosts: [web1]}
  - {name: teams-production, environment: production, services: [teams], hosts: [web2]}
  - {name: others-production, environment: production, services: [others], hosts: [web3]}
  - {name: ownerless-production, environment: production, services: [ownerless], hosts: [web4]}
hosts:
  - {name: web1, address: 192.0.2.1}
  - {name: web2, address: 192.0.2.2}
  - {name: web3, address: 192.0.2.3}
  - {name: web4, address: 192.0.2.4}
`

const dumpScenario = `format: 1
name: plain-dump
serial: 1
author: review@example.com
kind: thread-dump
services: ["*"]
description: Dump the unit
run_as: root
strategy: {batches: [50]}
steps:
  run: {script: "echo #unit#"}
`

// world is a server with everybody's tokens and one run of each service.
type world struct {
	*apitest.Server
	t       *testing.T
	people  []string
	cells   map[string]map[string]string
	tokens  map[string]string // by person
	runs    map[string]restart.Run
	drafts  map[string]restart.Run // the admin's, to be confirmed by nobody else
	planned map[string]string      // by service: id of what the admin has planned
	dumps   map[string]string      // by service: id of a thread dump of its run
	upload  string                 // id of a dump that the stranger has put in
	other   string                 // id of somebody's token
	seen    string                 // how far the audit trail has been read
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: apitest.Start(t, nil), t: t, runs: map[string]restart.Run{}, drafts: map[string]restart.Run{}, planned: map[string]string{}, dumps: map[string]string{}}
	w.people, w.cells = expected(t)
	must(t, os.WriteFile(filepath.Join(filepath.Dir(w.Shelf), "inventory.yaml"), []byte(inventory), 0o644))
	must(t, os.WriteFile(filepath.Join(w.Shelf, "plain-dump.yaml"), []byte(dumpScenario), 0o644))
	w.Teams("boris", "web")
	developer := restart.RoleDeveloper
	w.tokens = map[string]string{
		"nobody": "", "viewer": w.Token("anna", restart.RoleViewer), "owner": w.Token("anna", developer), "team": w.Token("boris", developer),
		"stranger": w.Token("vera", developer), "reviewer": w.Token("rita", restart.RoleReviewer), "auditor": w.Token("olga", restart.RoleAuditor),
		"on-call": w.Token("anna", developer, restart.RoleBreakGlass), "admin": w.Token("root", restart.RoleAdmin), "revoked": w.Token("revoked", restart.RoleAdmin),
	}
	w.revoke("revoked")
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	must(t, w.Store.CreateToken(t.Context(), store.Token{
		ID: restart.NewID(now), Name: "test", Owner: "expired", Roles: []restart.Role{restart.RoleAdmin}, Hash: hash, CreatedAt: now.Add(-2 * time.Hour), ExpiresAt: now.Add(-time.Hour),
	}))
	w.tokens["expired"] = secret
	for _, s := range services {
		w.runs[s] = w.finished(s)
		w.drafts[s] = w.draft(s)
		w.planned[s] = w.plan(s)
		w.dumps[s] = w.dumpOf(w.runs[s])
	}
	upload, err := w.Archive.Upload(t.Context(), "vera", "vera.txt", strings.NewReader(threads), audit.Record{Action: audit.DumpUploaded})
	must(t, err)
	w.upload = upload.ID
	w.other = w.again()
	return w
}

// threads is a thread dump, with a secret of a service in it.
const threads = `2026-11-22 20:00:00
Full thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode, sharing):

"canary-in-a-dump" #12 daemon prio=5 os_prio=0 cpu=1.50ms elapsed=10.00s tid=0x00007f0000000040 nid=0x64 waiting on condition  [0x00007f1100000000]
   java.lang.Thread.State: WAITING (parking)
	at jdk.internal.misc.Unsafe.park(java.base@17.0.9/Native Method)
	at com.example.Pool.borrow(Pool.java:42)

`

// recorded gives what somebody has put into the audit trail since it was asked last.
func (w *world) recorded(actor string) []audit.Record {
	w.t.Helper()
	var own []audit.Record
	for { // a page may have few records, or none, and not be the last
		before := w.seen
		records, next, err := w.Store.AuditSearch(w.t.Context(), store.AuditFilter{Stored: true, After: before, Limit: wire.MaxPage})
		must(w.t, err)
		w.seen = next
		for _, r := range records {
			if r.Actor == actor {
				own = append(own, r)
			}
		}
		if next == before {
			return own
		}
	}
}

// dumpOf stores a thread dump of a run, as its host would have had it fetched.
func (w *world) dumpOf(run restart.Run) string {
	w.t.Helper()
	task := run.Tasks[0]
	packed, err := pack.Pack([]byte(threads))
	must(w.t, err)
	r := protocol.DumpReport{N: 1, Number: 1, Of: 1, When: protocol.DumpRun, Runtime: dump.JVM, Method: "attach", PID: 4711, TakenAt: time.Now(), Stored: int64(len(packed))}
	w.Agents.Capture(task.Host, apitest.Captured{Report: r, Data: packed})
	must(w.t, w.Archive.Fetch(w.t.Context(), run, task, restart.Host{Name: task.Host}, r))
	w.Agents.Capture(task.Host)
	list, _, err := w.Store.Dumps(w.t.Context(), store.DumpFilter{Task: task.ID})
	must(w.t, err)
	return list[0].ID
}

func (w *world) tokenOf(owner string) string {
	w.t.Helper()
	list, err := w.Store.Tokens(w.t.Context(), owner)
	must(w.t, err)
	return list[0].ID
}

func (w *world) revoke(owner string) {
	w.t.Helper()
	must(w.t, w.Store.RevokeToken(w.t.Context(), w.tokenOf(owner), audit.Record{Time: time.Now().UTC(), Action: audit.TokenRevoked}))
}

// as asks the API as the admin, and wants it done.
func as[T any](w *world, method, path, body string) (v T) {
	w.t.Helper()
	answer := w.Request(method, path, w.tokens["admin"], []byte(body), nil)
	b, err := io.ReadAll(answer.Body)
	must(w.t, err)
	if answer.StatusCode >= 300 {
		w.t.Fatalf("%s %s: %d %s", method, path, answer.StatusCode, b)
	}
	must(w.t, json.Unmarshal(b, &v))
	return v
}

const reasonJSON = `"reason":"workers hang since the deploy"`

func (w *world) draft(service string) restart.Run {
	w.t.Helper()
	return as[restart.Run](w, "POST", "/api/v1/runs", `{"service":"`+service+`",`+reasonJSON+`}`)
}

// plan plans a run of a service for tomorrow, and gives its id.
func (w *world) plan(service string) string {
	w.t.Helper()
	return as[wire.Planned](w, "POST", v1+"/runs/"+w.draft(service).ID+"/later", `{"at":"`+time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339)+`"}`).ID
}

// finished gives a run of a service that is over.
func (w *world) finished(service string) restart.Run {
	w.t.Helper()
	run := w.draft(service)
	as[restart.Run](w, "POST", "/api/v1/runs/"+run.ID+"/start", `{}`)
	return w.until(run.ID, func(r restart.Run) bool { return r.State.Final() })
}

// boundTo makes a developer's token with bounds.
func (w *world) boundTo(owner string, scope restart.Scope) (secret string) {
	w.t.Helper()
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	must(w.t, w.Store.CreateToken(w.t.Context(), store.Token{
		ID: restart.NewID(now), Name: "test", Owner: owner, Roles: []restart.Role{restart.RoleDeveloper}, Scope: &scope, Hash: hash, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}))
	return secret
}

// again makes a token of somebody else, to be revoked.
func (w *world) again() string {
	w.t.Helper()
	_, hash := authn.NewSecret()
	now := time.Now().UTC()
	id := restart.NewID(now)
	must(w.t, w.Store.CreateToken(w.t.Context(), store.Token{ID: id, Name: "test", Owner: "kate", Hash: hash, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}))
	return id
}

// until waits until something holds of a run.
func (w *world) until(id string, ok func(restart.Run) bool) restart.Run {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		run := as[restart.Run](w, "GET", v1+"/runs/"+id, "")
		if ok(run) {
			return run
		}
		select {
		case <-tick.C:
		case <-late:
			w.t.Fatalf("waited in vain: %s", run.Summary())
		}
	}
}
