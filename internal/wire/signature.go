package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook's request.
const (
	HeaderID        = "Restartilka-Id"        // of the message: the same for each try
	HeaderEvent     = "Restartilka-Event"     //
	HeaderTimestamp = "Restartilka-Timestamp" // when this try was signed, in seconds since 1970
	HeaderSignature = "Restartilka-Signature" // "sha256=" and Sign's hex
)

// Sign gives the hex of HMAC-SHA256 over the timestamp, a dot and the body:
// whoever knows the secret can tell that both are the server's.
func Sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// VerifySignature is the receiver's side of Sign, over the values of two headers
// and the body as it came. What was signed longer than patience ago, or as long
// after now, is refused; 0 = 5 minutes.
func VerifySignature(secret []byte, timestamp, signature string, body []byte, now time.Time, patience time.Duration) error {
	if patience <= 0 {
		patience = 5 * time.Minute
	}
	if len(secret) == 0 {
		return errors.New("there is no secret to verify by")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("its timestamp is no number of seconds")
	}
	got, found := strings.CutPrefix(signature, "sha256=")
	if !found || !hmac.Equal([]byte(got), []byte(Sign(secret, timestamp, body))) {
		return errors.New("its signature is not by this secret over this body")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > patience || age < -patience {
		return errors.New("it was signed at another time: it may have been sent before")
	}
	return nil
}
