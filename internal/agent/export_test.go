package agent

// LaidAt is laidAt.
var LaidAt = laidAt

// Verb is a line of the table of verbs as tests see it.
type Verb struct{ Method, Path, Policy string }

// Verbs gives the table of what servers may ask, LocalVerbs that of root here.
func Verbs() []Verb      { return seen((&Agent{}).verbs()) }
func LocalVerbs() []Verb { return seen((&Agent{}).localVerbs()) }

func seen(table []verb) []Verb {
	var out []Verb
	for _, v := range table {
		out = append(out, Verb{v.method, v.path, string(v.policy)})
	}
	return out
}
