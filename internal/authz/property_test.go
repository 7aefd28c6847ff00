package authz_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// line draws a rule that the parser takes, but for its effect.
func drawRule(t *rapid.T, effect string) string {
	actions := []string{"restart", "dump", "control", "approve", "break-glass"}
	pick := func(label string, from ...string) string {
		list := rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, 2, rapid.ID[string]).Draw(t, label)
		return `["` + strings.Join(list, `", "`) + `"]`
	}
	text := fmt.Sprintf("{%s: %s, to: %s", effect, pick("actions", actions...), pick("to", "owners", "everybody", "anna", "boris", "team:web", "role:developer", "role:admin"))
	if rapid.Bool().Draw(t, "by service") {
		text += ", services: " + pick("services", "shop", "sh*", "bank", "*")
	}
	if rapid.Bool().Draw(t, "by environment") {
		text += ", environments: " + pick("environments", "testing", "production", "p*")
	}
	if rapid.Bool().Draw(t, "by group") {
		text += ", groups: " + pick("groups", "g1", "g*")
	}
	return text + "}"
}

func drawRules(t *rapid.T, effect string, least int) []string {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string { return drawRule(t, effect) }), least, 5).Draw(t, effect)
}

func rulesOf(t *rapid.T, lines []string) *authz.Rules {
	r, err := authz.Parse("rules.yaml", []byte("format: 1\nrules:\n  - "+strings.Join(lines, "\n  - ")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drawActor(t *rapid.T) restart.Actor {
	return restart.Actor{
		Name:  rapid.SampledFrom([]string{"anna", "boris", "vera"}).Draw(t, "name"),
		Roles: rapid.SliceOfDistinct(rapid.SampledFrom(restart.Roles()), rapid.ID[restart.Role]).Draw(t, "roles"),
		Teams: rapid.SliceOfDistinct(rapid.SampledFrom([]string{"web", "db"}), rapid.ID[string]).Draw(t, "teams"),
	}
}

func drawObject(t *rapid.T) authz.Object {
	return authz.Object{
		Service: restart.Service{
			Name:   rapid.SampledFrom([]string{"shop", "bank", "mail"}).Draw(t, "service"),
			Owners: rapid.SliceOfDistinct(rapid.SampledFrom([]string{"anna", "boris", "team:web"}), rapid.ID[string]).Draw(t, "owners"),
		},
		Environment: rapid.SampledFrom([]string{"", "testing", "production", authz.Anywhere}).Draw(t, "environment"),
		Group:       rapid.SampledFrom([]string{"", "g1", "g2", "x", authz.Anywhere}).Draw(t, "group"),
	}
}

var drawn = rapid.SampledFrom([]authz.Action{authz.Restart, authz.Dump, authz.Control, authz.Approve, authz.BreakGlass})

// One more rule that denies never allows anybody more.
func TestADenyNeverAllowsMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := append(drawRules(t, "allow", 1), drawRules(t, "deny", 0)...)
		before, after := rulesOf(t, lines), rulesOf(t, append(lines, drawRule(t, "deny")))
		actor, action, object := drawActor(t), drawn.Draw(t, "action"), drawObject(t)
		if !before.Decide(actor, action, object).Allowed && after.Decide(actor, action, object).Allowed {
			t.Fatalf("%v %s %v is allowed by one deny more", actor, action, object)
		}
		if len(after.WhoCan(action, object)) > len(before.WhoCan(action, object)) {
			t.Fatal("more can by one deny more")
		}
	})
}

// The order of rules does not matter.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lines := append(drawRules(t, "allow", 1), drawRules(t, "deny", 0)...)
		other := rapid.Permutation(lines).Draw(t, "other order")
		actor, action, object := drawActor(t), drawn.Draw(t, "action"), drawObject(t)
		if a, b := rulesOf(t, lines).Decide(actor, action, object).Allowed, rulesOf(t, other).Decide(actor, action, object).Allowed; a != b {
			t.Fatalf("%v, and %v in another order", a, b)
		}
	})
}

// Who may somewhere may at the question before it is known where: the first
// question never refuses what the second would allow.
func TestAnywhereRefusesNothingThatMayBeAllowed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := rulesOf(t, append(drawRules(t, "allow", 1), drawRules(t, "deny", 0)...))
		actor, action, object := drawActor(t), drawn.Draw(t, "action"), drawObject(t)
		if !rules.Decide(actor, action, object).Allowed {
			return
		}
		for _, wider := range []authz.Object{authz.OfService(object.Service), authz.Wherever()} {
			if d := rules.Decide(actor, action, wider); !d.Allowed {
				t.Fatalf("%v: allowed on %+v, and nowhere: %s", actor, object, d.Why)
			}
		}
	})
}

// Nobody with the role viewer alone does anything but look, whatever is allowed
// to people, teams, owners and everybody.
func TestAViewerOnlyLooks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var lines []string
		for _, l := range drawRules(t, "allow", 1) {
			if !strings.Contains(l, "role:") {
				lines = append(lines, l)
			}
		}
		if len(lines) == 0 {
			return
		}
		actor := drawActor(t)
		actor.Roles = []restart.Role{restart.RoleViewer}
		if d := rulesOf(t, lines).Decide(actor, drawn.Draw(t, "action"), drawObject(t)); d.Allowed {
			t.Fatalf("%+v", d)
		}
	})
}

// What `server init` writes is what holds without a file.
func TestTheShippedFileIsTheDefault(t *testing.T) {
	t.Parallel()
	file := parse(t, string(authz.Shipped))
	if bytes.Contains(authz.Shipped, []byte("\t")) || file.Digest() != authz.Default().Digest() {
		t.Error("another file")
	}
	rapid.Check(t, func(t *rapid.T) {
		actor, object := drawActor(t), drawObject(t)
		action := rapid.SampledFrom(authz.Actions()).Draw(t, "action")
		a, b := authz.Default().Decide(actor, action, object), file.Decide(actor, action, object)
		if a.Allowed != b.Allowed || a.Who != b.Who {
			t.Fatalf("%+v, and by the file %+v", a, b)
		}
	})
}
