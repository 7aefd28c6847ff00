// Package evidence keeps what a restart would destroy: the last lines of the
// service's journal, what the kernel knows about its process, and, by who can
// take and keep one, a thread dump. It is taken
// before the process is told to stop, because afterwards nobody can find out
// why it had to be.
//
// Each kind is one file with one line in the table of take. An item is text for
// people: bounded, and escaped line by line, so that nothing a service wrote or
// is called can forge a terminal or a page. What stands in the environment of a
// process is never read: it is where secrets are.
package evidence
