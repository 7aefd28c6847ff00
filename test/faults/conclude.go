package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// record is what is read here of a record of the audit trail.
type record struct {
	Source string `json:"source"`
	Seq    int64  `json:"seq"`
	Action string `json:"action"`
	Run    string `json:"run"`
	Task   string `json:"task"`
}

// report is what `restartilka audit verify --json` says.
type report struct {
	OK      bool  `json:"ok"`
	Torn    int64 `json:"torn"`
	Sources []struct {
		Source     string `json:"source"`
		Stored     int64  `json:"stored"`
		Missing    int64  `json:"missing"`
		Duplicates int64  `json:"duplicates"`
		Reordered  int64  `json:"reordered"`
		Changed    int64  `json:"changed"`
	} `json:"sources"`
	Faults []struct {
		Text string `json:"text"`
	} `json:"faults"`
}

// conclude stops a lane in order and judges it as a whole: that no task ran
// that nobody knows of, and that the trail is complete, here and at the remote
// log.
func (l *lane) conclude(ctx context.Context, f *figures) {
	end := &round{lane: l, injection: injection{kind: &kind{name: "the end of the lane"}}}
	find := func(what, run, format string, args ...any) {
		end.find(f, finding{Kind: what, Run: run, Text: fmt.Sprintf(format, args...)})
	}
	seen, err := l.witness.read()
	l.b.must(err)
	for _, x := range strangers(seen, l.ledger.seen) {
		find(x.Kind, "", "%s: %v", x.Text, x.Said)
	}
	for range 2 { // whatever one has left unsequenced, the other takes along
		for _, s := range l.servers {
			l.c.End(s.name, syscall.SIGTERM)
		}
		for _, s := range l.servers {
			l.launch(s)
		}
		if !l.serversReady(60 * time.Second) {
			find(foundStuck, "", "the servers do not start at the end of the lane")
			return
		}
	}
	if l.log != nil {
		l.remote(ctx, f, find)
	}
	for _, s := range l.servers {
		l.c.End(s.name, syscall.SIGTERM)
	}
	trail := map[string]record{}
	for _, s := range l.servers {
		l.verify(ctx, f, find, s.audit)
		maps.Copy(trail, readTrail(s.audit))
	}
	for _, x := range incomplete(trail, l.ledger.seen) {
		find(x.Kind, x.Run, "%s", x.Text)
	}
}

type teller func(what, run, format string, args ...any)

// verify lets the product's verifier judge a file, and adds what it counts.
func (l *lane) verify(ctx context.Context, f *figures, find teller, path string) {
	rep, said, err := l.verifier(ctx, path)
	if err != nil {
		find(foundAudit, "", "audit verify %s: %v: %s", path, err, said)
		return
	}
	f.mu.Lock()
	for _, s := range rep.Sources {
		f.dup += s.Duplicates
	}
	f.mu.Unlock()
	if !rep.OK {
		for _, s := range rep.Sources {
			for range s.Missing {
				find(foundAudit, "", "a record of %s is missing in %s", s.Source, path)
			}
		}
		find(foundAudit, "", "audit verify %s: %s", path, tail(said, 1000))
	}
}

func (l *lane) verifier(ctx context.Context, path string) (rep report, said string, err error) {
	out, err := exec.CommandContext(ctx, l.c.Programs.Server, "audit", "verify", "--json", path).Output()
	if bad := json.Unmarshal(out, &rep); bad != nil {
		return rep, string(out), fmt.Errorf("%w (%w)", bad, err)
	}
	return rep, string(out), nil
}

// remote waits until the remote log has stored all that the servers have
// written down, and has that verified.
func (l *lane) remote(ctx context.Context, f *figures, find teller) {
	want := map[string]record{}
	for _, s := range l.servers {
		maps.Copy(want, readTrail(s.audit))
	}
	var lacking []string
	if !eventually(ctx, 75*time.Second, func() bool { // a sink that failed is tried again after 30 s at most
		lacking = nil
		have := readTrail(l.log.StoredFile())
		for key := range want {
			if _, ok := have[key]; !ok {
				lacking = append(lacking, key)
			}
		}
		return len(lacking) == 0
	}) {
		for _, key := range lacking {
			find(foundAudit, want[key].Run, "record %s never came to the remote log", key)
		}
	}
	l.verify(ctx, f, find, l.log.StoredFile())
}

// readTrail gives the different records of a file, JSON lines or syslog's.
func readTrail(path string) map[string]record {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	out := map[string]record{}
	for line := range bytes.Lines(b) {
		at := bytes.IndexByte(line, '{')
		var rec record
		if at < 0 || json.Unmarshal(bytes.TrimSpace(line[at:]), &rec) != nil || rec.Seq == 0 {
			continue // torn: audit verify says whether that matters
		}
		out[fmt.Sprintf("%s/%d", rec.Source, rec.Seq)] = rec
	}
	return out
}

// incomplete finds runs and tasks that are not in the trail exactly once: each
// run's request and end, each task's intent and outcome.
func incomplete(trail map[string]record, runs []run) []finding {
	count := map[string]int{}
	for _, rec := range trail {
		count[rec.Action+" "+rec.Run+" "+rec.Task]++
	}
	var out []finding
	once := func(r run, action, task string) {
		if n := count[action+" "+r.ID+" "+task]; n != 1 {
			out = append(out, finding{Kind: foundAudit, Run: r.ID, Text: fmt.Sprintf("%d records of %s of run %s %s, want 1", n, action, r.ID, task)})
		}
	}
	for _, r := range runs {
		once(r, "run.requested", "")
		once(r, "run.ended", "")
		for _, t := range r.Tasks {
			intents := count["task.intent "+r.ID+" "+t.ID]
			if intents > 1 {
				once(r, "task.intent", t.ID)
			}
			if intents > 0 {
				once(r, "task.outcome", t.ID)
			}
			if t.StartedAt != nil && intents == 0 {
				once(r, "task.intent", t.ID)
			}
		}
	}
	return out
}
