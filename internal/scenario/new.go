package scenario

import (
	_ "embed"
	"regexp"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

//go:embed new.yaml
var newText string

var notOwnName = regexp.MustCompile(`[^a-z0-9@._-]+`)

// New writes a first restart scenario for a unit, with comments that say what
// to decide. "nginx" means nginx.service, as systemctl has it. Only a .service
// has a process to restart; other units are refused (CodeInvalid). Lint has
// nothing to say about the result.
func New(unit string) ([]byte, error) {
	if !strings.Contains(unit, ".") {
		unit += ".service"
	}
	if err := restart.CheckUnit(unit); err != nil {
		return nil, err
	}
	base, ok := strings.CutSuffix(unit, ".service")
	if !ok {
		return nil, restart.Errorf(restart.CodeInvalid, "%s has no process of its own to restart", restart.Quote(unit)).WithHint("name the .service unit that it belongs to")
	}
	service := strings.Trim(notOwnName.ReplaceAllString(strings.ToLower(base), "-"), "-._@")
	name := service + "-restart"
	for _, err := range []error{restart.CheckServiceName(service), restart.CheckScenarioName(name)} {
		if err != nil {
			return nil, err
		}
	}
	return []byte(strings.NewReplacer("NAME", name, "SERVICE", service, "UNIT", unit).Replace(newText)), nil
}
