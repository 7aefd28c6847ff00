package audit

import "strings"

// Area is what a record is about in the large: by it people look for records
// whose actions they don't know by name.
type Area string

// The areas.
const (
	AreaRuns      Area = "runs"      // asked for, decided and done on hosts; freezes and locks
	AreaDumps     Area = "dumps"     // thread dumps: taken, looked at, deleted
	AreaScenarios Area = "scenarios" // versions and their review
	AreaPeople    Area = "people"    // sign-ins, users, tokens, SSH keys
	AreaHosts     Area = "hosts"     // certificates, joining, what hosts tell of themselves
	AreaServer    Area = "server"    // its life, configuration and rules
	AreaTrail     Area = "trail"     // the trail itself: seals, exports
)

// Areas lists them in the order in which people are shown them.
func Areas() []Area {
	return []Area{AreaRuns, AreaDumps, AreaScenarios, AreaPeople, AreaHosts, AreaServer, AreaTrail}
}

// areas has the area of each action by the word before its first dot.
var areas = map[string]Area{
	"run": AreaRuns, "schedule": AreaRuns, "task": AreaRuns, "freeze": AreaRuns, "lock": AreaRuns, "message": AreaRuns, "evidence": AreaRuns, "recurrence": AreaRuns,
	"dump":     AreaDumps,
	"scenario": AreaScenarios, "serial": AreaScenarios,
	"sign_in": AreaPeople, "sign_out": AreaPeople, "session": AreaPeople, "login": AreaPeople, "user": AreaPeople, "token": AreaPeople, "ssh_key": AreaPeople, "calendar": AreaPeople, "chat": AreaPeople,
	"host": AreaHosts, "hosts": AreaHosts, "certificate": AreaHosts, "join_token": AreaHosts, "envelope_keys": AreaHosts,
	"server": AreaServer, "config": AreaServer, "rules": AreaServer,
	"audit": AreaTrail,
}

// Area gives what an action is about; of one that only a later version knows, "".
func (a Action) Area() Area {
	word, _, _ := strings.Cut(string(a), ".")
	return areas[word]
}
