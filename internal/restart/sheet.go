package restart

import "strings"

// SheetCell makes a text harmless to a spreadsheet, which takes what begins with
// one of these for a formula: a quote before it makes it text. It is one line.
func SheetCell(s string) string {
	s = Escape(s)
	if t := strings.TrimLeft(s, " \u00a0\u3000"); t != "" && strings.ContainsRune("=+-@\t\r\n|＝＋－＠", []rune(t)[0]) {
		return "'" + s
	}
	return s
}
