package e2e

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // as the servers speak to the database

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// askApproval lays rules that ask for an approval of restarts.
func askApproval(c *company.Company) {
	text := fmt.Sprintf(`format: 1
roles: {developer: [everybody]}
rules:
  - {allow: [see], to: [everybody]}
  - {allow: [restart, dump, control, approve], to: [owners]}
  - {allow: [all], to: ["role:admin"]}
approval:
  - {environments: [%s], within: 1h}
`, demo.Environment)
	if err := os.WriteFile(filepath.Join(c.ServerDir(), "rules.yaml"), []byte(text), 0o600); err != nil {
		panic(err)
	}
}

// Two servers on one PostgreSQL: of those who decide at once through either,
// exactly one wins; the run starts once, or not at all. A run that nobody
// decides about is ended once, though both look.
func TestTwoServersApproveAtOnce(t *testing.T) {
	t.Parallel()
	dsn := storetest.StartPostgres(t).NewDSN(t)
	c := company.New(t, company.Options{Servers: 1, DSN: dsn, Prepare: askApproval})
	second := c.NewServer(2)
	second.Start()
	approver := func(name string) string {
		token, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: name, Owner: name, Roles: []restart.Role{restart.RoleAdmin}})
		if err != nil {
			t.Fatal(err)
		}
		return token.Secret
	}
	bob, carol := second.Client(approver("bob")), c.Client(approver("carol"))
	records := func(id string, action audit.Action) (made int) {
		list, err := c.Admin.Audit(t.Context(), wire.AuditQuery{Run: id, Action: string(action), Limit: 200})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.Items {
			if r.Outcome == "" || r.Outcome == string(restart.RunAborted) {
				made++
			}
		}
		return made
	}
	for round := range 4 {
		run := asked(t, c)
		var wait sync.WaitGroup
		errs := make([]error, 2)
		verdict := func(x *client.Client, approve bool) error {
			req := wire.ApprovalRequest{Reason: "looked at the graphs", Seen: wire.Seen{Version: run.Version}}
			if approve {
				_, err := x.Approve(t.Context(), run.ID, req)
				return err
			}
			_, err := x.Reject(t.Context(), run.ID, req)
			return err
		}
		wait.Go(func() { errs[0] = verdict(bob, true) })
		wait.Go(func() { errs[1] = verdict(carol, round%2 == 0) })
		wait.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: %v and %v", round, errs[0], errs[1])
		}
		for _, err := range errs {
			if code := restart.CodeOf(err); err != nil && code != restart.CodeConflict {
				t.Errorf("round %d: %v", round, err)
			}
		}
		done := until(t, c, c.Dev, run.ID, restart.RunCompleted, restart.RunRejected)
		account(t, c, done)
		if n := records(run.ID, audit.RunApproved) + records(run.ID, audit.RunRejected); n != 1 {
			t.Errorf("round %d: %d records of one verdict", round, n)
		}
		if by := done.Approval.By; by != "bob" && by != "carol" || (errs[0] == nil) != (by == "bob") {
			t.Errorf("round %d: %+v; %v and %v", round, done.Approval, errs[0], errs[1])
		}
	}
	run := asked(t, c)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.ExecContext(t.Context(), "UPDATE runs SET approval_until = 1 WHERE id = $1", run.ID); err != nil {
		t.Fatal(err)
	}
	over := until(t, c, second.Client(c.DevToken), run.ID, restart.RunAborted)
	if over.Cause != restart.CauseExpired || states(over) != "not_started not_started not_started" || records(run.ID, audit.RunApprovalExpired) != 1 {
		t.Errorf("%s (%s), %s, %d records", over.State, over.Cause, states(over), records(run.ID, audit.RunApprovalExpired))
	}
}

// asked asks for a run that waits.
func asked(t *testing.T, c *company.Company) restart.Run {
	t.Helper()
	run, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	if err == nil {
		run, err = c.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
	}
	if err != nil || run.State != restart.RunAwaitingApproval {
		t.Fatalf("the run is %s: %v", run.State, err)
	}
	return run
}
