package outgoing

import (
	"crypto/x509"
	"errors"
	"net"
)

// TookTooLong is why a server that is slow does not answer.
const TookTooLong = "it takes too long"

// Why says in words why a request had no answer, for people who need not know
// where the server is: no address is in them. asked tells that the server may
// have done what it was asked for all the same.
func Why(err error) (why string, asked bool) {
	var dns *net.DNSError
	var dial *net.OpError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var timeout net.Error
	switch {
	case errors.Is(err, ErrAddress):
		return "its name leads to an address that is not called", false
	case errors.As(err, &dns):
		return "its name can't be resolved", false
	case errors.As(err, &unknown), errors.As(err, &name):
		return "its certificate is not believed", false
	case errors.As(err, &dial) && dial.Op == "dial" && dial.Timeout():
		return TookTooLong, false
	case errors.As(err, &dial) && dial.Op == "dial":
		return "nothing listens there", false
	case errors.As(err, &timeout) && timeout.Timeout():
		return TookTooLong, true
	}
	return "the connection broke off", true
}
