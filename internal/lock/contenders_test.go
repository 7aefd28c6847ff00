package lock

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestWhoContends(t *testing.T) {
	line := inLine([]string{
		"config", "6d2f__lock__0000000007", "_c_6d2f-4a-lock-0000000003", "aa__rlock__0000000005", "lock-12", "x__lock__0000000004.tmp", "lock-00000000041", "bb__lock__-2147483648", "aa__lock__", "", "__lock__0000000001x",
	})
	var got []string
	for _, c := range line {
		got = append(got, fmt.Sprint(c.number))
	}
	if want := []string{"-2147483648", "3", "5", "7"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", line, want)
	}
}

// Whatever lies in the folder: those that contend stand in the order of their
// numbers, each once, and nothing else does.
func TestLinesAtRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names []string
		want := map[string]int64{}
		for i, n := range rapid.SliceOfNDistinct(rapid.Int64Range(0, 9_999_999_999), 0, 20, rapid.ID[int64]).Draw(t, "numbers") {
			name := fmt.Sprintf("%032x%s%010d", i, rapid.SampledFrom([]string{"__lock__", "__rlock__", "-lock-"}).Draw(t, "recipe"), n)
			names, want[name] = append(names, name), n
		}
		names = append(names, rapid.SliceOfN(rapid.StringMatching(`[a-z_-]{0,12}`), 0, 5).Draw(t, "others")...)
		line := inLine(rapid.Permutation(names).Draw(t, "order"))
		if len(line) != len(want) {
			t.Fatalf("%v of %v", line, names)
		}
		for i, c := range line {
			if want[c.name] != c.number || i > 0 && line[i-1].number >= c.number {
				t.Fatalf("%v", line)
			}
		}
	})
}

// Whatever a node says of itself is one harmless line, and only what is ours is
// taken for ours.
func FuzzDescribe(f *testing.F) {
	f.Add("x__lock__0000000001", newOurs(Claim{Run: restart.NewID(time.Unix(0, 0)), Epoch: 2, Actor: "anna", Server: "main"}))
	f.Add("lock-0000000001", []byte("host7\n\x1b[2J"))
	f.Add("\u202e", []byte(`{"by":"restartilka","run":"../../x"}`))
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		text := describe(name, data, time.Unix(1e9, 0))
		if text != restart.Escape(text) || strings.Contains(text, "\n") || len(text) > 4<<10 {
			t.Errorf("%q", text)
		}
		if o, is := readOurs(data); is && restart.CheckID(o.Run) != nil {
			t.Errorf("%+v", o)
		}
	})
}
