// Package backup is the format of a backup: the whole database as one stream
// that knows nothing of the database it came from, so that what SQLite held can
// be put into PostgreSQL. Package store writes and reads the rows.
//
// # Format 1
//
// A gzip stream (RFC 1952, one member) of lines, each of which is JSON in
// UTF-8 and ends with a newline:
//
//	{"backup":"restartilka","format":1,"schema":3,"made_at":…,"tables":[{"name":"runs","columns":["id",…],"rows":2},…]}
//	{"table":"runs"}
//	["01J…","completed",…]
//	["01J…","paused",…]
//	{"table":"plans"}
//	…
//	{"sha256":"…"}
//
// The first line is the Manifest. Each table of it follows in its order, every
// one after those that it refers to: a line with its name, then as many rows as
// the manifest says. A row is an array with a value for each column: null, an
// integer of 64 bits, a string, or {"b":"…"} with bytes in base64 (RFC 4648,
// padded). Times are microseconds since 1970, UTC.
//
// The last line has the SHA-256 of every byte before it, uncompressed, in
// lower-case hex. It can be checked without this program:
//
//	zcat FILE | head -n -1 | sha256sum
//
// A reader refuses a format that it does not know, a table or a row too few or
// too many, and anything behind the last line. Nothing that was read counts
// before the sum has been compared.
//
// # What is not in it
//
// No private key and no token: the database has only hashes of tokens. Nor the
// sessions, which end with a restore. Nor files: server.yaml and what it names.
// It does hold what scripts printed, unless that was left out, and so it is
// for its owner only (mode 0600).
package backup
