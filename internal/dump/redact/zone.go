package redact

import (
	"bytes"
	"regexp"
	"slices"
	"sync"
)

// zone is a part of a line that is open to rules.
type zone struct {
	from, to int
	json     bool // it lies in a string of JSON
	secret   bool // it is one by its key
}

// zones gives the parts of a line that a program has chosen. What the runtime
// writes itself is left alone, so that the line can still be read.
func zones(line []byte) []zone {
	end := len(bytes.TrimRight(line, "\r\n"))
	text := line[:end]
	trimmed := bytes.TrimLeft(text, " \t")
	switch {
	case len(trimmed) == 0:
		return nil
	case bytes.HasPrefix(text, []byte("#restartilka-dump ")):
		return jsonStrings(text, len("#restartilka-dump "))
	case len(trimmed) == len(text) && text[0] == '"': // HotSpot: "name" #12 prio=5 …
		return quoted(text)
	case bytes.HasPrefix(text, []byte("thread ")) || bytes.HasPrefix(text, []byte("Thread ")): // the kernel, py-spy, faulthandler
		return threadLine(text)
	case bytes.HasPrefix(text, []byte("goroutine ")):
		return behind(text, "]")
	case looksLikeJSON(trimmed):
		return jsonStrings(text, 0)
	}
	return []zone{{from: 0, to: end}}
}

// quoted gives what stands between the first and the last quote.
func quoted(text []byte) []zone {
	first, last := bytes.IndexByte(text, '"'), bytes.LastIndexByte(text, '"')
	if last <= first {
		return []zone{{from: 0, to: len(text)}}
	}
	return []zone{{from: first + 1, to: last}}
}

// threadLine gives the name in `thread 12 "name" S`, `Thread 12 (idle): "name"`
// and `Thread 0x7f [name] (most recent call first):`.
func threadLine(text []byte) []zone {
	if bytes.IndexByte(text, '"') >= 0 {
		return quoted(text)
	}
	open, end := bytes.IndexByte(text, '['), bytes.LastIndexByte(text, ']')
	if open < 0 || end <= open {
		return nil
	}
	return []zone{{from: open + 1, to: end}}
}

func behind(text []byte, mark string) []zone {
	at := bytes.Index(text, []byte(mark))
	if at < 0 || at+len(mark) >= len(text) {
		return nil
	}
	return []zone{{from: at + len(mark), to: len(text)}}
}

// looksLikeJSON tells whether a line is one of a JSON text: a key, a value or a
// bracket to a line, or all in one.
func looksLikeJSON(trimmed []byte) bool {
	switch trimmed[0] {
	case '"', '{', '}', ']':
		return true
	case '[':
		return len(trimmed) == 1 || trimmed[1] == '"' || trimmed[1] == '{'
	}
	return false
}

// closed are the keys whose values the runtimes write themselves, and ours.
var closed = []string{
	"tid", "time", "state", "virtual", "processId", "runtimeVersion", "formatVersion", "threadCount", "carrier", "depth",
	"version", "pid", "runtime", "method", "taken", "took", "number", "of",
}

// secretName fits a key of JSON whose value is a secret.
var secretName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)` + secretKey + `$`) })

// jsonStrings gives the strings of a JSON text that are open to rules: elements
// of lists, and the values of all keys that a program could have chosen.
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
