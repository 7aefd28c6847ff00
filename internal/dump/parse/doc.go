// Package parse reads thread dumps, of whatever runtime, out of whatever text
// they stand in, into the one model of package dump.
//
//	text ─► source: lines, without a log's prefix ─► kinds: whose dump begins here? ─► its reader ─► Dump
//	                                                     │ nobody's
//	                                                     └─► Dump.Rest
//
// A format is one file and one line in the table kinds. Its reader is handed the
// line that its dump begins with, and takes lines until the text ends or another
// dump begins. What it does not understand it leaves to Dump.Rest; so each line
// of a text is either within the lines of a dump or in the Rest of one, and a
// log that was written between the lines of a dump harms none of its threads.
//
// A reader never relies on blank lines (the journal drops them), on the end of
// what it reads (files are cut anywhere), or on a name (threads are called what
// their makers like, with quotes, brackets and line ends).
//
// Goroutines are read by code of this package. A parser that reads nothing but
// whole goroutines can't tell which lines it left out, nor where a thread stands
// in the text, and both are promised here.
package parse
