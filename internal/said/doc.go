// Package said tells what the program says in the languages that people read:
// English, in which it is made, and Russian. Pages and the chat bot tell with it;
// programs, records and the command line have the English.
//
// Sentences that are made deep in the program (refusals, warnings, the why of a
// rule, what a host says) are English text by the time that somebody is to read
// them: they come from this process, from the database, where another version may
// have put them, and from agents. In tells a sentence in another language by
// finding the format that it was made by. What fits none stays as it is: an agent
// of a later version says something new, and it is readable all the same.
//
// Findings in thread dumps come as typed words, and are told from those.
package said
