package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/restartilka/restartilka/internal/wire"
)

// hooks describes what this server sends to others, as webhooks: the same event
// for all, in one schema.
func (a *api) hooks() map[string]*huma.PathItem {
	text := &huma.Schema{Type: huma.TypeString}
	header := func(name, what string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: what, Schema: text}
	}
	event := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[wire.Notification](), true, "Notification")
	return map[string]*huma.PathItem{"event": {Post: &huma.Operation{
		OperationID: "receiveEvent", Summary: "Something a receiver asked to be told of; any answer of 2xx has taken it",
		Parameters: []*huma.Param{
			header("Restartilka-Id", "of the message: the same for each try"), header("Restartilka-Event", "as in the body"),
			header("Restartilka-Timestamp", "when this try was signed, in seconds since 1970"),
			header("Restartilka-Signature", "sha256= and the hex of HMAC-SHA256, by the secret, over the timestamp, a dot and the body"),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: event}}},
		Responses:   map[string]*huma.Response{"2XX": {Description: http.StatusText(http.StatusOK)}},
	}}}
}
