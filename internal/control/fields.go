package control

import "github.com/restartilka/restartilka/internal/restart"

// The fields of a request, as restart.FieldOf names them; a parameter's is
// restart.ParamField.
const (
	FieldService     = "service"
	FieldEnvironment = "env"
	FieldGroup       = "group"
	FieldHosts       = "hosts"
	FieldExcept      = "except"
	FieldScenario    = "scenario"
	FieldReason      = "reason"
	FieldTicket      = "ticket"
	FieldOld         = "old" // password
)

// whereField is the field by which a request says where.
func whereField(req restart.Request) string {
	switch {
	case req.Hosts != "":
		return FieldHosts
	case req.Group != "":
		return FieldGroup
	}
	return FieldEnvironment
}
