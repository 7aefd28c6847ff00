package audit_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
)

// livedTrail is the trail of a server that was at work, was stopped, and was
// killed, and changed its key; it ends with a seal.
func livedTrail(t *rapid.T) *script {
	s := newScript(audit.KeyOf(1))
	s.event(audit.ServerStarted, 0)
	s.seal(0)
	for range rapid.IntRange(1, 6).Draw(t, "minutes") {
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			s.event(audit.TaskOutcome, time.Duration(rapid.IntRange(0, 10).Draw(t, "after"))*time.Second)
		}
		switch rapid.IntRange(0, 5).Draw(t, "what else") {
		case 0:
			s.event(audit.ServerStopped, time.Second)
			s.seal(0)
			s.event(audit.ServerStarted, time.Duration(rapid.IntRange(0, 600).Draw(t, "away"))*time.Minute)
		case 1:
			s.event(audit.ServerStarted, time.Duration(rapid.IntRange(0, 600).Draw(t, "dead"))*time.Minute)
		case 2:
			if s.key.Public().Equal(audit.KeyOf(1).Public()) {
				s.turn(audit.KeyOf(2), s.key)
			}
		}
		s.seal(time.Minute)
	}
	return s
}

func believing(keys ...*audit.Key) (o audit.VerifyOptions) {
	for _, k := range keys {
		o.Keys = append(o.Keys, k.Public())
	}
	return o
}

// A true trail is never called anything else, though each of its parts may have
// been sent more than once.
func TestDuplicatesAreHarmless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := livedTrail(t)
		o := believing(audit.KeyOf(1))
		o.Now = s.now.Add(time.Duration(rapid.IntRange(0, 150).Draw(t, "fetched after")) * time.Second)
		var sent []audit.Record
		for to := 0; to < len(s.records); {
			from := rapid.IntRange(max(0, to-20), to).Draw(t, "again from")
			to = min(to+rapid.IntRange(1, 12).Draw(t, "to"), len(s.records))
			sent = append(sent, s.records[from:to]...)
		}
		report := verifyWith(t, lines(sent), o)
		src := report.Sources[0]
		if !report.OK || src.Duplicates != int64(len(sent)-len(s.records)) || src.Stored != int64(len(s.records)) || src.Unsealed != 0 {
			t.Fatal(describe(report))
		}
	})
}

// Whatever is done to a trail before its last seal is found, and named.
func TestForgeriesOfASealedTrailAreNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := livedTrail(t)
		o := believing(audit.KeyOf(1))
		o.Now = s.now.Add(time.Minute)
		n := len(s.records)
		at := rapid.IntRange(0, n-2).Draw(t, "at")
		records := slices.Clone(s.records)
		var want []audit.FaultKind // one of them is named
		act := rapid.SampledFrom([]string{"delete", "change", "hash anew", "move", "insert", "cut", "other key", "no seals", "old seals", "named by itself", "epoch", "forged seals"}).Draw(t, "act")
		switch act {
		case "delete":
			records = slices.Delete(records, at, rapid.IntRange(at+1, n-1).Draw(t, "to"))
			want = []audit.FaultKind{audit.FaultGap}
		case "change":
			records[at].Reason += "!"
			want = []audit.FaultKind{audit.FaultChanged}
		case "hash anew":
			records[at].Reason += "!"
			head := audit.Head{Source: source}
			if at > 0 {
				head = records[at-1].Head()
			}
			records[at].Link(head)
			want = []audit.FaultKind{audit.FaultChanged}
		case "move":
			to := rapid.IntRange(0, n-2).Filter(func(to int) bool { return to != at }).Draw(t, "to")
			r := records[at]
			records = slices.Insert(slices.Delete(records, at, at+1), to, r)
			want = []audit.FaultKind{audit.FaultReordered}
		case "insert":
			r := event(at)
			r.Link(records[at].Head())
			records = slices.Insert(records, at+1+rapid.IntRange(0, min(1, n-2-at)).Draw(t, "behind"), r)
			want = []audit.FaultKind{audit.FaultChanged}
		case "cut":
			for at > 0 && o.Now.Sub(records[at-1].Time) <= 3*time.Minute {
				at--
			}
			if at == 0 {
				o.Now = o.Now.Add(10 * time.Minute)
				at = 2
			}
			records = records[:at]
			want = []audit.FaultKind{audit.FaultSilence, audit.FaultUnsealed}
		case "other key":
			records = remade(records, at, audit.KeyOf(9))
			want = []audit.FaultKind{audit.FaultKey}
		case "no seals": // what was not sealed for three minutes
			for at > 0 && o.Now.Sub(records[at-1].Time) <= 3*time.Minute {
				at--
			}
			records = remade(records, at, nil)
			want = []audit.FaultKind{audit.FaultUnsealed, audit.FaultSilence}
		case "old seals":
			for records[at].Action == audit.AuditSealed {
				at--
			}
			records = remade(records, at, nil)
			for i := at; i < n; i++ {
				head := audit.Head{Source: source}
				if i > 0 {
					head = records[i-1].Head()
				}
				if s.records[i].Action == audit.AuditSealed {
					records[i] = s.records[i]
				}
				records[i].Link(head)
			}
			want = []audit.FaultKind{audit.FaultSeal}
		case "named by itself":
			forger := newScript(audit.KeyOf(9))
			forger.turn(audit.KeyOf(8), audit.KeyOf(9))
			for range 3 {
				forger.event(audit.TaskOutcome, time.Second)
				forger.seal(time.Minute)
			}
			records = forger.records
			want = []audit.FaultKind{audit.FaultKey}
		case "forged seals": // which fit in everything but the signature
			records = remade(records, at, audit.KeyOf(9))
			head := audit.Head{Source: source}
			for i := range records {
				if r := &records[i]; i >= at {
					if r.Action == audit.AuditSealed {
						r.Params["key"], r.Params["head"] = s.records[n-1].Params["key"], head.Hash
					}
					r.Link(head)
				}
				head = records[i].Head()
			}
			want = []audit.FaultKind{audit.FaultSeal}
		case "epoch":
			for i := at; i < n; i++ {
				head := audit.Head{Source: source}
				if i > 0 {
					head = records[i-1].Head()
				}
				head.Epoch = 7
				records[i].Link(head)
			}
			want = []audit.FaultKind{audit.FaultSeal}
		}
		report := verifyWith(t, lines(records), o)
		if report.OK || !slices.ContainsFunc(kindsOf(report), func(k audit.FaultKind) bool { return slices.Contains(want, k) }) {
			t.Fatalf("%s at %d: %v is not named\n%s", act, at, want, describe(report))
		}
	})
}

func TestWhatAnAuditorIsTold(t *testing.T) {
	key := audit.KeyOf(1)
	minutes := func(s *script, n int) {
		for range n {
			s.event(audit.TaskOutcome, time.Second)
			s.seal(59 * time.Second)
		}
	}
	begun := func() *script {
		s := newScript(key)
		s.event(audit.ServerStarted, 0)
		minutes(s, 3)
		return s
	}
	note := func(k audit.FaultKind) []audit.FaultKind { return []audit.FaultKind{k} }
	cases := map[string]struct {
		trail  func(s *script, o *audit.VerifyOptions)
		faults []audit.FaultKind
		notes  []audit.FaultKind
		says   string
	}{
		"nothing":         {trail: func(*script, *audit.VerifyOptions) {}, says: "sealed up to record"},
		"fetched later":   {trail: func(s *script, o *audit.VerifyOptions) { o.Now = s.now.Add(4 * time.Minute) }, faults: note(audit.FaultSilence), says: "nothing was heard for 4 minutes, since 2026-03-01T12:03:00Z"},
		"fetched at once": {trail: func(s *script, o *audit.VerifyOptions) { o.Now = s.now.Add(2 * time.Minute) }},
		"stopped long ago": {trail: func(s *script, o *audit.VerifyOptions) {
			s.event(audit.ServerStopped, time.Second)
			s.seal(0)
			o.Now = s.now.Add(time.Hour)
		}, faults: note(audit.FaultSilence), says: "it had said that it stops"},
		"killed": {trail: func(s *script, _ *audit.VerifyOptions) {
			s.event(audit.ServerStarted, time.Hour)
			minutes(s, 1)
		}, notes: note(audit.FaultSilence), says: "no heartbeat for 1 hour, from 2026-03-01T12:03:00Z to 2026-03-01T13:03:00Z; then the server was started, though it had not said that it stopped"},
		"stopped and started": {trail: func(s *script, _ *audit.VerifyOptions) {
			s.event(audit.ServerStopped, time.Second)
			s.seal(0)
			s.event(audit.ServerStarted, time.Hour)
			minutes(s, 1)
		}},
		"hung": {trail: func(s *script, _ *audit.VerifyOptions) { s.seal(5 * time.Minute) }, notes: note(audit.FaultSilence), says: "no heartbeat for 5 minutes"},
		"a clock that jumps back": {trail: func(s *script, _ *audit.VerifyOptions) {
			s.event(audit.TaskOutcome, -time.Hour)
			minutes(s, 1)
		}, notes: note(audit.FaultClock), says: "the clock went back by 1 hour, to 2026-03-01T11:03:00Z"},
		"a clock that is set right": {trail: func(s *script, _ *audit.VerifyOptions) {
			s.event(audit.TaskOutcome, -10*time.Second)
			minutes(s, 1)
		}},
		"a clock that jumps on": {trail: func(s *script, _ *audit.VerifyOptions) {
			s.now = s.now.Add(24 * time.Hour)
			minutes(s, 1)
		}, notes: note(audit.FaultSilence)},
		"no seal behind": {trail: func(s *script, _ *audit.VerifyOptions) {
			for range 5 {
				s.event(audit.TaskOutcome, time.Minute)
			}
		}, faults: note(audit.FaultUnsealed), says: "5 records are not sealed, since 2026-03-01T12:03:00Z"},
		"a little without a seal": {trail: func(s *script, _ *audit.VerifyOptions) { s.event(audit.TaskOutcome, time.Second) }, says: "behind that 1 record is not"},
		"many without a seal": {trail: func(s *script, _ *audit.VerifyOptions) {
			for range 4100 {
				s.event(audit.TaskOutcome, 0)
			}
		}, faults: note(audit.FaultUnsealed)},
		"a key that was not given": {trail: func(_ *script, o *audit.VerifyOptions) { o.Keys = nil }, notes: note(audit.FaultKey), says: "no public key was given"},
		"another key given":        {trail: func(_ *script, o *audit.VerifyOptions) { *o = believing(audit.KeyOf(5)) }, faults: note(audit.FaultKey), says: "NONE of them good"},
		"a key that was lost, vouched for later": {trail: func(s *script, o *audit.VerifyOptions) {
			s.key = audit.KeyOf(2)
			s.seal(time.Minute)
			*o = believing(audit.KeyOf(2))
		}},
		"a source that should not be there": {trail: func(_ *script, o *audit.VerifyOptions) { o.Sources = []string{"server-2"} }, faults: note(audit.FaultSource)},
	}
	for name, c := range cases {
		s, o := begun(), believing(key)
		c.trail(s, &o)
		report := verifyWith(t, lines(s.records), o)
		var notes []audit.FaultKind
		for _, n := range report.Notes {
			notes = append(notes, n.Kind)
		}
		slices.Sort(notes)
		if !slices.Equal(kindsOf(report), c.faults) || !slices.Equal(slices.Compact(notes), c.notes) || !strings.Contains(describe(report), c.says) {
			t.Errorf("%s: %v and notes %v instead of %v and %v, %q\n%s", name, kindsOf(report), notes, c.faults, c.notes, c.says, describe(report))
		}
	}
}

// A host's own chain has no seals, and a trail from before there were any has
// none: only who was given a key can tell.
func TestTrailsWithoutSeals(t *testing.T) {
	host := extend(audit.Head{Source: "agent:web1.example.com"}, 5)
	if report := verifyWith(t, lines(host), believing(audit.KeyOf(1))); !report.OK {
		t.Error(describe(report))
	}
	if report := verifyWith(t, lines(chained(5)), believing(audit.KeyOf(1))); !slices.Equal(kindsOf(report), []audit.FaultKind{audit.FaultUnsealed}) {
		t.Error(describe(report))
	}
	if report := verifyWith(t, lines(chained(5)), audit.VerifyOptions{Now: time.Now()}); !report.OK || len(report.Notes) > 0 {
		t.Error(describe(report))
	}
}

// A restored server has forgotten records, and may have another key.
func TestSealsAfterARestore(t *testing.T) {
	s := newScript(audit.KeyOf(1))
	s.event(audit.ServerStarted, 0)
	for range 5 {
		s.event(audit.TaskOutcome, time.Second)
		s.seal(time.Minute)
	}
	base := s.records[4].Head()
	old := s.records
	base.Epoch = 2
	s.head, s.sealed = base, 5
	s.event(audit.ServerRestored, time.Hour)
	s.key = audit.KeyOf(2)
	s.seal(time.Second)
	s.event(audit.TaskOutcome, time.Second)
	s.seal(time.Minute)
	both := believing(audit.KeyOf(1), audit.KeyOf(2))
	report := verifyWith(t, lines(s.records), both)
	if src := report.Sources[0]; !report.OK || len(report.Notes) > 0 || src.Superseded != int64(len(old)-5) || src.Unsealed != 0 {
		t.Error(describe(report))
	}
	// What was lost by the restore is vouched for by no later seal.
	report = verifyWith(t, lines(s.records), believing(audit.KeyOf(2)))
	if !slices.Equal(kindsOf(report), []audit.FaultKind{audit.FaultKey}) || report.Faults[0].Seq != 3 {
		t.Error(describe(report))
	}
}

// newerRecord has a member that this version does not know; its hash is good.
func newerRecord(r audit.Record) []byte {
	body := bytes.Replace(r.Canonical(), []byte(`,"hash":"`+r.Hash+`"}`), []byte(`,"region":"e\u202eu"}`), 1)
	sum := sha256.Sum256(body)
	return append(body[:len(body)-1], []byte(`,"hash":"`+hex.EncodeToString(sum[:])+`"}`+"\n")...)
}

func TestBadFilesAreNamed(t *testing.T) {
	records := chained(3)
	next := audit.Head{Source: source}
	newer := newerRecord(extend(next, 1)[0])
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(lines(records))
	z.Close()
	for name, c := range map[string]struct {
		text  []byte
		kinds []audit.FaultKind
		says  string
	}{
		"a newer version":         {newer, []audit.FaultKind{audit.FaultNewer}, `it has the member "region", which this version does not know`},
		"a newer version, forged": {bytes.Replace(newer, []byte("anna"), []byte("evil"), 1), []audit.FaultKind{audit.FaultEmpty, audit.FaultMalformed}, "unknown field"},
		"a log of others":         {[]byte("Mar  1 12:00:00 server-1 sshd[7]: Accepted\nMar  1 12:00:01 server-1 cron[8]: ran\n"), []audit.FaultKind{audit.FaultEmpty}, "no record of restartilka"},
		"xz":                      {[]byte("\xfd7zXZ\x00\x00\x04"), []audit.FaultKind{audit.FaultEmpty, audit.FaultMalformed}, "packed with xz"},
		"zstd":                    {[]byte("\x28\xb5\x2f\xfd\x04\x88"), []audit.FaultKind{audit.FaultEmpty, audit.FaultMalformed}, "packed with zstd"},
		"gzip":                    {packed.Bytes(), nil, "the trail is whole: 3 lines"},
		"a picture":               {[]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), []audit.FaultKind{audit.FaultEmpty, audit.FaultTorn}, ""},
		"NULs":                    {append(lines(records), make([]byte, 4096)...), []audit.FaultKind{audit.FaultTorn}, ""},
	} {
		report := verify(t, c.text)
		if !slices.Equal(kindsOf(report), c.kinds) || !strings.Contains(describe(report), c.says) {
			t.Errorf("%s: %v instead of %v, %q\n%s", name, kindsOf(report), c.kinds, c.says, describe(report))
		}
	}
	// Half a packed file is no end.
	if _, err := audit.Verify(bytes.NewReader(packed.Bytes()[:packed.Len()-12])); err == nil {
		t.Error("a packed file that was cut is read as whole")
	}
}

func TestSeveralFilesAreOneTrail(t *testing.T) {
	records := chained(30)
	in := func(name string, text []byte) audit.Input {
		return audit.Input{Name: name, Reader: bytes.NewReader(text)}
	}
	good := []audit.Input{in("a.2", lines(records[:10])), in("a.1", lines(records[10:20])), in("a", lines(records[20:])), in("fresh", nil)}
	report, err := audit.VerifyInputs(good, audit.VerifyOptions{Heads: []audit.Head{records[29].Head()}})
	if err != nil || !report.OK || report.Lines != 30 {
		t.Error(describe(report), err)
	}
	report, err = audit.VerifyInputs([]audit.Input{in("a.1", lines(records[:10])), in("b\x1b", []byte("hello\n")), in("a", lines(records[11:]))}, audit.VerifyOptions{})
	if err != nil || !slices.Equal(kindsOf(report), []audit.FaultKind{audit.FaultEmpty, audit.FaultGap}) {
		t.Error(describe(report), err)
	}
	if out := describe(report); !strings.Contains(out, "a, line 1: gap: record 11 of") || !strings.Contains(out, `b\x1b: empty`) {
		t.Error(out)
	}
}

// Lines of every length come through the blocks in order.
func TestBlocksLoseNoLine(t *testing.T) {
	var text []byte
	head := audit.Head{Source: source}
	for i := range 3000 {
		r := event(i)
		r.Detail = strings.Repeat("x", i*7%5000)
		r.Link(head)
		head = r.Head()
		text = append(append(text, r.Canonical()...), '\n')
	}
	report := verify(t, text, head)
	if !report.OK || report.Lines != 3000 {
		t.Error(describe(report))
	}
	at := bytes.Index(text, []byte(`"seq":2222,`))
	text[at-3] ^= 1
	report = verify(t, text)
	if len(report.Faults) == 0 || report.Faults[0].Line != 2222 {
		t.Error(describe(report))
	}
	long := slices.Concat(lines(chained(1)), bytes.Repeat([]byte("x"), 1<<20), []byte("\n"), lines(chained(2)[1:]))
	report = verify(t, long)
	if report.Lines != 3 || len(report.Faults) != 1 || report.Faults[0].Line != 2 {
		t.Error(describe(report))
	}
}
