package trail_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// each is how many records a writing process commits.
const each = 3

// figures are what came of it, for docs/reliability.md.
type figures struct {
	Database   string           `json:"database"`
	Kills      int              `json:"kills"`
	Committed  int              `json:"committed"`
	Generated  int64            `json:"generated"`
	Seals      int64            `json:"seals"`
	Gaps       int64            `json:"gaps"`
	Lost       int              `json:"lost"`
	Twice      int              `json:"twice"`
	Duplicates map[string]int64 `json:"duplicates"`
	Calls      map[string]int   `json:"calls"`
}

// trial is a database, receivers of every kind, and what was said of records.
type trial struct {
	t         *testing.T
	job       job
	public    []byte
	stored    map[string]func() []byte // by the kind of sink: what it has, once its receiver has ended
	committed map[int]bool
	figures   figures
}

// Killed at each of its calls, the trail has every record once, in its place,
// at every receiver.
func TestKilledAtEachCall(t *testing.T) {
	databases := map[string]func(t testing.TB) string{"sqlite": storetest.SQLite}
	step := 13
	if *every {
		step = 1
		databases["postgres"] = storetest.StartPostgres(t).NewDSN
	}
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			trial := newTrial(t, name, dsn(t))
			trial.write(0)
			for at := 1 + rand.N(step); ; at += step {
				if !trial.write(at) {
					break
				}
			}
			trial.write(0)
			trial.judge()
		})
	}
}

func newTrial(t *testing.T, database, dsn string) *trial {
	t.Helper()
	r := &trial{t: t, stored: map[string]func() []byte{}, committed: map[int]bool{}, figures: figures{Database: database, Duplicates: map[string]int64{}, Calls: map[string]int{}}}
	dir := t.TempDir()
	r.job = job{DSN: dsn, Key: filepath.Join(dir, "audit.key"), First: 1, Number: each}
	key, err := audit.MakeKey(r.job.Key, time.Now())
	r.must(err)
	r.public, err = key.PublicPEM()
	r.must(err)
	file := filepath.Join(dir, "trail.jsonl")
	r.add(audit.SinkConfig{Kind: "file", Path: file}, func() []byte { return r.read(file) })
	r.addRsyslog("syslog", audittest.NewRsyslog(t, "RSYSLOG_FileFormat", source))
	r.addRsyslog("relp", audittest.NewRelp(t, "RSYSLOG_FileFormat", source))
	r.addReceiver()
	r.addHTTP()
	return r
}

func (r *trial) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *trial) read(path string) []byte {
	r.t.Helper()
	b, err := os.ReadFile(path)
	r.must(err)
	return b
}

func (r *trial) add(c audit.SinkConfig, stored func() []byte) {
	r.job.Sinks = append(r.job.Sinks, c)
	r.stored[c.Kind] = stored
}

func (r *trial) addRsyslog(kind string, server *audittest.Rsyslog) {
	r.t.Helper()
	server.Start()
	cert, key, err := server.CA.IssueClient(source, time.Now())
	r.must(err)
	r.add(audit.SinkConfig{
		Kind: kind, Address: server.Address, CA: server.CAFile(), ServerName: audittest.ServerName,
		Certificate: server.Write("client.crt", cert), Key: server.Write("client.key", key),
	}, func() []byte {
		server.Stop(unix.SIGTERM)
		return server.Stored()
	})
}

func (r *trial) addReceiver() {
	r.t.Helper()
	server := audittest.NewReceiver(r.t, []string{os.Args[0], "receive"}, "", source)
	server.Start()
	cert, key := server.Certificate(source)
	r.add(audit.SinkConfig{Kind: "receiver", Address: server.Address, CA: server.CAFile(), ServerName: audittest.ServerName, Certificate: cert, Key: key}, func() []byte {
		server.Kill()
		parts, err := receive.Parts(server.Folder())
		r.must(err)
		files, err := receive.Reader(parts)
		r.must(err)
		defer files.Close()
		b, err := io.ReadAll(files)
		r.must(err)
		return b
	})
}

// addHTTP adds a receiver of lines that keeps whole requests, as search stores do.
func (r *trial) addHTTP() {
	var mu sync.Mutex
	var got bytes.Buffer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got.Write(body)
		w.WriteHeader(http.StatusNoContent)
	}))
	r.t.Cleanup(server.Close)
	r.add(audit.SinkConfig{Kind: "http", Format: "lines", URL: server.URL + "/insert"}, func() []byte {
		server.Close()
		return got.Bytes()
	})
}

// write has a process write, and kills it before that call; at 0 it is let
// live. It tells whether the process was killed.
func (r *trial) write(at int) bool {
	r.t.Helper()
	text, err := json.Marshal(r.job)
	r.must(err)
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
		r.must(err)
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
	r.must(err)
	defer st.Close()
	head, err := st.AuditHead(r.t.Context(), source)
	r.must(err)
	keys, err := audit.ParsePublicKeys(r.public)
	r.must(err)
	r.figures.Committed, r.figures.Generated = len(r.committed), head.Seq
	for kind, stored := range r.stored {
		text := stored()
		report, err := audit.VerifyInputs([]audit.Input{{Name: kind, Reader: bytes.NewReader(text)}}, audit.VerifyOptions{Keys: keys, Now: time.Now(), Sources: []string{source}, Heads: []audit.Head{head}})
		r.must(err)
		if !report.OK || len(report.Sources) != 1 || report.Sources[0].Stored != head.Seq {
			var b strings.Builder
			report.Write(&b)
			r.t.Errorf("%s: %s", kind, b.String())
			continue
		}
		s := report.Sources[0]
		r.figures.Gaps += s.Missing
		r.figures.Duplicates[kind] = s.Duplicates
		r.figures.Seals = s.Seals
		r.each(kind, text)
	}
	if r.figures.Kills < 10 || r.figures.Seals < 2 {
		r.t.Errorf("it was killed %d times, and has sealed %d times", r.figures.Kills, r.figures.Seals)
	}
	line, err := json.Marshal(r.figures)
	r.must(err)
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
		r.t.Error(fmt.Sprintf("%s has no record", kind))
	}
}
