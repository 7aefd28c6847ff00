package redact

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"sync"
)

// zone is a part of a line that is open to rules.
type zone struct {
	from, to int
	json     bool // it lies in a string of JSON
	secret   bool // it is one by its key
	bare     bool // the same, and is a number of JSON
}

// zones gives the parts of a line that a program has chosen. What the runtime
// writes itself is left alone, so that the line can still be read. A line that
// only begins like one of the runtime's is wholly the program's.
func zones(line []byte) []zone {
	end := len(bytes.TrimRight(line, "\r\n"))
	text := line[:end]
	trimmed := bytes.TrimLeft(text, " \t")
	const header = "#restartilka-dump "
	switch {
	case len(trimmed) == 0:
		return nil
	case bytes.HasPrefix(text, []byte(header)) && isJSON(text[len(header):]):
		return jsonStrings(text, len(header))
	case bytes.HasPrefix(text, []byte("goroutine profile: total ")):
		return nil
	}
	for _, form := range []func([]byte) ([]zone, bool){quoted, threadLine, goroutineLine} {
		if found, ok := form(text); ok {
			return found
		}
	}
	if isJSON(trimmed) {
		return jsonStrings(text, 0)
	}
	return []zone{{from: 0, to: end}}
}

// behindName fits what HotSpot writes behind the name of a thread, at its dump
// and among the deadlocks.
var behindName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?::?,?$| (?:#\d|\[\d|daemon |virtual|prio=|os_prio=|cpu=|tid=))`)
})

// quoted gives the name in `"name" #12 prio=5 …`: all between the first quote and
// the last.
func quoted(text []byte) ([]zone, bool) {
	last := bytes.LastIndexByte(text, '"')
	if text[0] != '"' || last <= 0 || !behindName().Match(text[last+1:]) {
		return nil, false
	}
	return []zone{{from: 1, to: last}}, true
}

// beforeName fits what stands before the name of a thread, or ends the line of
// one that has none: the kernel's `thread 12 "name" S`, py-spy's
// `Thread 12 (idle): "name"` and faulthandler's `Thread 0x7f [name] (most …):`.
var beforeName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:thread \d+ "|Thread (?:0x)?[0-9a-fA-F]+ (?:\[|\([^()"]*\):?(?:$| "))|Thread \d+: \(state = \w+\)$)`)
})

func threadLine(text []byte) ([]zone, bool) {
	found := beforeName().FindSubmatchIndex(text)
	if found == nil {
		return nil, false
	}
	var end int
	switch text[found[1]-1] {
	case '"':
		end = bytes.LastIndexByte(text, '"')
	case '[':
		end = bytes.LastIndexByte(text, ']')
	default:
		return nil, true
	}
	return []zone{{from: found[1], to: end}}, end >= found[1]
}

// goroutineHead fits `goroutine 12 [chan receive, 5 minutes]`, with what a panic
// adds before the bracket.
var goroutineHead = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^goroutine \d+ (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[[^]]*\]`)
})

func goroutineLine(text []byte) ([]zone, bool) {
	found := goroutineHead().FindIndex(text)
	if found == nil {
		return nil, false
	}
	return []zone{{from: found[1], to: len(text)}}, true
}

// isJSON tells whether a text is one of JSON's, or a line of such a one: outside
// of its strings nothing stands but brackets, numbers and the like, and no two
// values stand beside each other.
func isJSON(text []byte) bool {
	const between = " \t{}[],:"
	texts, valued := 0, false // valued: a value has just ended
	for at := 0; at < len(text); at++ {
		c := text[at]
		if bytes.IndexByte([]byte(between), c) >= 0 {
			valued = valued && (c == ' ' || c == '\t')
			continue
		}
		end := len(text)
		if c == '"' {
			end = closing(text, at+1) + 1
			texts++
		} else if n := bytes.IndexAny(text[at:], between); n >= 0 { // a number or a word
			end = at + n
		}
		if valued || end > len(text) || c != '"' && !json.Valid(text[at:end]) {
			return false
		}
		at, valued = end-1, true
	}
	return texts > 0 || len(bytes.Trim(text, between)) == 0
}

// closed are the keys whose values the runtimes write themselves, and ours.
var closed = []string{
	"tid", "time", "state", "virtual", "processId", "runtimeVersion", "formatVersion", "threadCount", "carrier", "depth",
	"version", "pid", "runtime", "method", "taken", "took", "number", "of",
}

// secretName fits a key of JSON whose value is a secret.
var secretName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)` + secretKey + `$`) })

// jsonStrings gives the strings of a JSON text that are open to rules: elements
// of lists, and the values of all keys that a program could have chosen; and
// numbers, where their key says that they are secrets.
func jsonStrings(text []byte, from int) []zone {
	var out []zone
	key := "" // of the value that comes; "" = an element of a list
	for at := from; at < len(text); at++ {
		if text[at] == '[' || text[at] == '{' {
			key = ""
		}
		if text[at] != '"' {
			continue
		}
		end := closing(text, at+1)
		next := bytes.TrimLeft(text[min(end+1, len(text)):], " \t")
		switch {
		case len(next) > 0 && next[0] == ':':
			key = string(text[at+1 : end])
			if begin, length := number(text, len(text)-len(next)+1); length > 0 && secretName().MatchString(key) {
				out = append(out, zone{from: begin, to: begin + length, bare: true})
			}
		case !slices.Contains(closed, key):
			out = append(out, zone{from: at + 1, to: end, json: true, secret: key != "" && end > at+1 && secretName().MatchString(key)})
			key = ""
		default:
			key = ""
		}
		at = end
	}
	return out
}

// number gives where a number of JSON begins that comes next, and how long it
// is; 0 = something else comes.
func number(text []byte, from int) (begin, length int) {
	rest := bytes.TrimLeft(text[from:], " \t")
	return len(text) - len(rest), len(rest) - len(bytes.TrimLeft(rest, "0123456789+-.eE"))
}

// closing gives where a string of JSON ends that begins at from.
func closing(text []byte, from int) int {
	for at := from; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case '"':
			return at
		}
	}
	return len(text)
}
