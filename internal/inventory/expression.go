package inventory

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// The bounds of an expression.
const (
	longestExpression = 1 << 20 // bytes: ten thousand hosts by name have room
	mostFromRanges    = 10_000  // names, from all ranges together
	mostLookUps       = 20      // groups asked for that the snapshot doesn't hold
)

// Resolve gives the hosts that an expression means; the package comment has
// the language. There is at least one host, and none twice.
//
// Errors are *restart.Error: CodeInvalid (the expression can't be read, or
// leaves no host), CodeNotFound (an unknown name; the hint suggests near
// ones), CodeTooLarge (over a bound), CodeUnavailable (no inventory).
func (i *Inventory) Resolve(ctx context.Context, expr string) ([]restart.Host, error) {
	items, err := parse(expr)
	if err != nil {
		return nil, err
	}
	v, err := i.view(ctx)
	if err != nil {
		return nil, err
	}
	lookUps := 0
	for _, it := range items {
		if it.group == "" || it.group == all || v.has(it.group) {
			continue
		}
		if lookUps++; lookUps > mostLookUps {
			return nil, restart.Errorf(restart.CodeTooLarge, "the expression names more than %d groups that must be looked up one by one", mostLookUps)
		}
		if v, err = i.lookUp(ctx, v, it.group); err != nil {
			return nil, err
		}
	}
	return v.resolve(items)
}

// item is one part of an expression between commas. Either names or group is
// set; a lone tag is the group all.
type item struct {
	exclude bool
	names   []string // hosts, ranges counted out
	group   string
	dc      string
	tags    []string
}

// parse reads an expression. It knows the grammar and the rules of names, and
// nothing of the inventory.
func parse(expr string) ([]item, error) {
	if len(expr) > longestExpression {
		return nil, restart.Errorf(restart.CodeTooLarge, "the host expression is over %d bytes", longestExpression)
	}
	if strings.TrimSpace(expr) == "" {
		return nil, restart.Errorf(restart.CodeInvalid, "the host expression is empty").WithHint("%s", syntax)
	}
	var items []item
	room := mostFromRanges
	for text := range strings.SplitSeq(expr, ",") {
		it, err := parseItem(strings.TrimSpace(text), &room)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

const syntax = "such as: web1.example.com, %shop-front-testing, %shop-front-testing@dc1, #canary, node[01-20], -web3.example.com"

func parseItem(text string, room *int) (item, error) {
	rest, exclude := strings.CutPrefix(text, "-")
	it := item{exclude: exclude}
	switch {
	case rest == "":
		return it, restart.Errorf(restart.CodeInvalid, "an item of the host expression is empty").WithHint("one comma between two items, and none at the end")
	case rest[0] == '#':
		it.group = all
		return it, it.setTags(rest)
	case rest[0] == '%':
		group, tags := cutAt(rest[1:], '#')
		group, dc := cutAt(group, '@')
		it.group = group
		if group != all {
			if err := checkGroupName(group); err != nil {
				return it, err
			}
		}
		if dc != "" {
			it.dc = dc[1:]
			if err := checkDataCentre(it.dc); err != nil {
				return it, err
			}
		}
		return it, it.setTags(tags)
	case strings.ContainsAny(rest, "@#%"):
		return it, restart.Errorf(restart.CodeInvalid, "%s is not a host", restart.Quote(rest)).
			WithHint("@ and # narrow a group: %%group@dc, %%group#tag, %%all@dc")
	}
	names, err := expand(rest, *room)
	if err != nil {
		return it, err
	}
	if strings.Contains(rest, "[") {
		*room -= len(names)
	}
	for _, n := range names {
		if err := restart.CheckHost(n); err != nil {
			return it, err
		}
	}
	it.names = names
	return it, nil
}

// cutAt splits s before the first sep, which stays with what follows.
func cutAt(s string, sep byte) (before, from string) {
	if n := strings.IndexByte(s, sep); n >= 0 {
		return s[:n], s[n:]
	}
	return s, ""
}

// setTags reads "#tag#tag".
func (it *item) setTags(text string) error {
	if text == "" {
		return nil
	}
	for tag := range strings.SplitSeq(text[1:], "#") {
		if err := restart.CheckTag(tag); err != nil {
			return err
		}
		it.tags = append(it.tags, tag)
	}
	return nil
}

func (v *view) has(group string) bool {
	_, ok := v.groups[group]
	return ok
}

// resolve finds the hosts of parsed items, in the order of first mention.
func (v *view) resolve(items []item) ([]restart.Host, error) {
	if len(v.Missing) > 0 && slices.ContainsFunc(items, func(it item) bool { return it.exclude && it.group != "" }) {
		return nil, restart.Errorf(restart.CodeUnavailable, "an exclusion by group, tag or data centre could leave too little out while the inventory lacks a part: %s", strings.Join(v.Missing, ", ")).
			WithHint("name the hosts that are to be left out, or wait until its source answers")
	}
	var found []restart.Host
	out := map[string]bool{} // hosts not to take (any more): excluded, or taken already
	for _, exclusions := range []bool{true, false} {
		for _, it := range items {
			if it.exclude != exclusions {
				continue
			}
			hosts, err := v.hostsOf(it)
			if err != nil {
				return nil, err
			}
			for _, h := range hosts {
				if !out[h.Name] && !exclusions {
					found = append(found, h)
				}
				out[h.Name] = true
			}
		}
	}
	if len(found) == 0 {
		e := restart.Errorf(restart.CodeInvalid, "the host expression leaves no host")
		if !slices.ContainsFunc(items, func(it item) bool { return !it.exclude }) {
			return nil, e.WithHint("it only takes hosts away: say from what, such as %%all,-web3.example.com")
		}
		return nil, e.WithHint("the groups are empty, or data centre, tags and exclusions leave nothing of them")
	}
	return found, nil
}

// hostsOf gives the hosts of one item; every name in it must be known.
func (v *view) hostsOf(it item) ([]restart.Host, error) {
	if it.group == "" {
		return v.named(it.names)
	}
	hosts := v.Hosts
	if it.group != all {
		g, ok := v.groups[it.group]
		if !ok {
			return nil, v.unknown("group", it.group, v.groupNames())
		}
		hosts = v.members(g)
	}
	if it.dc != "" && !v.dcs[it.dc] {
		return nil, v.unknown("data centre", it.dc, slices.Sorted(maps.Keys(v.dcs)))
	}
	for _, t := range it.tags {
		if !v.tags[t] {
			return nil, v.unknown("tag", t, slices.Sorted(maps.Keys(v.tags)))
		}
	}
	return filter(hosts, func(h restart.Host) bool {
		return (it.dc == "" || h.DataCentre == it.dc) &&
			!slices.ContainsFunc(it.tags, func(t string) bool { return !slices.Contains(h.Tags, t) })
	}), nil
}

// named finds hosts by name. Of several unknown ones, the first is told, and
// how many more there are.
func (v *view) named(names []string) ([]restart.Host, error) {
	var hosts []restart.Host
	var missing []string
	for _, n := range names {
		if h, ok := v.hosts[n]; ok {
			hosts = append(hosts, h)
		} else {
			missing = append(missing, n)
		}
	}
	if len(missing) > 1 {
		return nil, restart.Errorf(restart.CodeNotFound, "%d of the %d hosts of a range are not in the inventory: %s", len(missing), len(names), list(missing, 3)).
			WithHint("a range must name hosts that are all there")
	}
	if len(missing) == 1 && (missing[0] == all || v.has(missing[0])) {
		return nil, v.unknown("host", missing[0], nil).WithHint("a group begins with %%: did you mean %%%s?", missing[0])
	}
	if len(missing) == 1 {
		return nil, v.unknown("host", missing[0], v.hostNames())
	}
	return hosts, nil
}
