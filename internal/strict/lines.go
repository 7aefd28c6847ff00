package strict

import (
	"errors"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
)

// AliasLine finds the first alias; 0 when there is none.
func AliasLine(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		return n.Line
	}
	for _, c := range n.Content {
		if line := AliasLine(c); line > 0 {
			return line
		}
	}
	return 0
}

// LineError says what is wrong in a line of a file (CodeInvalid).
func LineError(line int, format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "line %d: "+format, append([]any{line}, args...)...)
}

// AtLine puts a line before the sentence of an error, and keeps its hint.
func AtLine(line int, err error) error {
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		return err
	}
	return LineError(line, "%s", e.Message).WithHint("%s", e.Hint)
}
