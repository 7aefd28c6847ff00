package supervisor

import (
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/protocol"
)

// methodScript is the method of a dump that a scenario's own script printed.
const methodScript = "script"

// printed passes on what a script prints, and remembers its beginning.
type printed struct {
	to   io.Writer
	most int // bytes that are remembered
	kept []byte
	over int64 // bytes that are not
}

func (p *printed) Write(b []byte) (int, error) {
	n := min(len(b), p.most-len(p.kept))
	p.kept = append(p.kept, b[:n]...)
	p.over += int64(len(b) - n)
	return p.to.Write(b)
}

// forms are how a thread is written in the forms that are read, whatever a log
// puts before it. Looking for that is all that happens here: the text is the
// script's, this process is root's, and it has yet to write how the task ended.
// What is no dump after all is read as none by the server.
var forms = []struct {
	runtime dump.Runtime
	thread  *regexp.Regexp
}{
	{dump.Process, regexp.MustCompile(`thread \d+ "[^\n]*"`)},
	{dump.JVM, regexp.MustCompile(`"[^\n]*" (?:#\d+ )?(?:\[\d+\] )?(?:daemon )?(?:\[\d+\] )?(?:virtual |prio=|os_prio=|cpu=|tid=)|Thread \d+: \(state = |(?m:#\d+ "[^\n]*"(?: virtual)?(?: [A-Z_]+)?(?: \d[^\n]*)?$)|"threadDump": ?\{`)},
	{dump.Go, regexp.MustCompile(`goroutine \d+ (?:gp=\S+ [^\n]*)?\[|goroutine profile: total \d`)},
	{dump.Python, regexp.MustCompile(`hread 0x[0-9a-fA-F]+ [^\n]*\(most recent call first\)|Thread (?:0x)?[0-9a-fA-F]+ \((?:active|idle)|"thread_id": ?\d`)},
}

// maxLook bounds how far down a thread is looked for, in bytes: the text may be
// made to be slow to look through.
const maxLook = 4 << 20

// formOf gives the runtime whose threads stand first in a text; "" = none do.
func formOf(text []byte) (found dump.Runtime) {
	text = text[:min(len(text), maxLook)]
	first := len(text)
	for _, f := range forms {
		if at := f.thread.FindIndex(text[:first]); at != nil {
			found, first = f.runtime, at[0]
		}
	}
	return found
}

// recognise keeps what the script of a thread-dump scenario printed as a dump,
// if it is one. What is none is output, and nothing else.
func (t *tour) recognise(p *printed, begun time.Time) {
	header := dump.Header{
		Host: t.envelope.Host, Service: t.envelope.Service, Runtime: formOf(p.kept), Method: methodScript, Taken: begun, Took: time.Since(begun), Number: 1, Of: 1,
	}
	if header.Runtime == "" {
		return
	}
	if p.over > 0 {
		header.Notes = append(header.Notes, fmt.Sprintf("the script printed %d bytes more", p.over))
	}
	t.keep(capture.Captured{Header: header, Raw: redact.Defaults().Text(p.kept)}, protocol.DumpRun)
}
