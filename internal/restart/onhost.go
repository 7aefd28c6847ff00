package restart

// ViaHost is the Via of a run that root has begun on a host itself, without a
// server; what is known of it is what that host tells.
const ViaHost = "host"

// OnHost tells whether the run was begun on a host itself.
func (r Run) OnHost() bool { return r.Via == ViaHost }
