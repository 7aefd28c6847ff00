// Package cli is the command line of restartilka: one file per command, all of
// them clients of the server's API. It never reaches the database; what a
// command may do, the server decides.
//
// Data goes to standard output, talk to standard error; --json makes the data
// JSON. Whatever came from a server, a host or a file is escaped before a
// terminal sees it. Exit codes stand in one table: see exit.go.
//
// Commands that need the server program itself are given to New by the binary.
package cli
