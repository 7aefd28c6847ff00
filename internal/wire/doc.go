// Package wire holds the messages between a server and those who call its API:
// what package api encodes, package client decodes, and package control takes
// and gives. They are plain data, so that a client needs nothing of the server
// to read them. What a service, a plan or a run looks like is not repeated
// here: those are package restart's own types.
//
// Lists answer {"items": […], "next": "cursor or empty"}; items is never null.
// Errors are RFC 9457 problems with a code and a hint: see Problem.
package wire
