// Package sshd is the way in by SSH: people run the commands of the command line
// with no more than the ssh that they have. It is no shell and starts no process.
//
//	ssh ─► key in a profile? ─► one session, one command ─► cli.Shell ─► the API, in this process
//	         (authn.Keys)         words, exact list of verbs    requests carry the key: authn.WithKey
//
// The person is whom the key belongs to that has signed: what the callback has
// returned for exactly that key, whichever others were shown before or after.
// Each request of the API looks the key up anew; and whoever is connected is cut
// off within a second once it is in no profile any more. A connection that ends,
// for whatever reason, ends what is being watched and never a run.
//
// Nothing is forwarded in either direction, no agent, no X11, no subsystem, no
// second command. All that is asked for beyond a command is refused.
//
// Beside the SSH server there is a socket for the machine's own sshd, which then
// does all of SSH and has `restartilka shell` as its forced command: see Socket.
package sshd
