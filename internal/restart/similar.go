package restart

import (
	"cmp"
	"slices"
	"strings"
)

// Similar gives up to three known names that resemble name, nearest first: those
// that begin with it (a host without its domain), and those that are few edits away: one for
// every three letters, five at most.
func Similar(name string, known []string) []string {
	const most, longest = 3, 100
	if name == "" || len(name) > longest {
		return nil
	}
	wanted := strings.ToLower(name)
	limit := min((len(wanted)+2)/3, 5)
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for _, k := range known {
		lower := strings.ToLower(k)
		switch {
		case strings.HasPrefix(lower, wanted+"."), lower == wanted:
			found = append(found, candidate{k, 0})
		case len(lower)-len(wanted) > limit, len(wanted)-len(lower) > limit:
		default:
			if d := levenshtein(wanted, lower); d <= limit {
				found = append(found, candidate{k, d})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var out []string
	for _, c := range found[:min(len(found), most)] {
		if found[0].distance == 0 && c.distance > 0 {
			break // what begins with it is what was meant
		}
		out = append(out, c.name)
	}
	return out
}

// levenshtein counts the bytes to insert, delete or replace to make b of a.
func levenshtein(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
