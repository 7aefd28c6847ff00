package cli

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
)

// A server that lies about what is in force is found out by the signatures.
func TestInForceIsProven(t *testing.T) {
	t.Parallel()
	const olga, ivan = "olga@example.com", "ivan@example.com"
	r := apitest.NewReviewers(t, olga, ivan)
	trusted := lists{signers: r.Signers, revoked: r.Revoked, quorum: 2}
	policy, err := trusted.policy()
	if err != nil {
		t.Fatal(err)
	}
	body := apitest.Scenario
	name := "plain-restart"
	version := func(body string, sigs ...wire.SignatureRequest) *wire.ScenarioVersion {
		v := &wire.ScenarioVersion{Name: name, Serial: 40971623, Digest: scenario.Digest([]byte(body)), Body: body}
		for _, s := range sigs {
			v.Signatures = append(v.Signatures, wire.ScenarioSignature{Principal: s.Principal, Armored: s.Armored, Counts: true})
		}
		return v
	}
	changed := strings.Replace(body, "systemctl", "true # systemctl", 1)
	if changed == body {
		changed = body + "\n# changed\n"
	}
	for what, c := range map[string]struct {
		name    string
		version *wire.ScenarioVersion
		want    string // in what is said, or in the error
		good    bool
	}{
		"signed":                 {name, version(body, r.Sign(olga, body), r.Sign(ivan, body)), "Against serial 1 (" + scenario.Digest([]byte(body)), true},
		"one signature":          {name, version(body, r.Sign(olga, body)), "1 of 2 needed", false},
		"none, that count":       {name, version(body), "0 of 2 needed", false},
		"one signer twice":       {name, version(body, r.Sign(olga, body), r.Sign(olga, body)), "1 of 2 needed", false},
		"signatures of another":  {name, version(changed, r.Sign(olga, body), r.Sign(ivan, body)), "of 2 needed|no scenario", false},
		"another scenario":       {"shop-restart", version(body, r.Sign(olga, body), r.Sign(ivan, body)), `a version of "plain-restart"`, false},
		"no scenario":            {name, version("{", r.Sign(olga, "{"), r.Sign(ivan, "{")), "no scenario", false},
		"nothing is in force":    {name, nil, "nobody can prove", true},
		"another serial claimed": {name, version(body, r.Sign(olga, body), r.Sign(ivan, body)), "signed by", true},
	} {
		against, err := trusted.inForce(c.name, c.version, policy)
		said := against
		if err != nil {
			said = err.Error()
		}
		found := false
		for want := range strings.SplitSeq(c.want, "|") {
			found = found || strings.Contains(said, want)
		}
		if (err == nil) != c.good || !found || strings.Contains(said, "40971623") || err != nil && restart.CodeOf(err) != restart.CodeBadSignature {
			t.Errorf("%s: %q, %v", what, against, err)
		}
	}
	r.Revoke("key " + r.Fingerprint(ivan))
	if policy, err = trusted.policy(); err != nil {
		t.Fatal(err)
	}
	if _, err := trusted.inForce(name, version(body, r.Sign(olga, body), r.Sign(ivan, body)), policy); restart.CodeOf(err) != restart.CodeBadSignature {
		t.Errorf("with a key that is revoked here: %v", err)
	}
}
