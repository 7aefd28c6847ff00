package pki

// Stepping gives a pair that calls step before each change of a file.
func (p Pair) Stepping(step func(name string)) Pair {
	p.step = step
	return p
}
