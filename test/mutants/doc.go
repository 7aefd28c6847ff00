// Package mutants breaks the product on purpose, a promise at a time, and
// demands that it is found, by the simulation as a rule: a test that can't fail proves nothing.
//
// Each NAME.patch says in its first lines which promise it breaks, and how. It
// is applied to copies of the files it names; the tree stays as it is.
//
// A new one: change the code, git diff > test/mutants/NAME.patch, write the
// sentence above it, change the code back.
package mutants
