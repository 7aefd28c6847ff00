package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// outputPiece bounds the output that one answer of showOutput has, in bytes.
	outputPiece = 256 << 10
	// longest bounds a line that is waited for, in bytes: one that is longer is
	// shown as it comes.
	longest = 64 << 10
)

// outputAnswer is a piece of a task's output as the viewer of the page puts it
// together: rows that stay, and how to go on. What is in it is harmless as text,
// and classes are those of class ink.
type outputAnswer struct {
	Rows []row  `json:"rows"`
	Rest []row  `json:"rest"` // of a line that has not ended: they come again, longer
	Next int64  `json:"next"` // where the output goes on after Rows
	Ink  string `json:"ink"`  // in which it goes on
	More bool   `json:"more"` // there is more now
	Over bool   `json:"over"` // and never will be
}

// MarshalJSON gives the text of a row without colours; of another a list in
// which texts and classes alternate.
func (r row) MarshalJSON() ([]byte, error) {
	coloured := false
	var text strings.Builder
	list := make([]string, 0, 2*len(r))
	for _, s := range r {
		text.WriteString(s.Text)
		coloured = coloured || s.Class != ""
		list = append(list, s.Text, s.Class)
	}
	if coloured {
		return json.Marshal(list)
	}
	return json.Marshal(text.String())
}

// showOutput gives a piece of a task's output from ?offset= on, in the ink that
// the piece before it ended with.
func (s *site) showOutput(w http.ResponseWriter, v *visit) error {
	q := v.URL.Query()
	offset, err := strconv.ParseInt(q.Get("offset"), 10, 64)
	if err != nil || offset < 0 {
		return restart.Errorf(restart.CodeInvalid, "%s is no offset of an output", restart.Quote(q.Get("offset")))
	}
	// The task is read before its output: what comes after its end is nothing.
	task, err := s.cfg.Control.Task(v.Context(), v.actor, v.PathValue("id"), v.PathValue("task"))
	if err != nil {
		return err
	}
	pieces, err := s.cfg.Control.Output(v.Context(), v.actor, task.RunID, task.ID, offset, outputPiece)
	if err != nil {
		return err
	}
	a := outputRows(v.lang, pieces, offset, inkOf(q.Get("ink")))
	a.Over = task.State.Final() && !a.More
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	reply(w, v, http.StatusOK, body)
	return nil
}

// outputRows makes an answer of pieces that begin at an offset.
func outputRows(l language, pieces []protocol.Output, offset int64, k ink) outputAnswer {
	a := outputAnswer{Rows: []row{}, Rest: []row{}, Next: offset}
	var open strings.Builder // data that no row has yet
	read := 0
	for _, p := range pieces {
		if p.Truncated > 0 {
			a.Rows = append(a.Rows, rowsOf(open.String(), &k)...)
			open.Reset()
			k = ink{}
			a.Rows = append(a.Rows, row{gap(l, p.Truncated)})
		}
		open.Write(p.Data)
		read += len(p.Data)
		a.Next = p.Offset + int64(len(p.Data)) + p.Truncated
	}
	data := open.String()
	cut := strings.LastIndexByte(data, '\n') + 1
	a.Rows = append(a.Rows, rowsOf(data[:cut], &k)...)
	if rest := data[cut:]; len(rest) > longest {
		n := unbroken(rest)
		a.Rows = append(a.Rows, rowsOf(rest[:n], &k)...)
		cut += n
	}
	a.Next -= int64(len(data) - cut)
	a.Ink, a.More = k.String(), read >= outputPiece
	a.Rest = append(a.Rest, rowsOf(data[cut:], &k)...)
	return a
}

// gap is what stands where some of an output was dropped.
func gap(l language, bytes int64) span {
	return span{Text: say(l, "output.gap", bytes), Class: "gap"}
}

// unbroken gives where to cut a long line that has not ended: not within what
// may become a character or a colour once the rest of it is there.
func unbroken(line string) int {
	n := cutAt(line, len(line)-maxColour)
	if i := strings.LastIndexByte(line[:n], '\x1b'); i > n-maxColour && i > 0 {
		return i
	}
	return n
}

// outputTail gives the rows of the end of a task's output, at most so many bytes
// of it, how many bytes they show, and how long it is in all.
func (s *site) outputTail(v *visit, t restart.Task, most int) (rows []row, shown, size int64, err error) {
	end, err := s.cfg.Control.OutputEnd(v.Context(), v.actor, t.RunID, t.ID)
	if err != nil || end == 0 {
		return nil, 0, 0, err
	}
	pieces, err := s.cfg.Control.Output(v.Context(), v.actor, t.RunID, t.ID, max(end-int64(most), 0), most)
	if err != nil {
		return nil, 0, 0, err
	}
	k := ink{}
	var open strings.Builder
	for _, p := range pieces {
		if p.Truncated > 0 {
			rows = append(append(rows, rowsOf(open.String(), &k)...), row{gap(v.lang, p.Truncated)})
			open.Reset()
		}
		open.Write(p.Data)
		shown += int64(len(p.Data))
	}
	last := open.String()
	if i := strings.IndexByte(last, '\n'); end > int64(most) && len(rows) == 0 && i >= 0 && i < most/10 { // from the start of a line on
		last, shown = last[i+1:], shown-int64(i+1)
	}
	return append(rows, rowsOf(last, &k)...), shown, end, nil
}
