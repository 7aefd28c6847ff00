//go:build race

package inventory

// many is how many hosts a large inventory has: the race detector makes each
// some twenty times as slow, and finds nothing in the tenth that it has not found.
const many = 10_000
