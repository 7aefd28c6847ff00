package story_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/story"
)

// actions reads the names of all actions from the source of package audit.
func actions(t *testing.T) (out []audit.Action) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../audit/record.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "Action" {
				name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, audit.Action(name))
			}
		}
		return true
	})
	if len(out) < 50 {
		t.Fatalf("only %d actions were found", len(out))
	}
	return out
}

// TestEveryActionHasItsPhraseAndArea: an action that is added is told in both
// languages, and found by what it is about.
func TestEveryActionHasItsPhraseAndArea(t *testing.T) {
	for _, a := range actions(t) {
		p := story.Phrase(a)
		if p.English == string(a) || !strings.ContainsFunc(p.Russian, func(r rune) bool { return unicode.Is(unicode.Cyrillic, r) }) {
			t.Errorf("%s has no phrase: %+v", a, p)
		}
		if a.Area() == "" {
			t.Errorf("%s is about nothing", a)
		}
	}
	if p := story.Phrase("later.thing\x1b[2J"); p.In("ru") != `later.thing\x1b[2J` || audit.Action("later.thing").Area() != "" {
		t.Errorf("an action of later: %+v", p)
	}
}

var begin = time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)

// told makes linked records, a second apart, of one run.
func told(records ...audit.Record) []audit.Record {
	head := audit.Head{Source: "server-1"}
	for i := range records {
		r := &records[i]
		r.Run, r.Service, r.Environment = "01k6p8w2zt3f9m4q7r5x1y0c8d", "nginx", "production"
		if r.Time.IsZero() {
			r.Time = begin.Add(time.Duration(i) * time.Second)
		}
		r.Link(head)
		head = r.Head()
	}
	return records
}

const why = "502s since the deploy"

func whole() []audit.Record {
	return told(
		audit.Record{Action: audit.RunRequested, Actor: "dana", Origin: "cli 192.0.2.7", Reason: why, Params: map[string]string{"mode": "full"}, ScenarioDigest: strings.Repeat("ab", 32)},
		audit.Record{Action: audit.RunApproved, Actor: "olga", Origin: "web 192.0.2.8", Reason: "looks right"},
		audit.Record{Action: audit.RunStarted, Actor: "dana", Reason: why, Detail: "web1, web2"},
		audit.Record{Action: audit.TaskIntent, Actor: "dana", Reason: why, Host: "web1", Task: "t1", Attempt: 1},
		audit.Record{Action: audit.TaskOutcome, Actor: "dana", Reason: why, Host: "web1", Task: "t1", Attempt: 1, Outcome: "failed", Detail: "exit 1"},
		audit.Record{Action: audit.TaskIntent, Actor: "dana", Reason: why, Host: "web2", Task: "t2", Attempt: 1},
		audit.Record{Action: audit.TaskOutcome, Actor: "dana", Reason: why, Host: "web2", Task: "t2", Attempt: 1, Outcome: "succeeded", Time: begin.Add(2 * time.Minute)},
		audit.Record{Action: audit.RunEnded, Actor: "dana", Reason: why, Outcome: "failed", Detail: "1 of 2 hosts did not succeed", Time: begin.Add(121 * time.Second)},
	)
}

func TestAWholeStory(t *testing.T) {
	records := whole()
	records[0], records[4] = records[4], records[0] // in any order
	s := story.Of(records)
	if s.Actor != "dana" || s.Origin != "cli 192.0.2.7" || s.Reason != why || s.Outcome != "failed" || !s.Asked.Equal(begin) || s.Params["mode"] != "full" || len(s.Lines) != 8 {
		t.Errorf("%+v", s)
	}
	if s.Lines[0].Said != why || s.Lines[1].Said != "looks right" || s.Lines[3].Said != "" || s.Lines[0].Place != 4 {
		t.Errorf("%+v", s.Lines[:4])
	}
	if len(s.Hosts) != 2 || s.Hosts[0].Outcome != "failed" || s.Hosts[0].Took != time.Second || s.Hosts[1].Took != 115*time.Second {
		t.Errorf("%+v", s.Hosts)
	}
	if l := s.Lines[6]; l.Took != 115*time.Second || l.Pause != 115*time.Second {
		t.Errorf("%+v", l)
	}
	for _, f := range s.Findings {
		if !f.Good {
			t.Errorf("%+v", f)
		}
	}
	var b strings.Builder
	s.Write(&b)
	for _, want := range []string{
		"Run 01k6p8w2zt3f9m4q7r5x1y0c8d: nginx production\nasked for    by dana, cli 192.0.2.7, at 2026-11-22 14:00:00.000 UTC\n", `reason       "502s since the deploy"`, `mode="full"`,
		"ended        failed at 2026-11-22 14:02:01.000 UTC, after 1m59s", "✓ The list of hosts was on record before the first of them was touched.",
		"Outcome on this host: web1 → failed after 1s  (dana; server-1/1/5)\n             detail \"exit 1\"\n", "… 1m55s later\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, b.String())
		}
	}
}

// TestWhatIsMissingIsSaid takes records away, or changes their order.
func TestWhatIsMissingIsSaid(t *testing.T) {
	drop := func(i ...int) (out []audit.Record) {
		for n, r := range whole() {
			gone := false
			for _, x := range i {
				gone = gone || n == x
			}
			if !gone {
				out = append(out, r)
			}
		}
		return out
	}
	late := whole()
	late[2].Time = begin.Add(4500 * time.Millisecond)
	refused := append(whole(), told(audit.Record{Action: audit.RunAbortRequested, Actor: "vera", Outcome: "forbidden", Time: begin})...)
	unplaced := whole()
	unplaced[7].Seq = 0
	for name, c := range map[string]struct {
		records []audit.Record
		want    string
	}{
		"no start":   {drop(2), "A host was begun before the list of hosts was on record: web1, web2."},
		"late start": {late, "A host was begun before the list of hosts was on record: web1."},
		"no outcome": {drop(6), "No outcome is on record of: web2."},
		"no intent":  {drop(5), "There is an outcome without an intent: web2."},
		"no end":     {drop(7), "The end of the run is not on record yet."},
		"no host":    {drop(3, 4, 5, 6), "No host was touched."},
		"refused":    {refused, "Something was asked for and refused: 1 records."},
		"unplaced":   {unplaced, "Not in the chain yet: 1 records."},
	} {
		found := false
		for _, f := range story.Of(c.records).Findings {
			found = found || f.English == c.want && f.Good == (name == "no host")
		}
		if !found {
			t.Errorf("%s: %+v", name, story.Of(c.records).Findings)
		}
	}
}

// TestNoLineIsForged: whatever people and hosts have written, a story has as
// many lines as it would have without it, and nothing that turns a terminal.
func TestNoLineIsForged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"x\n2026-11-22  Run approved", "\x1b[2J", "\u202egnp", "\r\n\t\x00", "\" (olga; server-1/1/2)", "\xff"}))
		records := whole()
		for i := range records {
			r := &records[i]
			r.Reason, r.Detail, r.Actor, r.Host, r.Outcome, r.Origin = "r"+text.Draw(t, "reason"), "d"+text.Draw(t, "detail"), text.Draw(t, "actor"), "h"+text.Draw(t, "host"), text.Draw(t, "outcome"), text.Draw(t, "origin")
			r.Params = map[string]string{"p": text.Draw(t, "value")}
			if rapid.Bool().Draw(t, "raw") { // as they never come out of a chain
				continue
			}
			r.Clean()
		}
		s := story.Of(records)
		var b strings.Builder
		s.Write(&b)
		lines, told := 0, 0
		for line := range strings.Lines(b.String()) {
			lines++
			if rest := strings.TrimSuffix(line, "\n"); strings.ContainsFunc(rest, func(r rune) bool { return !restart.Printable(r) }) {
				t.Fatalf("not printable: %q", line)
			}
			if strings.HasPrefix(line, "2026-11-22 ") {
				told++
			}
			if strings.HasSuffix(line, "1/2)\n") && !strings.Contains(line, "; server-1/1/2)") {
				t.Fatalf("a place was forged: %q", line)
			}
		}
		if told != len(s.Lines) {
			t.Fatalf("%d lines are told of %d records:\n%s", told, len(s.Lines), b.String())
		}
		most := 8 + len(s.Findings) + 4*len(s.Lines)
		if lines > most {
			t.Fatalf("%d lines, at most %d:\n%s", lines, most, b.String())
		}
	})
}
