package parse

import (
	"bytes"
	"io"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// DefaultLimit is how much Read takes where nothing else is said, in bytes.
	DefaultLimit = 256 << 20
	// maxThreads bounds the threads of one text: a shorter way to fill the memory
	// of the reader than to send it many bytes.
	maxThreads = 500_000
)

// Options are what a reader may be told.
type Options struct {
	Limit int64          // bytes of text; 0 = DefaultLimit
	Zone  *time.Location // of times that a dump writes without one; nil = UTC
}

// kind is one form of dumps.
type kind struct {
	format  dump.Format
	runtime dump.Runtime
	title   func(*source) bool // whether a dump begins with the line at hand, wherever that stands
	opens   func(*source) bool // the same, where no dump is being read; nil = title tells all
	marks   []string           // one of them begins each such line: it is looked for behind a log's prefix
	read    func(*reading)     // reads one dump; the line that next gives is its first
}

// kinds are the forms that are read. The first that fits has it.
var kinds = []kind{
	{dump.Kernel, dump.Process, kernelTitle, nil, []string{kernelFirst, "unit "}, readKernel},
	{dump.HotSpotJSON, dump.JVM, hotspotJSONTitle, nil, nil, readHotSpotJSON},
	{dump.HotSpotPlain, dump.JVM, hotspotPlainTitle, hotspotPlainOpens, []string{"#"}, readHotSpotPlain},
	{dump.GoGrouped, dump.Go, goGroupedTitle, nil, []string{goGroupedFirst}, readGoGrouped},
	{dump.Goroutines, dump.Go, goroutinesTitle, nil, []string{"goroutine ", "panic: ", "fatal error: ", "SIGQUIT: ", "SIGABRT: "}, readGoroutines},
	{dump.Faulthandler, dump.Python, faulthandlerTitle, nil, []string{"Fatal Python error: ", "Thread 0x", "Current thread ", "Timeout ("}, readFaulthandler},
	{dump.PySpy, dump.Python, pySpyTitle, pySpyOpens, []string{"Process ", "Thread "}, readPySpy},
	{dump.HotSpot, dump.JVM, hotspotTitle, hotspotOpens, []string{hotspotFull, forcedFirst, "Thread ", "-----", `"`}, readHotSpot},
}

// Bytes reads all dumps of a text, in order.
func Bytes(b []byte) ([]*dump.Dump, error) { return read(b, Options{}) }

// Read reads all dumps of a text, in order. An error is told only where no dump
// can be in it: it is empty, too large, not text, or text of something else.
func Read(from io.Reader, o Options) ([]*dump.Dump, error) {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	b, err := take(from, o.Limit)
	if err != nil {
		return nil, err
	}
	return read(b, o)
}

// take reads everything, up to the limit.
func take(from io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if known, ok := from.(interface{ Len() int }); ok {
		b.Grow(int(min(int64(known.Len()), limit)) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(from, limit+1))
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the thread dump can't be read: %v", err).Because(err).
			WithHint("take it once more, or copy the file again")
	}
	if n > limit {
		return nil, restart.Errorf(restart.CodeTooLarge, "the file has more than %d MiB, which is more than is read as a thread dump", limit>>20).
			WithHint("cut out the dumps you need: grep -n 'Full thread dump' FILE says where each begins")
	}
	return b.Bytes(), nil
}

func read(b []byte, o Options) ([]*dump.Dump, error) {
	b, err := asText(b)
	if err != nil {
		return nil, err
	}
	r := &reading{source: &source{text: b}, kinds: kinds, names: newNames(), zone: o.Zone}
	if r.zone == nil {
		r.zone = time.UTC
	}
	r.all()
	if len(r.dumps) == 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "no thread dump is in this text").
			WithHint("dumps of a JVM, of Go and of Python are read, as these write them; docs/reference/dumps.md names every form")
	}
	return r.dumps, nil
}

// reading reads one text.
type reading struct {
	*source
	kinds   []kind
	kind    *kind // of the dump that is being read
	names   *names
	zone    *time.Location
	dumps   []*dump.Dump
	dump    *dump.Dump   // that is being read, or was last
	header  *dump.Header // of the dumps that follow
	headed  int          // line of the header, until a dump has followed it
	waits   bool         // none has yet
	rest    rest         // of dump; or, before the first and behind a header, of the one to come
	threads int          // of all dumps
}

func (r *reading) all() {
	for r.next() {
		switch {
		case r.takeHeader():
		case r.begin():
		case r.learn():
			r.back()
		default:
			r.rest.add(r.number, r.raw())
		}
	}
	r.end()
}

// begin reads a dump if one begins with the line at hand.
func (r *reading) begin() bool {
	k := r.kindHere()
	if k == nil {
		return false
	}
	r.closeRest()
	r.kind, r.waits = k, false
	r.dump = &dump.Dump{Runtime: k.runtime, Format: k.format, Header: r.header, Lines: dump.Span{First: r.headed}}
	r.headed = 0
	r.dumps = append(r.dumps, r.dump)
	r.back()
	k.read(r)
	r.kind = nil
	finish(r.dump)
	return true
}

// kindHere gives the kind of dump that begins with the line at hand, if any.
func (r *reading) kindHere() *kind {
	for i := range r.kinds {
		k := &r.kinds[i]
		if k.title(r.source) || k.opens != nil && k.opens(r.source) {
			return k
		}
	}
	return nil
}

// more goes on to the next line of the dump that is being read; false = the text
// ends, or something else begins.
func (r *reading) more() bool {
	if !r.next() {
		return false
	}
	if r.elseBegins() {
		r.back()
		return false
	}
	return true
}

func (r *reading) elseBegins() bool {
	if isHeader(r.line) {
		return true
	}
	for i := range r.kinds {
		if k := &r.kinds[i]; k.format != r.kind.format && k.title(r.source) {
			return true
		}
	}
	return false
}

// known says that the line at hand was understood.
func (r *reading) known() {
	if r.dump.Lines.First == 0 {
		r.dump.Lines.First = r.number
	}
	r.dump.Lines.Last = r.number
}

// unknown says that the line at hand was not understood. It may be that it has a
// prefix: then next gives it again, without.
func (r *reading) unknown() {
	if r.learn() {
		r.back()
		return
	}
	r.rest.add(r.number, r.raw())
}

// learn looks whether a dump begins within the line at hand, behind a prefix,
// and remembers the prefix. It gives false where the prefix is known already.
func (r *reading) learn() bool {
	raw := r.raw()
	before, line := r.prefix, r.line
	defer func() { r.line = line }()
	head := raw[:min(len(raw), maxPrefix)]
	for i := range r.kinds {
		k := &r.kinds[i]
		for _, mark := range k.marks {
			at := bytes.Index(head, []byte(mark))
			p, ok := prefixBefore(raw, at)
			if !ok || len(raw)-len(line) == at {
				continue
			}
			r.prefix, r.line = p, raw[at:]
			if len(p.strip(raw)) == len(r.line) && (k.title(r.source) || k.opens != nil && k.opens(r.source)) {
				return true
			}
			r.prefix, r.line = before, line
		}
	}
	return false
}

// add takes a thread into the dump. Over the bound it says that the dump is cut.
func (r *reading) add(t dump.Thread) {
	if r.threads >= maxThreads {
		r.dump.Cut = "it has more threads than are read: the others are in its text only"
		return
	}
	r.threads++
	r.dump.Threads = append(r.dump.Threads, t)
}

// closeRest gives what was not understood to the dump that it stands in or behind;
// before the first there is none, and it waits.
func (r *reading) closeRest() {
	if r.dump != nil {
		r.dump.Rest = append(r.dump.Rest, r.rest.all()...)
	}
}

// end closes what is open where the text ends.
func (r *reading) end() {
	r.endHeader()
	if r.dump == nil && len(r.dumps) > 0 {
		r.dump = r.dumps[len(r.dumps)-1]
	}
	r.closeRest()
}
