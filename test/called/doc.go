// Package called tests that others can call us: a Go program of another module
// by the package client, a client that a generator makes of the API's
// description, and the examples of scripts and pipelines as they are written.
package called
