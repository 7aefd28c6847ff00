package wire

// What `restartilka shell` and the server say to each other over the server's
// socket on its own machine, beside the API.
const (
	ShellBegin  = "/shell/begin" // POST: somebody has come; answers with ShellBegun
	ShellLookUp = "/shell/key"   // GET ?user=&type=&key=: whether sshd may let a key in; answers with ShellKey

	ShellKeyHeader  = "Restartilka-Key"  // fingerprint of the key that sshd has verified
	ShellFromHeader = "Restartilka-From" // address that its holder comes from
)

// ShellBegun greets somebody who has come by sshd.
type ShellBegun struct {
	URL  string `json:"url"`  // of the server, as people know it
	Name string `json:"name"` // whose key it is
}

// ShellKey tells of a key; an empty fingerprint: it is in nobody's profile, or
// the account is another than people may come to.
type ShellKey struct {
	Fingerprint string `json:"fingerprint"`
}
