package signing

import "slices"

// Missing names who could sign a scenario still, by the first name of each
// person who has a key that counts now, has not signed, and is not its author.
func Missing(author string, v Verdict, p Policy) []string {
	signed := map[int]bool{}
	for i, s := range p.Allowed.signers {
		for _, g := range v.Good {
			if s.Fingerprint() == g.Fingerprint || slices.Contains(s.Principals, g.Principal) {
				signed[p.Allowed.person[i]] = true
			}
		}
	}
	var out []string
	named := map[int]bool{}
	for i, s := range p.Allowed.signers {
		who := p.Allowed.person[i]
		if signed[who] || named[who] || p.Allowed.wrote(author, who) {
			continue
		}
		if _, _, err := p.Allowed.find(s.Principals[0], s.Key, p.Now); err != nil || p.Revoked.signer(s.Key, p.Allowed.names(who)) != nil {
			continue
		}
		named[who] = true
		out = append(out, s.Principals[0])
	}
	return out
}
