package api

import "net/http"

// Mounted is a route as tests see it.
type Mounted struct{ Method, Path, Policy string }

// Table gives all routes of a configuration.
func Table(cfg Config) []Mounted {
	var out []Mounted
	for _, r := range newAPI(cfg).table {
		out = append(out, Mounted{r.method, r.path, string(r.policy)})
	}
	return out
}

// Forgotten gives a handler with one more route, whose policy was forgotten.
func Forgotten(cfg Config, path string, h http.Handler) http.Handler {
	a := newAPI(cfg)
	a.handle("", path, route{}, h)
	return a.mux
}
