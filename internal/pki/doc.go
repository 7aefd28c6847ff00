// Package pki is who is who on the wire: the small certificate authority that
// restartilka brings along, the TLS settings that server and agents meet under,
// and the key that signs envelopes.
//
// # Identity
//
// A certificate of our own authority says in one URI whose it is, and its
// extended key usage says in which direction it may be used:
//
//	restartilka://server/NAME   clientAuth   the server, when it calls an agent
//	restartilka://agent/HOST    serverAuth   the agent of HOST, on port 3131
//	restartilka://web/NAME      serverAuth   the server's own pages and API, on port 8443
//
// A company's authority need not know that form: a certificate without a
// restartilka URI is known by its DNS names, compared letter by letter.
// Wildcards match nothing, common names are never looked at, and the key usage
// must be stated. A certificate with a restartilka URI is never known by its
// DNS names, so an agent can't pass for a server by being named like one.
//
// # Trust
//
// Only the authorities in the pinned file count, never the system's. TLS is
// 1.3 or nothing, and sessions are not resumed, so each connection is judged by
// the files as they are now: they are looked at during every handshake and read
// again when they have changed. A set of files that can't be loaded, such as a
// certificate whose key has not been swapped yet, leaves the last good set in
// use; Credentials.Err says so.
package pki
