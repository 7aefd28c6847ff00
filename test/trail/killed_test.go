package trail_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// each is how many records a writing process commits.
const each = 3

// figures are what came of it, for docs/reliability.md.
type figures struct {
	Fault      string           `json:"fault"`
	Database   string           `json:"database"`
	Kills      int              `json:"kills,omitempty"`
	Committed  int              `json:"committed"`
	Generated  int64            `json:"generated"`
	Seals      int64            `json:"seals"`
	Gaps       int64            `json:"gaps"`
	Lost       int              `json:"lost"`
	Twice      int              `json:"twice"`
	Duplicates map[string]int64 `json:"duplicates"`
	Calls      map[string]int   `json:"calls,omitempty"`
}

// trial is a database, receivers of every kind, and what was said of records.
type trial struct {
	t         *testing.T
	job       job
	public    []byte
	peers     []peer
	stored    map[string]func() []byte // by the kind of sink: what it has, once its receiver has ended
	committed map[int]bool
	figures   figures
}

// Killed at each of its calls, the trail has every record once, in its place,
// at every receiver.
func TestKilledAtEachCall(t *testing.T) {
	t.Parallel()
	databases := map[string]func(t testing.TB) string{"sqlite": storetest.SQLite}
	step := 23
	if *every {
		step = 1
		databases["postgres"] = storetest.StartPostgres(t).NewDSN
	}
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trial := newTrial(t, "killed at a call", name, dsn(t))
			trial.start()
			trial.write(0)
			for at := 1 + rand.N(step); ; at += step {
				if !trial.write(at) {
					break
				}
			}
			trial.write(0)
			trial.judge()
			if trial.figures.Kills < 4 || trial.figures.Seals < 2 {
				t.Errorf("it was killed %d times, and has sealed %d times", trial.figures.Kills, trial.figures.Seals)
			}
		})
	}
}

func newTrial(t *testing.T, fault, database, dsn string) *trial {
	t.Helper()
	r := &trial{t: t, stored: map[string]func() []byte{}, committed: map[int]bool{}, figures: figures{Fault: fault, Database: database, Duplicates: map[string]int64{}, Calls: map[string]int{}}}
	dir := t.TempDir()
	r.job = job{DSN: dsn, Key: filepath.Join(dir, "audit.key"), First: 1, Number: each}
	key, err := audit.MakeKey(r.job.Key, time.Now())
	must(r.t, err)
	r.public, err = key.PublicPEM()
	must(r.t, err)
	file := filepath.Join(dir, "trail.jsonl")
	r.add(audit.SinkConfig{Kind: "file", Path: file}, func() []byte {
		b, err := os.ReadFile(file)
		must(t, err)
		return b
	})
	r.peers = newPeers(t)
	for _, p := range r.peers {
		r.add(p.sink, p.stored)
	}
	return r
}

func (r *trial) add(c audit.SinkConfig, stored func() []byte) {
	r.job.Sinks = append(r.job.Sinks, c)
	r.stored[c.Kind] = stored
}

// start starts all receivers.
func (r *trial) start() {
	for _, p := range r.peers {
		p.start()
	}
}

// write has a process write, and kills it before that call; at 0 it is let
// live. It tells whether the process was killed.
func (r *trial) write(at int) bool {
	r.t.Helper()
	text, err := json.Marshal(r.job)
	must(r.t, err)
	args := []string{"trace", strconv.Itoa(at), string(text)}
	if at == 0 {
		args = []string{"write", string(text)}
	}
	var said, told bytes.Buffer
	cmd := exec.CommandContext(r.t.Context(), os.Args[0], args...)
	cmd.Stdout, cmd.Stderr = &said, &told
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("at %d: %v\n%s", at, err, told.String())
	}
	for line := range strings.Lines(said.String()) {
		n, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		must(r.t, err)
		r.committed[n] = true
	}
	r.job.First += each
	if at == 0 {
		return false
	}
	var end traced
	if err := json.Unmarshal(told.Bytes(), &end); err != nil || !end.Killed && end.Exit != 0 {
		r.t.Fatalf("at %d: %v\n%s", at, err, told.String())
	}
	if end.Killed {
		r.figures.Kills++
		r.figures.Calls[end.Call]++
	}
	return end.Killed
}

// judge holds what each receiver has stored against the database, the seals,
// and what was said to be committed.
func (r *trial) judge() {
	st, err := store.Open(r.t.Context(), store.Config{DSN: r.job.DSN, Source: source})
	must(r.t, err)
	defer st.Close()
	head, err := st.AuditHead(r.t.Context(), source)
	must(r.t, err)
	keys, err := audit.ParsePublicKeys(r.public)
	must(r.t, err)
	r.figures.Committed, r.figures.Generated = len(r.committed), head.Seq
	for kind, stored := range r.stored {
		text := stored()
		report, err := audit.VerifyInputs([]audit.Input{{Name: kind, Reader: bytes.NewReader(text)}}, audit.VerifyOptions{Keys: keys, Now: time.Now(), Sources: []string{source}, Heads: []audit.Head{head}})
		must(r.t, err)
		for _, s := range report.Sources {
			r.figures.Gaps += s.Missing
		}
		if !report.OK || len(report.Sources) != 1 || report.Sources[0].Stored != head.Seq {
			var b strings.Builder
			report.Write(&b)
			r.t.Errorf("%s: %s", kind, b.String())
			continue
		}
		s := report.Sources[0]
		r.figures.Duplicates[kind] = s.Duplicates
		r.figures.Seals = s.Seals
		r.each(kind, text)
	}
	line, err := json.Marshal(r.figures)
	must(r.t, err)
	r.t.Logf("%s", line)
}

// each counts the records: those that were said to be committed are there
// once, the others once or not at all.
func (r *trial) each(kind string, text []byte) {
	places := map[string]map[int64]bool{}
	for line := range bytes.Lines(text) {
		at := bytes.Index(line, []byte(`{"source":`))
		if at < 0 {
			continue
		}
		record, err := audit.Decode(bytes.TrimSuffix(line[at:], []byte("\n")))
		if err != nil || record.Action != audit.TaskOutcome {
			continue
		}
		if places[record.Reason] == nil {
			places[record.Reason] = map[int64]bool{}
		}
		places[record.Reason][record.Seq] = true
	}
	for n := range r.job.First {
		found := len(places[reasonOf(n)])
		if found == 0 && r.committed[n] {
			r.figures.Lost++
			r.t.Errorf("%s: record %d was committed and is not there", kind, n)
		}
		if found > 1 {
			r.figures.Twice++
			r.t.Errorf("%s: record %d has %d places", kind, n, found)
		}
	}
	if len(places) == 0 {
		r.t.Errorf("%s has no record", kind)
	}
}
