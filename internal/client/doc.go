// Package client is the Go client of a server's API. Its methods are those of
// package control, without the actor: the token says who asks. Errors that the
// server tells come back as the *restart.Error they were; a server that can't
// be reached is an *UnreachableError.
//
// A token goes to the configured server only: redirects are not followed, and
// nothing but TLS with a verified certificate is spoken, loopback apart.
package client
