package web

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/control"
)

// Config lists everything that the pages depend on. Needed are those
// before Entrance, and Record.
type Config struct {
	Control  *control.Control
	Auth     authn.Method   // recognises a browser that is signed in; tokens in a header are the API's
	Tokens   authn.Tokens   // with which people sign in
	Sessions authn.Sessions // which sign-in opens and sign-out closes
	// Entrance takes in people with passwords; nil = only tokens do.
	Entrance  *authn.Entrance
	Redirects []authn.Redirect // methods that send the browser elsewhere
	People    authn.People     // who takes in whom they send back
	// Record adds a record to the audit trail: of a refused sign-in.
	Record func(ctx context.Context, rec audit.Record) error
	SSH    *SSH // nil = nobody comes by SSH
	// Chats are the kinds of chats in which the bot works; their accounts can be
	// linked.
	Chats []string
	// NoRemoteLog is said to admins and auditors, on every page.
	NoRemoteLog bool
	// Keepalive is how often an event stream says that it is alive; 0 is 15 s.
	Keepalive time.Duration
	Logger    *slog.Logger
	Now       func() time.Time // nil = time.Now
}

// Handler gives the pages, from "/" on. Event streams end with the request's
// context: a server that stops cancels its BaseContext first.
func Handler(cfg Config) http.Handler { return newSite(cfg).mux }

// site is the pages with what they are made of.
type site struct {
	cfg     Config
	assets  *assets
	pages   pages
	mux     *http.ServeMux
	live    *broadcasts
	present *presence
	table   []route // what is mounted

	reports *reports // of thread dumps

	replayPolicy func() (string, error)
	reviewing    chan struct{} // holds one for each review that is being worked out
}

func newSite(cfg Config) *site {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Keepalive == 0 {
		cfg.Keepalive = 15 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &site{cfg: cfg, assets: embeddedAssets(), mux: http.NewServeMux(), reviewing: make(chan struct{}, reviewsAtOnce)}
	s.reports = &reports{}
	s.pages = parsePages(s.assets)
	s.replayPolicy = sync.OnceValues(func() (string, error) { return policyOfReplay(s.pages) })
	s.live = &broadcasts{site: s, byRun: map[string]*broadcast{}}
	s.present = &presence{site: s, readers: map[string]*watched{}}
	for _, r := range s.routes() {
		s.mount(r)
	}
	return s
}
