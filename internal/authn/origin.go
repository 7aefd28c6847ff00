package authn

import (
	"net/http"

	"github.com/restartilka/restartilka/internal/restart"
)

// CheckOrigin refuses what another site makes a browser send in the name of
// somebody who is signed in here: a request that changes something must say
// where it comes from, by Origin or Sec-Fetch-Site, and that must be here. A
// stream, which would tell another page what happens, is held to the same. It
// is for requests with a cookie: browsers add those by themselves, but never a
// token.
func CheckOrigin(r *http.Request, stream bool) error {
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
			WithHint("a browser sends Origin or Sec-Fetch-Site by itself; programs use a token instead of the cookie")
	}
	if err := http.NewCrossOriginProtection().Check(asked); err != nil {
		return restart.Errorf(restart.CodeForbidden, "the request comes from another site").Because(err)
	}
	return nil
}
