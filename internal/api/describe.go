package api

import (
	"encoding/json"
	"net/http"
	"path"
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
	"github.com/restartilka/restartilka/internal/wire"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 1 << 20

var problemResponse = &huma.Response{
	Description: "what was refused or went wrong, and what to do",
	Content:     map[string]*huma.MediaType{wire.ProblemType: {Schema: &huma.Schema{Ref: schemaPrefix + "Problem"}}},
}

const schemaPrefix = "#/components/schemas/"

// describe configures huma: our own problem documents, JSON only, no pages and
// no routes of its own.
func (a *api) describe() huma.Config {
	schemas := huma.NewMapRegistry(schemaPrefix, schemaName)
	// Types that write themselves as JSON in their own way.
	schemas.RegisterTypeAlias(reflect.TypeFor[restart.Duration](), reflect.TypeFor[string]())
	schemas.RegisterTypeAlias(reflect.TypeFor[audit.Record](), reflect.TypeFor[AuditRecord]())
	schemas.Schema(reflect.TypeFor[wire.Problem](), true, "Problem")
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "restartilka",
				Version:     version.Current().Version,
				Description: "Developers restart their own services safely, host after host. Every route but /ping and /readyz needs a token, /api/v1/join one of its own kind.",
				License:     &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":    {Type: "http", Scheme: "bearer", Description: "made with: restartilka token create"},
					"calendar": {Type: "apiKey", In: "query", Name: "token", Description: "of the address of somebody's calendar: see makeCalendar"},
					"join":     {Type: "http", Scheme: "bearer", Description: "the secret of a join token: what follows its last dot; made with: restartilka host join-token"},
					"session":  {Type: "apiKey", In: "cookie", Name: "__Host-restartilka", Description: "of a signed-in browser"},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{a.translate},
	}
}

// schemaName names a type in the description. The two packages about thread
// dumps have words of their own that others have too.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch path.Base(t.PkgPath()) {
	case "dump":
		return "Captured" + name
	case "analyse":
		return "Found" + name
	}
	return name
}

// forgetUnused drops huma's own error types from the description: we answer
// with none of them.
func forgetUnused(o *huma.OpenAPI) {
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		delete(o.Components.Schemas.Map(), name)
	}
}

// openAPI answers with the description of all routes in OpenAPI 3.1.
func (a *api) openAPI() http.HandlerFunc {
	return a.described(func() ([]byte, error) { return json.Marshal(a.huma.OpenAPI()) })
}

// openAPI30 answers with it in OpenAPI 3.0, for generators of clients that know
// nothing newer.
func (a *api) openAPI30() http.HandlerFunc {
	return a.described(func() ([]byte, error) { return a.huma.OpenAPI().Downgrade() })
}

// described answers with a description, encoded once.
func (a *api) described(text func() ([]byte, error)) http.HandlerFunc {
	encode := sync.OnceValues(text)
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := encode()
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Write(b) //nolint:errcheck // the caller has gone
	}
}

// AuditRecord describes the JSON of audit.Record, which encodes itself.
type AuditRecord struct {
	Source         string            `json:"source,omitempty"`
	Epoch          int64             `json:"epoch,omitempty"`
	Seq            int64             `json:"seq" doc:"from 1, without gaps; 0 while it has no place in the trail yet"`
	PrevHash       string            `json:"prev_hash,omitempty"`
	Time           time.Time         `json:"time_utc"`
	Actor          string            `json:"actor,omitempty"`
	Origin         string            `json:"origin,omitempty"`
	Action         string            `json:"action"`
	Run            string            `json:"run,omitempty"`
	Task           string            `json:"task,omitempty"`
	Attempt        int               `json:"attempt,omitempty"`
	Service        string            `json:"service,omitempty"`
	Environment    string            `json:"environment,omitempty"`
	Host           string            `json:"host,omitempty"`
	ScenarioDigest string            `json:"scenario_digest,omitempty"`
	Params         map[string]string `json:"params,omitempty"`
	Reason         string            `json:"reason,omitempty"`
	Outcome        string            `json:"outcome,omitempty"`
	Detail         string            `json:"detail,omitempty"`
	Hash           string            `json:"hash,omitempty"`
}
