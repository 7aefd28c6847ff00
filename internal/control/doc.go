// Package control is everything that a person can ask of restartilka: look,
// plan, start, watch, pause, abort, administer. Every way in (web, API, chat,
// SSH) is a thin layer over it and none of them decides anything: here the
// person's rights are checked, the refusal is recorded, and one call made.
//
// A restart is asked for in two steps, as in the original's two pages:
//
//	Draft  request → inventory, scenario, live look at every host → frozen plan
//	Start  the same person confirms, with some hosts unticked → queued
//
// Between the two the inventory may have changed: Start resolves the request
// again, and refuses with the difference if what was shown is no longer true.
//
// Where the rules ask for it, Start makes the run wait instead, until another
// person approves of exactly this plan: approvals.go, decision 0020.
//
// Instead of starting it, the person may confirm a plan for a time to come (Later):
// then it is kept, and when its time has come StartDue resolves the request again,
// with the rights of then, and refuses with what is not as it was shown.
//
// A freeze keeps both from starting and, by MayGoOn, what is under way from its
// next host. Broken glass waives it: see restart.Run.Waives, and breakGlass for
// all that goes with it in one transaction. The same of a ticket that the rules
// demand, or whose tracker can't be asked: tickets.go, decision 0040.
package control
