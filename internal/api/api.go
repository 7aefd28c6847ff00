package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/control"
)

// Config lists everything that the API depends on. Control and Authn are needed.
type Config struct {
	Control *control.Control
	Authn   authn.Chain
	// Ready looks whether the server can work; nil is always ready. Anybody who
	// asks /readyz is shown the names, and which of them hold; no error's text.
	Ready func(ctx context.Context) []Check
	// Metrics answers /metrics, behind a token; nil is no such route.
	Metrics http.Handler
	// Keepalive is how often an event stream says that it is alive; 0 is 15 s.
	// Whether its reader still may read it, it looks once a second.
	Keepalive time.Duration
	Logger    *slog.Logger
	Now       func() time.Time // nil = time.Now
}

// Check is one thing that must hold so that the server can work.
type Check struct {
	Name string // a word, such as database
	Err  error  // nil = it holds
	Note string // what whoever watches should know although it holds; "" = nothing
}

// Handler gives the API: everything below /api/, and /ping, /readyz and
// /metrics. The event streams end with the request's context: a server that
// stops cancels its BaseContext first.
func Handler(cfg Config) http.Handler { return newAPI(cfg).mux }

type api struct {
	cfg   Config
	mux   *http.ServeMux
	huma  huma.API
	table []route // what is mounted
}

func newAPI(cfg Config) *api {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Keepalive == 0 {
		cfg.Keepalive = 15 * time.Second
	}
	a := &api{cfg: cfg, mux: http.NewServeMux()}
	a.huma = huma.NewAPI(a.describe(), adapter{a})
	for _, r := range a.routes() {
		a.table = append(a.table, r)
		r.mount(r.operation())
	}
	a.huma.OpenAPI().Webhooks = a.hooks()
	forgetUnused(a.huma.OpenAPI())
	return a
}
