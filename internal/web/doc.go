// Package web is the pages: for now sign-in, the list of runs, one run and one
// host of it, live; freezes, and where glass was broken. They are rendered here,
// by templates, and work without JavaScript; with it, the run's page follows the
// run. Of what can be asked of a run, its page has a form for what the one who
// looks may ask now; a draft, which is made elsewhere, is started there by who
// made it.
//
//	GET  /sign-in                 form; ?next= is where to go afterwards
//	POST /sign-in  /sign-out
//	POST /profile/display         language and theme of this browser
//	GET  /runs                    the newest runs, page by page
//	GET  /runs/{id}               one run: summary, strip of hosts, list of hosts
//	POST /runs/{id}/…             approve, reject, pause, resume, abort, force-abort, decide, retry, undrain, start
//	GET  /runs/{id}/hosts/{host}  one host of it: phases, evidence, output
//	GET  /runs/{id}/events        what changes on the run's page, as server-sent events
//	GET  /runs/{id}/break-glass   the second step where it is frozen: type the service's name
//	POST /runs/{id}/break-glass
//	GET  /approvals               runs that wait for an approval
//	GET  /freezes                 which apply now, when the others begin
//	GET  /break-glass             runs that broke the glass and that nobody has reviewed
//	POST /break-glass/{id}/review
//	GET  /scenarios               which are in force, and until when
//	GET  /scenarios/{name}        all versions of one
//	GET  /review                  versions that wait for signatures
//	GET  /scenarios/{digest}/review    one version: how it differs, what lint says, what a host would do, who has signed
//	POST /scenarios/{digest}/withdraw
//	GET  /assets/…                style, scripts and icon; their names carry their hash
//
// Rooms: templates/pages has a file for each page, templates/ what they share;
// static/style has the stylesheet in parts, in the order of their names; texts_*.go
// have the words in both languages; static/vendor is others' and unchanged.
//
// The table in routes.go has each of them with its policy; what is not in it
// does not exist. A handler decodes, makes one call of package control and
// replies, or returns an error, which one place turns into a page.
//
// Live pages: an event holds the parts of the page that have changed, rendered
// by the same templates as the page itself, each with the id of the element
// that it takes the place of. Its id is the run's version, so that a reader who
// was away goes on where he was. htmx puts the parts in; the few lines of
// static/restartilka.js say whether the page is still live, count seconds, and
// fetch a host's details when they are opened. static/frame.js is of every page: it
// writes times in the reader's zone, sends a form once the server was seen, so
// that nothing typed is lost while it is away, and copies commands.
//
// Nothing is inline, neither script nor style, so that the strictest content
// security policy holds: see csp. Everything that comes from a host is shown
// escaped and bounded.
package web
