// Package silence talks to the systems that watch a company's services. It keeps
// them from waking somebody for a restart that is meant, and asks them whether
// one may go on now.
//
//	driver ── Begin ──► Keeper ── row: asked ──► monitor.Place ──► row: placed
//	   │                  ▲                        Alertmanager, Zabbix
//	   │ the host's task  │ Run: once a minute, and at the start
//	   ▼                  │ what is left of tasks that are over
//	outcome ── End ───────┴── monitor.Lift ──► row: lifted
//
// One silence is of one host, for one task, of the alerts that the reviewed
// scenario names, and of no others: matchers are made of whole names, quoted. It
// is placed before the host is asked, lifted when the task's outcome is stored,
// whatever that is, and ends by itself when the task must be over. Its row is
// there before its system is asked, so that whoever finds the row can lift it:
// the next server, where this one has died.
//
// A system that is down delays no run by more than a moment, and keeps none from
// going on, unless its settings say require. Broken glass waives that, too.
//
// Gates asks whether chosen alerts fire, and is asked by control before each
// host.
//
// A kind of system is one file and one line in the table kinds, and passes the
// package's Exercise suite.
package silence
