package inventory

import (
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// suggest says what was probably meant by an unknown name, or else what there is.
func suggest(what, name string, known []string) string {
	if n := restart.Similar(name, known); len(n) > 0 {
		return "did you mean " + strings.Join(n, " or ") + "?"
	}
	if len(known) == 0 {
		return fmt.Sprintf("the inventory has no %s at all", what)
	}
	return "there is: " + list(known, 10)
}

// list joins the first names, and counts the rest.
func list(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
