package parse

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// jsonHead is how far into a text is looked for what tells of which form it is, in bytes.
const jsonHead = 1 << 10

// maxWaste bounds how often a text is gone through for documents that turn out
// to be broken: each may look good for long.
const maxWaste = 4

// beginsWith tells whether the text at the line at hand begins with the given
// pieces, with nothing but blanks between them.
func beginsWith(s *source, pieces ...string) bool {
	if len(s.line) == 0 || s.line[0] != pieces[0][0] || s.wasted > maxWaste*(len(s.text)+1<<20) {
		return false
	}
	text := s.text[s.lineStart:min(len(s.text), s.lineStart+jsonHead)]
	for _, p := range pieces {
		text = bytes.TrimLeft(text, " \t\r\n")
		behind, ok := bytes.CutPrefix(text, []byte(p))
		if !ok {
			return false
		}
		text = behind
	}
	return true
}

// hotspotJSONTitle takes the beginning of a document of Thread.dump_to_file.
func hotspotJSONTitle(s *source) bool { return beginsWith(s, "{", `"threadDump"`) }

// jsonThread is one thread of Thread.dump_to_file; JDK 21 tells tid, name and
// stack only.
type jsonThread struct {
	TID       word     `json:"tid"`
	Name      string   `json:"name"`
	State     string   `json:"state"`
	Virtual   bool     `json:"virtual"`
	Carrier   word     `json:"carrier"`
	BlockedOn string   `json:"blockedOn"`
	WaitingOn string   `json:"waitingOn"`
	Stack     []string `json:"stack"`
	Park      struct {
		Object string `json:"object"`
		Owner  word   `json:"owner"`
	} `json:"parkBlocker"`
	Owned []struct {
		Depth int       `json:"depth"`
		Locks []*string `json:"locks"`
	} `json:"monitorsOwned"`
}

// word is a number that some versions write in quotes.
type word string

// UnmarshalJSON takes a string, or a number.
func (w *word) UnmarshalJSON(b []byte) error {
	if len(b) > 1 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(w))
	}
	if string(b) != "null" {
		*w = word(b)
	}
	return nil
}

// document reads JSON that may end anywhere, one thread at a time.
type document struct {
	*reading
	dec   *json.Decoder
	start int // of the document in the text
	read  int // bytes that the decoder has taken
	good  int // where the last thing that is whole ends, in the text
	at    int // up to where lines are counted
	lines int // number of the line that holds at
}

func newDocument(r *reading) *document {
	r.next()
	d := &document{reading: r, start: r.lineStart, good: r.lineStart, at: r.lineStart, lines: r.number}
	d.dec = json.NewDecoder(d)
	return d
}

// Read gives the decoder the text from the beginning of the document.
func (d *document) Read(b []byte) (int, error) {
	n := copy(b, d.text[d.start+d.read:])
	if n == 0 {
		return 0, io.EOF
	}
	d.read += n
	return n, nil
}

// lineOf gives the number of the line that holds an offset in the text; offsets
// must not fall.
func (d *document) lineOf(offset int) int {
	d.lines += bytes.Count(d.text[d.at:offset], []byte("\n"))
	d.at = offset
	return d.lines
}

// one reads the next thing whole into v, and gives the lines that it stands in.
func (d *document) one(v any) (dump.Span, error) {
	begin := d.start + int(d.dec.InputOffset())
	err := d.dec.Decode(v)
	// A member of another type than is known is left out; the whole must be of the right one.
	if other, ok := errors.AsType[*json.UnmarshalTypeError](err); err != nil && (!ok || other.Field == "") {
		return dump.Span{}, err
	}
	d.good = d.start + int(d.dec.InputOffset())
	begin += len(d.text[begin:d.good]) - len(bytes.TrimLeft(d.text[begin:d.good], ", \t\r\n"))
	span := dump.Span{First: d.lineOf(begin)}
	span.Last = d.lineOf(max(d.good-1, begin))
	return span, nil
}

// skip reads the next thing, of which nothing is wanted.
func (d *document) skip() error {
	var ignored json.RawMessage
	_, err := d.one(&ignored)
	return err
}

var errForm = errors.New("the document has another form")

// members calls f behind each key of the object that comes next.
func (d *document) members(f func(key string) error) error {
	if t, err := d.dec.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(err, errForm)
	}
	for d.dec.More() {
		t, err := d.dec.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if err := f(key); err != nil {
			return err
		}
	}
	return d.close()
}

// elements calls f before each element of the array that comes next.
func (d *document) elements(f func() error) error {
	if t, err := d.dec.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(err, errForm)
	}
	for d.dec.More() {
		if err := f(); err != nil {
			return err
		}
	}
	return d.close()
}

func (d *document) close() error {
	if _, err := d.dec.Token(); err != nil {
		return err
	}
	d.good = d.start + int(d.dec.InputOffset())
	return nil
}

// end goes on in the text behind what was read whole; what is behind a mistake
// is left to Rest.
func (d *document) end(err error) {
	if err != nil {
		d.dump.Cut = "its JSON ends, or breaks off, in the middle"
		d.wasted += d.read - (d.good - d.start)
	}
	d.skipTo(max(d.good-1, d.start))
	d.known()
}

func readHotSpotJSON(r *reading) {
	d := newDocument(r)
	r.known()
	err := d.members(func(key string) error {
		if key != "threadDump" {
			return d.skip()
		}
		return d.members(d.threadDump)
	})
	d.end(err)
	carry(r.dump)
	ownLocks(r.dump)
}

func (d *document) threadDump(key string) error {
	var text word
	switch key {
	case "time", "runtimeVersion":
		if _, err := d.one(&text); err != nil {
			return err
		}
		if key == "runtimeVersion" {
			d.dump.Program = d.names.text([]byte(text))
		} else if at, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
			d.dump.Taken = at
		}
		return nil
	case "threadContainers":
		return d.elements(d.container)
	}
	return d.skip()
}

func (d *document) container() error {
	pool := ""
	return d.members(func(key string) error {
		switch key {
		case "container":
			var name string
			_, err := d.one(&name)
			pool = d.pool(name)
			return err
		case "threads":
			return d.elements(func() error { return d.javaThread(pool) })
		}
		return d.skip()
	})
}

// pool gives the name of a container of threads; "" = the one of all that are in none.
func (d *document) pool(container string) string {
	if container == "<root>" {
		return ""
	}
	name, class, ok := strings.Cut(container, "/")
	if !ok || !strings.Contains(class, "@") {
		name = container
	}
	return d.names.text([]byte(name))
}

func (d *document) javaThread(pool string) error {
	var j jsonThread
	span, err := d.one(&j)
	if err != nil {
		return err
	}
	t := dump.Thread{
		ID: d.names.text([]byte(j.TID)), Name: d.names.text([]byte(j.Name)), State: dump.Unclear,
		Detail: d.names.text([]byte(j.State)), Internal: isInternal([]byte(j.Name)), Virtual: j.Virtual,
		Carrier: d.names.text([]byte(j.Carrier)), Pool: pool, CPU: -1, Elapsed: -1, Lines: span,
	}
	for _, line := range j.Stack {
		t.Stack = append(t.Stack, d.names.frame([]byte(line), d.names.javaFrame))
	}
	t.Virtual = t.Virtual || isVirtual(t.Stack)
	if s, ok := javaStates[j.State]; ok {
		t.State = s
	} else if j.State == "" {
		t.State = stateOfStack(t.Stack)
	}
	for _, owned := range j.Owned {
		for _, l := range owned.Locks {
			d.ownedAt(&t, owned.Depth, l)
		}
	}
	d.waitsAt(&t, j)
	settleMarks(&t)
	d.add(t)
	return nil
}

// ownedAt notes a monitor that the frame at a depth has taken; a nil one the
// compiler has taken away.
func (d *document) ownedAt(t *dump.Thread, depth int, name *string) {
	m := dump.Marked{Mark: dump.Eliminated, Lock: dump.Lock{Kind: dump.Monitor}}
	if name != nil {
		m = dump.Marked{Mark: dump.Locked, Lock: d.names.object([]byte(*name), dump.Monitor)}
	}
	if depth < 0 || depth >= len(t.Stack) {
		if name != nil {
			t.Holds = append(t.Holds, m.Lock)
		}
		return
	}
	f := &t.Stack[depth]
	f.Locks = append(f.Locks, m)
}

func (d *document) waitsAt(t *dump.Thread, j jsonThread) {
	var m dump.Marked
	switch {
	case j.BlockedOn != "":
		m = dump.Marked{Mark: dump.WaitingToLock, Lock: d.names.object([]byte(j.BlockedOn), dump.Monitor)}
	case j.WaitingOn != "":
		m = dump.Marked{Mark: dump.WaitingOn, Lock: d.names.object([]byte(j.WaitingOn), dump.Condition)}
	case j.Park.Object != "":
		m = dump.Marked{Mark: dump.ParkingFor, Lock: d.names.object([]byte(j.Park.Object), dump.Condition)}
		m.Lock.Owner = d.names.text([]byte(j.Park.Owner))
		if m.Lock.Owner != "" || heldByOne(m.Lock.Class) {
			m.Lock.Kind = dump.Synchronizer
		}
	default:
		return
	}
	if len(t.Stack) == 0 {
		t.WaitsFor = &m.Lock
		return
	}
	// What it waits for stands first, as in the text.
	f := &t.Stack[0]
	f.Locks = append([]dump.Marked{m}, f.Locks...)
}

// object reads "java.lang.Object@1d2ca32b". It is its own ID: the number alone
// is not one.
func (n *names) object(text []byte, kind dump.LockKind) dump.Lock {
	class, _, _ := bytes.Cut(text, []byte("@"))
	return dump.Lock{ID: n.text(text), Class: n.text(class), Kind: kind}
}

// carry tells of each carrier which thread is mounted on it.
func carry(d *dump.Dump) {
	mounted := map[string]string{}
	for i := range d.Threads {
		if t := &d.Threads[i]; t.Carrier != "" {
			mounted[t.Carrier] = t.ID
		}
	}
	for i := range d.Threads {
		if id, ok := mounted[d.Threads[i].ID]; ok {
			d.Threads[i].Carries = id
		}
	}
}
