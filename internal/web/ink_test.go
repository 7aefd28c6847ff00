package web

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// shownAs gives rows in a readable form: <class>text.
func shownAs(rows []row) string {
	var out []string
	for _, r := range rows {
		line := ""
		for _, s := range r {
			if s.Class != "" {
				line += "<" + s.Class + ">"
			} else if line != "" {
				line += "<>"
			}
			line += s.Text
		}
		out = append(out, line)
	}
	return strings.Join(out, "|")
}

func TestRows(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"\n":                                  "",
		"a\n\nb":                              "a||b",
		"dos\r\nend\n":                        "dos|end",
		"10 %\r20 %\rdone\n":                  "10 %|20 %|done",
		"a\tb":                                "a\tb",
		"\x1b[31mred\x1b[0m plain":            "<t2>red<> plain",
		"\x1b[1;4;32mok\x1b[22;24m!\x1b[39m.": "<t3 b u>ok<t3>!<>.",
		"\x1b[31mone\ntwo\x1b[m\nthree":       "<t2>one|<t2>two|three",
		"\x1b[;31mred":                        "<t2>red",
		"\x1b[7mx\x1b[31my\x1b[27m":           "<g9>x<g2>y",
		"\x1b[91;100mx\x1b[49;90my":           "<t2 g9>x<t9>y",
		"\x1b[30;40mhidden":                   "<g1>hidden", // it can be read all the same
		"\x1b[8mhidden":                       "hidden",
		"\x1b[38;5;196mr\x1b[38;5;46mg\x1b[38;5;21mb\x1b[38;5;244mx\x1b[38;5;255mw": "<t2>r<t3>g<t5>b<t9>x<t8>w",
		"\x1b[38;2;255;0;0mr\x1b[48:2::0:0:255mb\x1b[38:2:0:255:255mc":              "<t2>r<t2 g5>b<t7 g5>c",
		"\x1b[38;5;9;1mx":                         "<t2 b>x",
		"\x1b[38mx\x1b[38;2;1mx\x1b[48;7;31my":    "x<t1>x<t2>y",
		"\x1b]0;owned\x07\x1b[2J":                 `\x1b]0;owned\x07\x1b[2J`,
		"\x1b[31":                                 `\x1b[31`,
		"\u202egnp.exe \xff":                      `\u{202e}gnp.exe \xff`,
		"\x1b[" + strings.Repeat("1;", 40) + "mx": `\x1b[` + strings.Repeat("1;", 40) + "mx",
	} {
		if got := shownAs(rowsOf(in, &ink{})); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	long := strings.Repeat("я", maxRow)
	rows := rowsOf(long+"\nend", &ink{})
	if len(rows) != 3 || rows[0][0].Text+rows[1][0].Text != long || len(rows[0][0].Text) != maxRow {
		t.Errorf("a long line gives %d rows", len(rows))
	}
}

func TestInkAsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := ink{hue(rapid.IntRange(0, 9).Draw(t, "text")), hue(rapid.IntRange(0, 9).Draw(t, "ground")), rapid.Bool().Draw(t, "bold"), rapid.Bool().Draw(t, "under"), rapid.Bool().Draw(t, "inverse")}
		if again := inkOf(k.String()); again != k {
			t.Fatalf("%+v comes back as %+v", k, again)
		}
	})
	for _, bad := range []string{"", "1", "0000", `"><`, "a00", "-10"} {
		if k := inkOf(bad); k != (ink{}) {
			t.Errorf("%q is %+v", bad, k)
		}
	}
}

func TestRowAsJSON(t *testing.T) {
	b, err := json.Marshal([]row{{{Text: "</script>"}, {Text: "&"}}, {{"a", ""}, {"b", "t2"}}, {}})
	if want := `["\u003c/script\u003e\u0026",["a","","b","t2"],""]`; err != nil || string(b) != want {
		t.Errorf("%s %v, want %s", b, err, want)
	}
}

// However the output comes in pieces, the same is shown.
func TestOutputInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "line", "\n", "\r\n", "\x1b[31m", "\x1b[0m", "\x1b[1;38;5;2", "m", "я", "\xff", "\t", "\x1b[2J"}), 0, 60).Draw(t, "text"), "")
		var rows []row
		offset, k := int64(0), "000"
		for {
			end := min(int(offset)+rapid.IntRange(1, 40).Draw(t, "more"), len(text))
			if rapid.Bool().Draw(t, "all") {
				end = len(text)
			}
			data := text[offset:end]
			cut := rapid.IntRange(0, len(data)).Draw(t, "cut")
			pieces := []protocol.Output{{Offset: offset, Data: []byte(data[:cut])}, {Offset: offset + int64(cut), Data: []byte(data[cut:])}}
			a := outputRows(english, pieces, offset, inkOf(k))
			if a.Next < offset || a.Next > int64(end) {
				t.Fatalf("from %d to %d, and on at %d", offset, end, a.Next)
			}
			rows, offset, k = append(rows, a.Rows...), a.Next, a.Ink
			if end == len(text) {
				rows = append(rows, a.Rest...)
				break
			}
		}
		if got, want := shownAs(rows), shownAs(rowsOf(text, &ink{})); got != want {
			t.Fatalf("%q in pieces: %q, want %q", text, got, want)
		}
	})
}

func TestOutputWithAGap(t *testing.T) {
	a := outputRows(english, []protocol.Output{
		{Offset: 0, Data: []byte("\x1b[31mhead\nhal")}, {Offset: 13, Truncated: 1000}, {Offset: 1013, Data: []byte("tail\nopen")},
	}, 0, ink{})
	if got := shownAs(a.Rows); got != "<t2>head|<t2>hal|<gap>… 1000 bytes were not kept …|tail" {
		t.Errorf("%q", got)
	}
	if got := shownAs(a.Rest); got != "open" || a.Next != 1018 || a.Ink != "000" || a.More {
		t.Errorf("rest %q, %+v", got, a)
	}
}

// An endless line is shown as it comes, and never cut within a character or a
// colour.
func TestEndlessLine(t *testing.T) {
	text := strings.Repeat("я\x1b[32m", longest/4)
	text = text[:longest+maxColour+3]
	a := outputRows(english, []protocol.Output{{Data: []byte(text)}}, 0, ink{})
	if a.Next < longest-maxColour || len(a.Rest) == 0 {
		t.Fatalf("on at %d of %d", a.Next, len(text))
	}
	if shown := shownAs(a.Rows); strings.Contains(shown, `\x`) {
		t.Errorf("cut in the wrong place: …%s", shown[len(shown)-40:])
	}
	if rest := text[a.Next:]; !utf8.RuneStart(rest[0]) && rest[0] != '\x1b' {
		t.Errorf("goes on with %q", rest[:4])
	}
}

func FuzzRows(f *testing.F) {
	f.Add("a\x1b[0m\r\n\xff\u202e\t\x1b[38;5;300;7mx\x1b[48:2::1:2:3m", "217")
	class := regexp.MustCompile(`^(t[1-9])? ?(g[1-9])? ?b? ?u?$`)
	f.Fuzz(func(t *testing.T, text, start string) {
		k := inkOf(start)
		for _, r := range rowsOf(text, &k) {
			size := 0
			for _, s := range r {
				size += len(s.Text)
				if !class.MatchString(s.Class) {
					t.Fatalf("%q gives the class %q", text, s.Class)
				}
				for _, c := range s.Text {
					if c != '\t' && !restart.Printable(c) {
						t.Fatalf("%q gives %U", text, c)
					}
				}
			}
			if size > 8*maxRow {
				t.Fatalf("a row of %d bytes", size)
			}
		}
	})
}

// Each colour of a text can be read on the page and on each ground, by day and
// by night: a contrast of 4.5 at least, as WCAG asks.
func TestInkCanBeRead(t *testing.T) {
	style, err := os.ReadFile("static/style/51-output.css")
	if err != nil {
		t.Fatal(err)
	}
	colour := regexp.MustCompile(`\.ink \.([tg]\d)(?:, \.ink \.([tg]\d))? \{ (?:color|background): light-dark\((#\w+), (#\w+)\) \}`)
	texts, grounds := map[string][2]string{}, map[string][2]string{"page": {"#fffefb", "#1b2120"}}
	for _, m := range colour.FindAllStringSubmatch(string(style), -1) {
		for _, name := range m[1:3] {
			switch {
			case strings.HasPrefix(name, "t"):
				texts[name] = [2]string{m[3], m[4]}
			case name != "":
				grounds[name] = [2]string{m[3], m[4]}
			}
		}
	}
	texts["page"] = [2]string{"#1d2524", "#e6e6de"}
	if len(texts) != 10 || len(grounds) != 10 {
		t.Fatalf("%d texts, %d grounds", len(texts), len(grounds))
	}
	for text, a := range texts {
		for ground, b := range grounds {
			for i, when := range []string{"day", "night"} {
				if c := contrast(a[i], b[i]); c < 4.5 {
					t.Errorf("%s on %s by %s: %.2f", text, ground, when, c)
				}
			}
		}
	}
}

// contrast of two colours, by WCAG 2.
func contrast(a, b string) float64 {
	light := func(c string) float64 {
		c = strings.TrimPrefix(c, "#")
		if len(c) == 3 {
			c = fmt.Sprintf("%c%c%c%c%c%c", c[0], c[0], c[1], c[1], c[2], c[2])
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(c[2*i:2*i+2], 16, 8)
			if err != nil {
				panic(err)
			}
			part := float64(n) / 255
			if part <= 0.04045 {
				part /= 12.92
			} else {
				part = math.Pow((part+0.055)/1.055, 2.4)
			}
			sum += weight * part
		}
		return sum
	}
	x, y := light(a), light(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}
