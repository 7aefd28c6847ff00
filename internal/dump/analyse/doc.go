// Package analyse says what is wrong with a process, from its thread dumps: the
// model of package dump goes in, findings come out. It is pure: no I/O, no
// clock, and the same dumps give the same report in whatever order their threads
// stand.
//
//	Series   one process, one dump or several in order   ──► Report      findings, groups, pools, chains, locks
//	Group    several hosts                               ──► GroupReport clusters over hosts, outliers
//	Compare  two dumps of one service                    ──► Difference  what appeared, went, moved
//	FlameOf  any dumps                                   ──► Flame       merged stacks; Collapsed, Speedscope
//
// A finding is made of typed words, never of a ready sentence: its String is the
// English one, and who speaks another language has the same words to make its own.
//
// What a thread does is read from the innermost frames of its stack, which are
// the runtime's (a read of a socket, a sleep, a park); for whom it does it, from
// the first frame below that is not. The tables of known frames are small, and
// each entry stands for a way in which services hang in fact; what no table
// knows is shown as it is, and judged by nobody.
package analyse
