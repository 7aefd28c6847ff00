package analyse

import "github.com/restartilka/restartilka/internal/dump"

// Series says what the dumps of one process say: one of them, or several in
// the order in which they were taken.
func Series(dumps []*dump.Dump, o Options) *Report { return &Report{} }
