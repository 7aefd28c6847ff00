// Package inventory knows which services, groups and hosts a company has. It
// asks one source (a YAML file, Ansible, or a Conductor-compatible service),
// keeps the answer for a while, says how old it is, and resolves what people
// type to the hosts that are meant.
//
// # From a question to hosts
//
//	Config ──► New ──► Inventory ── Snapshot ──► Source (yaml | ansible | conductor)
//	                      │   ▲                    │
//	                      │   └── memory, disk ◄───┘  checked before it is believed
//	                      ├── Resolve("%shop-front-testing,-web3.example.com")
//	                      └── GroupFor("nginx", "testing", "")
//
// A snapshot is whole or not there: a source that fails half-way gives nothing.
// When a source fails, the last good snapshot is served only where that is
// allowed, and is marked Stale, with the Problem in words. Otherwise the answer
// is a *restart.Error with CodeUnavailable.
//
// # Host expressions
//
//	expression = item { "," item }                spaces around an item don't matter
//	item       = [ "-" ] what
//	what       = HOST                             web1.example.com
//	           | RANGE                            node[01-20].example.com
//	           | "%" GROUP [ "@" DC ] { "#" TAG } %shop-front-testing@dc1#canary
//	           | "%all"    [ "@" DC ] { "#" TAG } every host of the inventory
//	           | "#" TAG { "#" TAG }              the same as %all#TAG
//
// The rules:
//   - Every name must be known to the inventory: a host, group, data centre or
//     tag that is not there is an error that suggests near names. That holds
//     for exclusions too, where a typo would widen the restart in silence.
//   - An item with "-" takes its hosts away from the whole expression, wherever
//     it stands.
//   - The order is that of first mention; within a group, the inventory's. A
//     host mentioned twice counts once, at its first place.
//   - Several tags mean hosts that carry all of them.
//   - A range counts from its first to its last number, both included. Leading
//     zeros are kept: [08-11] is 08 09 10 11, and [8-11] is 8 9 10 11. A name may
//     hold several ranges; the last one counts fastest. All ranges of an
//     expression together give at most 10,000 names, and each must be known.
//   - An expression that leaves no host is an error.
//
// # A new source
//
// One file with a type that implements [Source], one line in the kinds table,
// and one entry in the table of TestSources, which runs the suite every source
// passes.
package inventory
