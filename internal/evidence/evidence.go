package evidence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// MaxText bounds the text of one item, in bytes.
	MaxText = 256 << 10
	// Patience bounds the taking of all items together.
	Patience = 10 * time.Second
)

// The kinds of evidence that this package takes.
const (
	KindJournal    = restart.EvidenceJournal
	KindProcess    = restart.EvidenceProcess
	KindThreadDump = restart.EvidenceThreadDump
)

// Target is whose evidence is taken.
type Target struct {
	Unit    string          // for the journal; "" = none known
	Process *health.Process // as observed before the restart; nil = none known
	// Dump takes and keeps a thread dump, and says what it took, in one line; nil =
	// none can be taken. A dump is no text for people: it is not in the item.
	Dump func(context.Context) (string, error)
}

// System is the host as this package sees it. The zero value is the real one;
// tests point it elsewhere.
type System struct {
	Journalctl string // path of the program; "" = /usr/bin/journalctl
}

// Take takes evidence on this host: see System.Take.
func Take(ctx context.Context, wanted []restart.Evidence, target Target) []protocol.EvidenceItem {
	return System{}.Take(ctx, wanted, target)
}

// Take takes all that is wanted, at the same time, within ctx and Patience, and
// gives one item for each, in their order. An item that could not be taken, or
// only in part, says why in its Error, in one sentence; the other items are not
// touched by that.
func (s System) Take(ctx context.Context, wanted []restart.Evidence, target Target) []protocol.EvidenceItem {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	items := make([]protocol.EvidenceItem, len(wanted))
	var all sync.WaitGroup
	for i, evidence := range wanted {
		all.Go(func() { items[i] = s.take(ctx, evidence, target) })
	}
	all.Wait()
	return items
}

func (s System) take(ctx context.Context, evidence restart.Evidence, target Target) protocol.EvidenceItem {
	item := protocol.EvidenceItem{Kind: evidence.Kind}
	var err error
	switch evidence.Kind {
	case KindJournal:
		item.Text, item.Truncated, err = s.journal(ctx, target.Unit, evidence.Lines)
	case KindProcess:
		item.Text, item.Truncated, err = s.process(ctx, target.Process)
	case KindThreadDump:
		if target.Dump == nil {
			err = errors.New("the process is not known: the service has no unit, and the scenario names no process")
			break
		}
		item.Text, err = target.Dump(ctx)
		item.Text = clean(item.Text)
	default:
		err = fmt.Errorf("this agent takes no evidence of the kind %s", restart.Quote(evidence.Kind))
	}
	if err != nil {
		item.Error = restart.Escape(err.Error())
	}
	return item
}

// clean escapes text line by line; tabs, of which /proc is full, become spaces.
func clean(text string) string {
	var b strings.Builder
	text = strings.ReplaceAll(text, "\t", "    ")
	for line := range strings.Lines(text) {
		b.WriteString(restart.Escape(strings.TrimSuffix(line, "\n")))
		b.WriteByte('\n')
	}
	return b.String()
}

// head keeps the first MaxText bytes of a text, up to the end of a line where
// there is one, and tells how many bytes it left out.
func head(text string) (string, int64) {
	if len(text) <= MaxText {
		return text, 0
	}
	kept := text[:MaxText]
	if end := strings.LastIndexByte(kept, '\n'); end >= 0 {
		kept = kept[:end+1]
	}
	kept = strings.ToValidUTF8(kept, "")
	return kept, int64(len(text) - len(kept))
}

// tail keeps the last MaxText bytes of a text, from the start of a line where
// there is one, and tells how many bytes it left out.
func tail(text string) (string, int64) {
	if len(text) <= MaxText {
		return text, 0
	}
	kept := text[len(text)-MaxText:]
	if start := strings.IndexByte(kept, '\n'); start >= 0 && start+1 < len(kept) {
		kept = kept[start+1:]
	}
	kept = strings.ToValidUTF8(kept, "")
	return kept, int64(len(text) - len(kept))
}
