package api

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// policy says who may call a route. The zero policy lets nobody in.
type policy string

const (
	anybody    policy = "public"
	signedIn   policy = "signed-in" // and what each may do, control decides
	subscribed policy = "calendar"  // a calendar program that has the token of somebody's calendar; for reading alone
	joining    policy = "join"      // whoever shows the secret of a join token; control decides what it is still good for
)

// route is one line of the table.
type route struct {
	id      string // of the operation, for those who generate clients
	method  string // "" = any
	path    string
	policy  policy
	summary string
	mount   func(huma.Operation)
	status  int    // of success; 0 = 200, or 204 without a body
	media   string // of success, where it is not JSON
	stream  bool   // a cookie request for it must come from our own pages
	hidden  bool   // not in the OpenAPI description
	most    int64  // bytes of the body; 0 = maxBody

	refusals audit.Action // under which a request that can't even be read is recorded; "" = it is not
}

// operation describes the route for huma. The policy travels inside, so that
// whatever huma puts onto the mux is guarded by it.
func (r route) operation() huma.Operation {
	op := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, Hidden: r.hidden,
		DefaultStatus: r.status, MaxBodyBytes: cmp.Or(r.most, maxBody),
		Metadata:  map[string]any{"route": r},
		Responses: map[string]*huma.Response{"default": problemResponse},
	}
	if r.policy == signedIn {
		op.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	}
	if r.policy == subscribed {
		op.Security = []map[string][]string{{"calendar": {}}}
	}
	if r.policy == joining {
		op.Security = []map[string][]string{{"join": {}}}
	}
	if r.media != "" {
		op.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{r.media: {Schema: &huma.Schema{Type: huma.TypeString}}}}
	}
	return op
}

// adapter is huma's way onto the mux: through the guard, like everybody's.
type adapter struct{ a *api }

func (ad adapter) Handle(op *huma.Operation, h func(huma.Context)) {
	r, _ := op.Metadata["route"].(route) // without one: the zero policy
	ad.a.handle(op.Method, op.Path, r, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h(humago.NewContext(op, req, w))
	}))
}

func (ad adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { ad.a.mux.ServeHTTP(w, r) }

// handle is the only place where anything is put onto the mux.
func (a *api) handle(method, path string, r route, h http.Handler) {
	pattern := path
	if method != "" {
		pattern = method + " " + path
	}
	a.mux.Handle(pattern, a.guard(r, h))
}

// guard lets those in whom the route's policy names, and nobody else. Nothing
// of the request but its headers has been looked at before.
func (a *api) guard(r route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		id := restart.NewID(a.cfg.Now())
		ctx := context.WithValue(req.Context(), requestIDKey{}, id)
		from, _, _ := net.SplitHostPort(req.RemoteAddr)
		ctx = context.WithValue(ctx, fromKey{}, from)
		req = req.WithContext(ctx)
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		switch r.policy {
		case anybody:
			next.ServeHTTP(w, req)
		case signedIn:
			actor, err := a.cfg.Authn.Authenticate(ctx, req)
			if err == nil && actor.Name == "" {
				err = restart.Errorf(restart.CodeUnauthorised, "nobody is signed in")
			}
			if err == nil {
				err = checkOrigin(req, actor, r.stream)
			}
			if err != nil {
				a.refuse(w, req, err)
				return
			}
			next.ServeHTTP(w, req.WithContext(context.WithValue(ctx, actorKey{}, actor)))
		case subscribed:
			actor, err := a.subscriber(req)
			if err != nil {
				a.refuse(w, req, err)
				return
			}
			next.ServeHTTP(w, req.WithContext(context.WithValue(ctx, actorKey{}, actor)))
		case joining:
			who, err := a.joiner(req)
			if err != nil {
				a.refuse(w, req, err)
				return
			}
			next.ServeHTTP(w, req.WithContext(context.WithValue(ctx, joinerKey{}, who)))
		default:
			a.refuse(w, req, restart.Errorf(restart.CodeForbidden, "this route has no policy, so that nobody may call it"))
		}
	})
}

// joiner finds out which join token a request shows.
func (a *api) joiner(req *http.Request) (control.Joiner, error) {
	var secret string
	if values := req.Header.Values("Authorization"); len(values) == 1 {
		if scheme, rest, ok := strings.Cut(values[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
			secret = strings.TrimSpace(rest)
		}
	}
	from, _, _ := net.SplitHostPort(req.RemoteAddr)
	return a.cfg.Control.Joiner(req.Context(), secret, from)
}

type (
	requestIDKey struct{}
	fromKey      struct{}
	actorKey     struct{}
	joinerKey    struct{}
)

// joinerOf gives what the guard found out; the zero Joiner on other routes.
func joinerOf(ctx context.Context) control.Joiner {
	who, _ := ctx.Value(joinerKey{}).(control.Joiner)
	return who
}

// fromOf gives the address that a request came from.
func fromOf(ctx context.Context) string {
	from, _ := ctx.Value(fromKey{}).(string)
	return from
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// actorOf gives whom the guard let in; nobody on a public route.
func actorOf(ctx context.Context) restart.Actor {
	actor, _ := ctx.Value(actorKey{}).(restart.Actor)
	return actor
}
