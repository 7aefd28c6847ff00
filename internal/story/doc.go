// Package story tells what the audit trail says in words, in English and in
// Russian: a record in a phrase (Phrase), and a run from its request to its end
// (Of). It looks at nothing but the records it is given, so that whoever has
// them, from a server or from a log server's file, is told the same.
//
// What a story says in its own words is kept apart from what stands in records,
// which other people have written: a reader is never given one for the other.
package story
