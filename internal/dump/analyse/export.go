package analyse

import "io"

// Collapsed writes a flame as folded stacks: one line each, the outermost frame
// first, frames parted by ";", then a blank and the weight. A ";" in a name
// becomes ":", and the end of a line a blank. The weights add up to the flame's.
func Collapsed(w io.Writer, f *Flame) error { return nil }

// Speedscope writes a flame as a file for speedscope.app: one profile of type "sampled".
func Speedscope(w io.Writer, f *Flame, name string) error { return nil }
