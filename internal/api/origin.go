package api

import (
	"net/http"

	"github.com/restartilka/restartilka/internal/restart"
)

// checkOrigin refuses what another site makes a browser send in the name of
// somebody who is signed in here. A request with a token is not meant: browsers
// add cookies by themselves, but never that header. One with a cookie that
// changes state must say where it comes from, and the place must be ours; a
// stream, which would tell another page what happens here, may not come from
// elsewhere either.
func checkOrigin(r *http.Request, actor restart.Actor, stream bool) error {
	if r.Header.Get("Authorization") != "" && actor.Via != "web" {
		return nil
	}
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if safe && !stream {
		return nil
	}
	asked := r
	if safe {
		asked = r.Clone(r.Context())
		asked.Method = http.MethodPost // the check passes over GET
	} else if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return restart.Errorf(restart.CodeForbidden, "the request does not say which page it comes from").
			WithHint("a browser sends Origin or Sec-Fetch-Site; programs use a token instead of the cookie")
	}
	if err := http.NewCrossOriginProtection().Check(asked); err != nil {
		return restart.Errorf(restart.CodeForbidden, "the request comes from another site").Because(err)
	}
	return nil
}
