package analyse_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

func collapsed(t *testing.T, f *analyse.Flame) string {
	t.Helper()
	var out bytes.Buffer
	if err := analyse.Collapsed(&out, f); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCollapsed(t *testing.T) {
	t.Parallel()
	d := jvm(0, thread(1, "pool-1-thread-1", dump.Running, stack("b;c", "a")), thread(2, "pool-1-thread-2", dump.Running, stack("b;c", "a")), thread(3, "main", dump.Running, stack("a")), thread(4, "none", dump.Running, nil), thread(5, "idle", dump.Waiting, inIdle))
	for want, o := range map[string]analyse.FlameOptions{
		"(no stack) 1\na 1\na;b:c 2\njava.lang.Thread.run;": {},
		"(no stack) 1\na 1\na;b:c 2\n":                      {Busy: true},
		"idle;java.lang.Thread.run;":                        {Pools: true},
	} {
		got := collapsed(t, analyse.FlameOf([]*dump.Dump{d, nil}, o))
		if !strings.HasPrefix(got, want) || o.Busy && got != want {
			t.Errorf("with %+v the stacks are\n%swant\n%s", o, got, want)
		}
	}
}

// A capture of a JVM with virtual threads has its other threads in both of its
// forms: they are one look.
func TestFlameOfTwoForms(t *testing.T) {
	t.Parallel()
	capture := func(nth int) []*dump.Dump {
		header := &dump.Header{PID: 7, Number: nth}
		text, other := jvm(nth, thread(1, "main", dump.Running, stack("a"))), jvm(nth, thread(1, "main", dump.Running, stack("a")), thread(2, "", dump.Waiting, stack("v")))
		text.Header, other.Header, other.Format, other.Threads[1].Virtual = header, header, dump.HotSpotJSON, true
		return []*dump.Dump{text, other}
	}
	f := analyse.FlameOf(append(capture(1), capture(2)...), analyse.FlameOptions{})
	if got, want := collapsed(t, f), "a 2\nv 2\n"; got != want || f.Dumps != 2 {
		t.Errorf("%d dumps have the stacks\n%swant\n%s", f.Dumps, got, want)
	}
	f = analyse.FlameOf(capture(1)[1:], analyse.FlameOptions{})
	if got, want := collapsed(t, f), "a 1\nv 1\n"; got != want {
		t.Errorf("the form alone has the stacks\n%swant\n%s", got, want)
	}
}

func TestFlameByCPU(t *testing.T) {
	t.Parallel()
	at := func(nth int, a, b time.Duration, frames []dump.Frame) *dump.Dump {
		return withCPU(jvm(nth, thread(1, "a", dump.Running, frames), thread(2, "b", dump.Running, stack("other"))), a, b)
	}
	f := analyse.FlameOf([]*dump.Dump{at(0, 3, 0, stack("first")), at(1, 10, -1, stack("second")), at(2, 10, 5, stack("second"))}, analyse.FlameOptions{Weight: analyse.ByCPU})
	if got, want := collapsed(t, f), "first 3\nother 5\nsecond 7\n"; got != want {
		t.Errorf("the stacks are\n%swant\n%s", got, want)
	}
}

func TestFlameIsBounded(t *testing.T) {
	t.Parallel()
	deep := make([]dump.Frame, 50_000)
	for i := range deep {
		deep[i].Function = "com.acme.Tree.visit"
	}
	f := analyse.FlameOf([]*dump.Dump{jvm(0, thread(1, "a", dump.Running, deep))}, analyse.FlameOptions{})
	if f.Depth != analyse.MaxFlame+1 || !strings.HasSuffix(collapsed(t, f), ";… 1\n") {
		t.Errorf("a stack of 50,000 frames is a flame of %d", f.Depth)
	}
}

// TestSpeedscope checks a file by the rules of speedscope's file-format-spec.ts.
func TestSpeedscope(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*dump.Dump{"hangs": hangs(), "empty": jvm(0), "no stacks": jvm(0, thread(1, "a", dump.Running, nil))} {
		f := analyse.FlameOf([]*dump.Dump{d}, analyse.FlameOptions{})
		var out bytes.Buffer
		if err := analyse.Speedscope(&out, f, "shop on shop01"); err != nil {
			t.Fatal(err)
		}
		var file struct {
			Schema   string `json:"$schema"`
			Name     string `json:"name"`
			Exporter string `json:"exporter"`
			Active   *int   `json:"activeProfileIndex"`
			Shared   struct {
				Frames []struct {
					Name *string `json:"name"`
					File *string `json:"file"`
				} `json:"frames"`
			} `json:"shared"`
			Profiles []struct {
				Type    string  `json:"type"`
				Name    *string `json:"name"`
				Unit    string  `json:"unit"`
				Start   *int64  `json:"startValue"`
				End     *int64  `json:"endValue"`
				Samples [][]int `json:"samples"`
				Weights []int64 `json:"weights"`
			} `json:"profiles"`
		}
		strict := json.NewDecoder(&out)
		strict.DisallowUnknownFields()
		if err := strict.Decode(&file); err != nil {
			t.Fatal(err)
		}
		if file.Schema != "https://www.speedscope.app/file-format-schema.json" || len(file.Profiles) != 1 || file.Active == nil || *file.Active != 0 || file.Shared.Frames == nil {
			t.Fatalf("%s: the file is %+v", name, file)
		}
		for _, frame := range file.Shared.Frames {
			if frame.Name == nil || *frame.Name == "" {
				t.Errorf("%s: a frame without a name", name)
			}
		}
		p := file.Profiles[0]
		if p.Type != "sampled" || p.Unit != "none" || p.Name == nil || p.Start == nil || p.End == nil || p.Samples == nil || p.Weights == nil || len(p.Samples) != len(p.Weights) {
			t.Fatalf("%s: the profile is %+v", name, p)
		}
		sum := int64(0)
		for i, sample := range p.Samples {
			sum += p.Weights[i]
			for _, frame := range sample {
				if frame < 0 || frame >= len(file.Shared.Frames) {
					t.Errorf("%s: frame %d of %d", name, frame, len(file.Shared.Frames))
				}
			}
		}
		if sum != int64(len(d.Threads)) || *p.Start != 0 || *p.End != sum {
			t.Errorf("%s: weights of %d from %d to %d, want %d", name, sum, *p.Start, *p.End, len(d.Threads))
		}
		if name == "hangs" {
			sample := p.Samples[0]
			if first := *file.Shared.Frames[sample[0]].Name; first != "java.lang.Thread.run" {
				t.Errorf("a sample begins with %s, want the outermost frame", first)
			}
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestExportsTellOfAFullDisk(t *testing.T) {
	t.Parallel()
	f := analyse.FlameOf([]*dump.Dump{hangs()}, analyse.FlameOptions{})
	if err := analyse.Collapsed(full{}, f); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("collapsed stacks: %v", err)
	}
	if err := analyse.Speedscope(full{}, f, "x"); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("speedscope: %v", err)
	}
}
