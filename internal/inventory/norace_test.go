//go:build !race

package inventory

// many is how many hosts a large inventory has.
const many = 100_000
