// Package server puts the parts together: it reads server.yaml, opens the
// database, the inventory, the audit trail and the credentials, starts the
// orchestrator and the HTTPS listener, and stops them in the reverse order.
// `restartilka server init` writes a first configuration with an authority of
// its own and the first admin's token.
//
// Nothing but cmd imports this package.
package server
