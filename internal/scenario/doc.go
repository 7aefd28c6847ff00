// Package scenario reads the reviewed recipes that are all a host ever runs.
//
// A scenario is one YAML file, and its identity is the SHA-256 of its bytes.
// The file is read strictly, because a reviewer must see exactly what a host
// will do: every key is known and stands once, there are no aliases, anchors,
// tags or second documents, and no character that hides or reorders text.
//
//	bytes ─► text checks ─► node tree ─► sections ─► contradictions ─► restart.Scenario
//	            │              │             │              │
//	            └──────────────┴─── Finding (line, code, message, hint) ───► Parse refuses, Lint lists
//
// Parse gives the scenario or the first refusal. Lint lists all refusals and,
// for a file that Parse accepts, advice as well. Render fills the placeholders
// (#unit# and the like) on the host, with values that match the safe alphabet
// of their type; nothing is quoted, because nothing needs it. ReadFolder reads
// a folder of reviewed files, such as a host's scenarios.d.
//
// One trap deserves its own word: in YAML, " #" starts a comment, so the
// unquoted script: systemctl restart #unit# would silently lose its end. Every
// YAML comment inside steps and health is therefore refused. A "#" inside a
// quoted text or a block (|) belongs to the script, and is fine.
package scenario
