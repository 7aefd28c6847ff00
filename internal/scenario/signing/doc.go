// Package signing judges the signatures under a reviewed scenario, and makes
// them: SSH signatures, as `ssh-keygen -Y sign -n restartilka-scenario` makes
// and `ssh-keygen -Y verify` checks them, since reviewers own such keys already.
//
//	nginx-restart.yaml               the exact bytes that were reviewed
//	nginx-restart.yaml.sigs/
//	    olga@example.com.sig         one file a signer: PRINCIPAL.sig
//	    ivan@example.com.sig
//
// Who may sign stands in an allowed_signers file (ssh-keygen(1)), what counts
// no more in a file of revocations. Both are read strictly: a line that can't be
// understood makes the whole file an error, so that nobody trusts half a list.
//
// # Who counts
//
// A quorum is one of people, not of files. Lines of allowed_signers that share a
// principal or a key are one person's, whatever names and keys he has; a person
// counts once, and the author of the scenario not at all. A key counts only
// while its line is valid, by the clock of who judges.
//
// Keys are ed25519, ecdsa, rsa of 2048 bits and more, and those on a security
// key (sk-*), of which the touch is demanded. Certificates are refused: who may
// sign would be decided by an authority, and not by the list.
package signing
