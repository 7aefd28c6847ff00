package orchestrator

import (
	"encoding/json"

	"github.com/restartilka/restartilka/internal/protocol"
)

// Said gives what an agent says of a task as it is kept for pages: its text
// cleaned, its lists bounded. nil where it can't be kept.
func Said(s protocol.TaskStatus) json.RawMessage { return detail(s) }

// Clean bounds and escapes text from a host.
func Clean(s string) string { return clean(s) }
