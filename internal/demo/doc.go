// Package demo lays out a small company on loopback addresses: three hosts with
// an agent each, a real little service that each of them looks after, the
// reviewed scenarios that restart it and take its thread dumps, and a server's
// configuration. It runs as any user, without root or cgroups, in one folder
// that it can take away again. The agents are the real program, started as
// processes of their own.
//
//	DIR/demo.json                 addresses and credentials, for scripts
//	DIR/server/                   server.yaml, authority, scenarios, inventory
//	DIR/data/                     database
//	DIR/audit/audit.jsonl         the audit trail, as a remote log gets it
//	DIR/hosts/HOST/               agent.yaml, credentials, spool, the service's files
package demo
