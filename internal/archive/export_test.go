package archive

import "github.com/restartilka/restartilka/internal/dump"

// ParseWith puts another parser in the place of the real one.
func (a *Archive) ParseWith(parser func(text []byte) ([]*dump.Dump, error)) { a.parser = parser }
