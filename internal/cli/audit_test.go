package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// TestFollowTheTrail: each record is given once, in the order of storing, as
// soon as it has its place; also one that happened long ago.
func TestFollowTheTrail(t *testing.T) {
	s := apitest.Start(t, nil)
	c, err := client.New(client.Config{URL: s.URL, CAFile: s.CAFile, Token: s.Token("olga", restart.RoleAuditor)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	add := func(many int, actor string, place bool) {
		for range many {
			n++
			r := audit.Record{Action: audit.SignIn, Actor: actor, Detail: fmt.Sprint("n", n, "\n\x1b[2J"), Time: time.Now().UTC().Add(-time.Duration(n) * time.Hour)}
			if err := s.Store.AppendAudit(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if place {
			if _, err := s.Store.Sequence(t.Context(), "server-1", 0, func(h audit.Head, r *audit.Record) { r.Link(h) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(70, "anna", true)
	steps := []func(){
		func() { add(1, "anna", true) }, func() { add(3, "boris", true) }, func() {}, func() { add(1, "anna", false) }, func() { add(250, "anna", true) }, func() {}, func() {}, func() {}, func() {}, func() { add(1, "anna", true) }, func() {},
	}
	var out bytes.Buffer
	err = cli.FollowAudit(t.Context(), &out, c, wire.AuditQuery{Newest: true, Limit: 2, Actor: "anna"}, false, func(context.Context) error {
		if len(steps) == 0 {
			return io.EOF
		}
		steps[0]()
		steps = steps[1:]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range n + 1 {
		if i == 1 || i == 2 { // the newest by when they happened
			want = append([]string{fmt.Sprintf(`n%d\n\x1b[2J`, i)}, want...)
		} else if i > 70 && (i < 72 || i > 74) {
			want = append(want, fmt.Sprintf(`n%d\n\x1b[2J`, i))
		}
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		got = append(got, fields[len(fields)-1])
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
