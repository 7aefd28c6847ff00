package api

import (
	"net/http"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

// checkOrigin holds requests with a cookie to authn.CheckOrigin. One with a
// token is not meant: no page can make a browser send that header.
func checkOrigin(r *http.Request, actor restart.Actor, stream bool) error {
	if actor.Via == "ssh" { // such a request was made in this process: see authn.Keys
		return nil
	}
	if r.Header.Get("Authorization") != "" && actor.Via != "web" {
		return nil
	}
	return authn.CheckOrigin(r, stream)
}
