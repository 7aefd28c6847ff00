package control

import (
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Differences says how a plan differs from the one that was shown before it;
// empty = in nothing that was to be confirmed.
func Differences(shown, now restart.Plan) []string {
	if shown.Hash == now.Hash {
		return nil
	}
	return differences(shown, now)
}

// changed refuses to start what is not any more what was shown.
func changed(shown, now restart.Plan) *restart.Error {
	return restart.Errorf(restart.CodePlanChanged, "the plan is not true any more: %s", strings.Join(differences(shown, now), "; ")).WithHint("look at it again: plan anew")
}

// differences says how what is true now differs from what was shown.
func differences(shown, now restart.Plan) []string {
	var out []string
	if shown.Digest != now.Digest {
		out = append(out, fmt.Sprintf("scenario %s has another version now", shown.Scenario))
	}
	gone, come := "is not in the group any more", "has joined the group"
	if shown.Parent != "" {
		gone, come = "is not left to do any more, or not in the group", "is left to do now"
	}
	out = append(out, missing(shown.Asked(), now.Asked(), gone)...)
	out = append(out, missing(now.Asked(), shown.Asked(), come)...)
	if len(out) == 0 { // then of those that are only counted
		out = append(out, missing(shown.Hosts, now.Hosts, "is not in the group any more")...)
		out = append(out, missing(now.Hosts, shown.Hosts, "has joined the group")...)
	}
	if len(out) == 0 {
		out = append(out, "the inventory describes the service or the order of its hosts otherwise now")
	}
	return out
}

// missing says of each host of a that is not in b what has become of it.
func missing(a, b []restart.PlannedHost, what string) []string {
	in := map[string]bool{}
	for _, h := range b {
		in[h.Name] = true
	}
	var out []string
	for _, h := range a {
		if !in[h.Name] {
			out = append(out, h.Name+" "+what)
		}
	}
	return out
}
