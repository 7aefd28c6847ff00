package scenario

import (
	"fmt"
	"strings"
)

// parent gives the path around a key: "health" for "health.http", "" at the top.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}

// hintKeys says which key was perhaps meant, or which there are.
func hintKeys(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "known here: " + strings.Join(known, ", ")
}

// hintValues says the same of a value.
func hintValues(word string, known []string) string {
	hint := "one of: " + strings.Join(known, ", ")
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %s? %s", near, hint)
	}
	return hint
}

// nearest gives the known word that is one or two slips of the finger away.
func nearest(word string, known []string) string {
	best, distance := "", min(3, 1+len(word)/2)
	for _, k := range known {
		if d := slips(word, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// short bounds a word of the file in a message; its letters are known to be harmless.
func short(word string) string {
	const most = 40
	if len(word) > most {
		return word[:most] + "…"
	}
	return word
}

// slips counts the letters to insert, remove or change between a and b: the
// Levenshtein distance. Words too different in length are not compared.
func slips(a, b string) int {
	if max(len(a), len(b))-min(len(a), len(b)) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0] // of the row above, before it is overwritten
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			d := left
			if a[i] != b[j] {
				d = 1 + min(left, above, row[j])
			}
			row[j+1], left = d, above
		}
	}
	return row[len(b)]
}
