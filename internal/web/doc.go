// Package web is the pages: sign-in, the way to a new run, the list of runs, one
// run and one host of it, live; freezes, and where glass was broken. They are
// rendered here, by templates, and work without JavaScript; with it, the run's
// page follows the run. A run is asked for by a form; the draft that it makes has
// a page of its own, the plan, with the green button. Of what can be asked of a
// run, its page has a form for what the one who looks may ask now.
//
//	GET  /sign-in                 form; ?next= is where to go afterwards
//	POST /sign-in  /sign-out
//	POST /profile/display         language and theme of this browser
//	GET  /                        what waits for the reader, what goes on, a service to choose
//	GET  /start                   the form of a new run, prefilled by its address
//	POST /start                   makes the plan of it, as a draft
//	GET  /services/suggest        services by a part of their names, for the search
//	GET  /runs                    the newest runs, page by page
//	GET  /runs/{id}               one run: summary, strip of hosts, list of hosts, by ?hosts= a part of them; of a draft, its plan
//	GET  /runs/{id}/check         what the hosts of a plan say now
//	POST /runs/{id}/start         the green button: starts, asks for the second step, or shows what has changed
//	POST /runs/{id}/…             approve, reject, pause, resume, abort, force-abort, decide, retry, undrain
//	GET  /runs/{id}/hosts/{host}  one host of it: phases, evidence, output
//	GET  /runs/{id}/chart         the phases of all hosts over time
//	GET  /runs/{id}/replay.html   the run as one file that needs no server
//	GET  /runs/{id}/tasks/{task}/rows  a piece of a host's output, as JSON for the viewer
//	GET  /runs/{id}/events        what changes on the run's page, as server-sent events
//	GET  /runs/{id}/break-glass   the second step where it is frozen: type the service's name
//	POST /runs/{id}/break-glass
//	GET  /runs/{id}/dumps         what the thread dumps of all its hosts say together
//	GET  /dumps                   thread dumps; a file from elsewhere to be looked at
//	POST /dumps                   takes such a file in
//	GET  /dumps/{id}              what one says; and /threads, /threads/{number}, /locks, /flame, /text of it
//	GET  /dumps/{id}/compare/{other}
//	POST /dumps/{id}/delete
//	GET  /audit                   the trail, narrowed; and /audit.jsonl, /audit.csv, the same as files
//	GET  /audit/records/{number}  one record: members, bytes, place in the chain, who has it
//	GET  /audit/runs/{id}         a run as its records tell it
//	GET  /approvals               runs that wait for an approval
//	GET  /freezes                 which apply now, when the others begin
//	POST /freezes/add  /freezes/end
//	GET  /locks                   which run holds which service, and what it shares with others
//	GET  /break-glass             runs that broke the glass and that nobody has reviewed
//	POST /break-glass/{id}/review
//	GET  /scenarios               which are in force, and until when
//	GET  /scenarios/{name}        all versions of one
//	GET  /review                  versions that wait for signatures
//	GET  /scenarios/{digest}/review    one version: how it differs, what lint says, what a host would do, who has signed
//	POST /scenarios/{digest}/withdraw
//	GET  /admin  /admin/…         what admins do, each with its forms: admin.go has the list
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
// was away goes on where he was; see broadcasts for how many are served at once. htmx puts the parts in; the few lines of
// static/restartilka.js say whether the page is still live, count seconds, and
// fetch a host's details when they are opened; the output in them follows by
// static/output.js, as on the host's own page. static/frame.js is of every page: it
// writes times in the reader's zone, sends a form once the server was seen, so
// that nothing typed is lost while it is away, and copies commands.
//
// Thread dumps: every page of them is let in and recorded by package control once
// (see lookAt); a page that only asks whether there is more is not. Pictures are
// SVG drawn here, each with a table that says the same. English sentences of
// findings are analyse's own, Russian ones are those of package said.
//
// Nothing is inline, neither script nor style, so that the strictest content
// security policy holds: see csp. Everything that comes from a host is shown
// escaped and bounded.
package web
