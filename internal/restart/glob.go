package restart

import (
	"path"
	"slices"
)

// Fits tells whether one of the globs is of a name. Where there are none, each
// name fits; one that can't be read is of none.
func Fits(globs []string, name string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(glob, name)
		return ok && err == nil
	})
}
