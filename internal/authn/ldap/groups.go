package ldap

import (
	"slices"
	"strings"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/restartilka/restartilka/internal/restart"
)

// mostGroups bounds how many groups one person may be in, groups within groups
// included. Past it there is an error: which rights are left out must not hang
// on an order that the directory chooses.
const mostGroups = 500

// groups gives the names of the groups that an entry is in, in lower case (a
// directory does not tell them apart by case) and in order.
func (d *Directory) groups(c *conn, person *ldap.Entry, name string) ([]string, error) {
	if d.cfg.GroupBase == "" {
		return nil, nil
	}
	base, err := ldap.ParseDN(d.cfg.GroupBase)
	if err != nil {
		return nil, err // checked before
	}
	w := &walk{d: d, c: c, base: base, seen: map[string]bool{}}
	next, err := w.above(person, name)
	for level := 0; err == nil && len(next) > 0; level++ {
		var above []*ldap.Entry
		for _, g := range next {
			w.take(g)
			if level >= d.cfg.GroupsInGroup {
				continue
			}
			more, err := w.above(g, "")
			if err != nil {
				return nil, err
			}
			above = append(above, more...)
		}
		next = above
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(w.names)
	return slices.Compact(w.names), nil
}

// walk goes from a person up to the groups, level by level. Each group is
// visited once, so that groups in a circle end it.
type walk struct {
	d     *Directory
	c     *conn
	base  *ldap.DN
	seen  map[string]bool // by DN, as key makes it
	names []string
}

func (w *walk) take(g *ldap.Entry) {
	for _, name := range g.GetEqualFoldAttributeValues(w.d.cfg.GroupName) {
		w.names = append(w.names, strings.ToLower(name))
	}
}

// above gives the groups, not seen before, that an entry is directly in. A name
// is a person's; a group has none here.
func (w *walk) above(entry *ldap.Entry, name string) ([]*ldap.Entry, error) {
	var fresh []*ldap.Entry
	add := func(found []*ldap.Entry) error {
		for _, g := range found {
			at, err := ldap.ParseDN(g.DN)
			if err != nil || w.seen[key(at)] {
				continue
			}
			if len(w.seen) >= mostGroups {
				return restart.Errorf(restart.CodeUnavailable, "the directory has %s in more than %d groups", restart.Quote(entry.DN), mostGroups).
					WithHint("narrow sign_in.ldap.group_base or group_filter to the groups that own services or have roles")
			}
			w.seen[key(at)] = true
			fresh = append(fresh, g)
		}
		return nil
	}
	for _, dn := range entry.GetEqualFoldAttributeValues(w.d.cfg.MemberOf) {
		at, err := ldap.ParseDN(dn)
		if err != nil || !w.base.AncestorOfFold(at) || w.seen[key(at)] {
			continue
		}
		group, err := w.c.search(dn, ldap.ScopeBaseObject, "(objectClass=*)", 1, w.attributes()...)
		if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInsufficientAccessRights) {
			continue // taken away meanwhile, or not ours to read
		}
		if err == nil {
			err = add(group)
		}
		if err != nil {
			return nil, err
		}
	}
	filter := w.d.cfg.GroupFilter
	if filter == "" || name == "" && !strings.Contains(filter, "{dn}") {
		return fresh, nil
	}
	found, err := w.c.search(w.d.cfg.GroupBase, ldap.ScopeWholeSubtree, fill(filter, name, entry.DN), mostGroups+1, w.attributes()...)
	if err == nil {
		err = add(found)
	}
	return fresh, err
}

func (w *walk) attributes() []string {
	out := []string{w.d.cfg.GroupName}
	if w.d.cfg.MemberOf != "" {
		out = append(out, w.d.cfg.MemberOf)
	}
	return out
}

// key makes one text of each way to write a DN.
func key(dn *ldap.DN) string { return strings.ToLower(dn.String()) }
