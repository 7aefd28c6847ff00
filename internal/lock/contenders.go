package lock

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// contender is a node of a lock in ZooKeeper: whoever has the lowest number has
// the lock, the others wait in their order.
type contender struct {
	name   string
	number int64
}

// known are the ways in which the recipes for locks name their nodes, each with
// the ten digits that ZooKeeper appends: kazoo's locks (ours too), its readers
// and writers, and those of go-zookeeper and Curator. The number is of the
// folder, whatever the name, so that all of them queue up in one line.
var known = regexp.MustCompile(`(?:__lock__|__rlock__|lock-|-read-|__READ__|__WRIT__)(-?\d{10})$`)

// mark is what our own have before the number, after 32 hexadecimal digits.
const mark = "__lock__"

// inLine gives those of the nodes that contend, the first one first. Nodes of
// other names are no part of it.
func inLine(names []string) []contender {
	var out []contender
	for _, name := range names {
		m := known.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			continue
		}
		out = append(out, contender{name, n})
	}
	slices.SortFunc(out, func(a, b contender) int {
		return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.name, b.name))
	})
	return out
}

// ours is what our nodes say of themselves, for people and for our other servers.
type ours struct {
	By     string `json:"by"` // restartilka
	Run    string `json:"run"`
	Epoch  int64  `json:"epoch"`
	Actor  string `json:"actor"`
	Server string `json:"server"`
}

const program = "restartilka"

func newOurs(c Claim) []byte {
	b, _ := json.Marshal(ours{program, c.Run, c.Epoch, c.Actor, c.Server}) //nolint:errchkjson // texts and a number
	return b
}

// readOurs tells whose a node is; another's gives false.
func readOurs(data []byte) (o ours, is bool) {
	if json.Unmarshal(data, &o) != nil || o.By != program || restart.CheckID(o.Run) != nil {
		return ours{}, false
	}
	return o, true
}

// describe names who has a node, since when: in its own words where it is another's.
func describe(name string, data []byte, since time.Time) string {
	who := restart.Quote(strings.TrimSpace(string(data)))
	if o, is := readOurs(data); is {
		who = "run " + o.Run + " by " + restart.Quote(o.Actor)
	} else if len(strings.TrimSpace(string(data))) == 0 {
		who = "somebody who does not say who he is, with node " + restart.Quote(name)
	}
	return who + " is there since " + since.UTC().Format("2006-01-02 15:04:05 UTC")
}
