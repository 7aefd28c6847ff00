package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Explain turns what went wrong in a TLS handshake into a sentence for people,
// with CodeCertificate (CodeRevoked where that is why), and the error as its cause. It gives nil for an error
// that is not about certificates or the handshake: nobody listens, a time-out.
//
// In TLS 1.3 a client is told only after its own handshake that its certificate
// was refused, so errors of the first read or request belong here too.
func Explain(err error) *restart.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*restart.Error](err); ok && (e.Code == restart.CodeCertificate || e.Code == restart.CodeRevoked) {
		return e
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return unknownAuthority(e.Cert, err)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return invalid(e, time.Now(), err)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return say(err, "the certificate is not for %s: it is for %s", restart.Quote(e.Host), Names(e.Certificate)).
			WithHint("issue one that carries the name, or use a name that it carries")
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return say(err, "the peer does not speak TLS").WithHint("is another program on this port, or a proxy in between?")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return refused(e.Err.Error(), err)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return say(err, "the certificate does not hold: %s", restart.Escape(e.Err.Error()))
	}
	if text := err.Error(); strings.Contains(text, "tls: ") {
		return local(text, err)
	}
	return nil
}

func say(cause error, format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeCertificate, format, args...).Because(cause)
}

func unknownAuthority(cert *x509.Certificate, cause error) *restart.Error {
	issuer, names := "an unknown one", "nobody"
	if cert != nil {
		issuer, names = restart.Quote(cert.Issuer.String()), Names(cert)
	}
	return say(cause, "the certificate of %s was issued by an authority that is not trusted here: %s", names, issuer).
		WithHint("both ends must trust the authority of the other: compare the pinned CA files")
}

func invalid(e x509.CertificateInvalidError, now time.Time, cause error) *restart.Error {
	switch e.Reason {
	case x509.Expired:
		if now.Before(e.Cert.NotBefore) {
			return say(cause, "the certificate of %s is valid only from %s on", Names(e.Cert), day(e.Cert.NotBefore)).
				WithHint("check the clocks of both ends")
		}
		return say(cause, "the certificate of %s expired on %s", Names(e.Cert), day(e.Cert.NotAfter)).
			WithHint("issue a new one: restartilka host issue; it is taken up without a restart")
	case x509.IncompatibleUsage:
		return wrongUsage(e.Cert, cause)
	}
	return say(cause, "the certificate of %s does not hold: %s", Names(e.Cert), restart.Escape(e.Error()))
}

func wrongUsage(cert *x509.Certificate, cause error) *restart.Error {
	return say(cause, "the certificate of %s may not be used in this direction", Names(cert)).
		WithHint("agents need the extended key usage serverAuth, a server that calls them clientAuth")
}

// refused explains the alert by which the other end ended the handshake. Its
// type is not exported by crypto/tls, only its text.
func refused(alert string, cause error) *restart.Error {
	const lookThere = "the other end's log says more"
	switch {
	case strings.HasSuffix(alert, "certificate required"):
		return say(cause, "the other end wants a certificate, and none was shown to it").WithHint("set the certificate and key of this end")
	case strings.HasSuffix(alert, "unknown certificate authority"):
		return say(cause, "the other end does not trust the authority of our certificate").
			WithHint("both ends must trust the authority of the other: compare the pinned CA files")
	case strings.HasSuffix(alert, "expired certificate"):
		return say(cause, "the other end says that our certificate has expired, or is not valid yet").
			WithHint("issue a new one, and check the clocks of both ends")
	case strings.Contains(alert, "certificate"): // bad, unsupported, revoked, unknown
		return say(cause, "the other end refused our certificate").
			WithHint("it must be that of a server which agent.yaml lists under servers:; %s", lookThere)
	case strings.Contains(alert, "protocol version"):
		return say(cause, "the other end refused our version of TLS").WithHint("both ends speak TLS 1.3 and nothing older")
	}
	return say(cause, "the other end ended the TLS handshake: %s", restart.Escape(strings.TrimPrefix(alert, "tls: "))).WithHint("%s", lookThere)
}

// local explains an error of our own end that has no type of its own.
func local(text string, cause error) *restart.Error {
	switch {
	case strings.Contains(text, "didn't provide a certificate"):
		return say(cause, "the peer showed no certificate").WithHint("every caller of an agent needs one")
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "protocol version"):
		return say(cause, "the peer does not speak TLS 1.3").WithHint("nothing older is accepted")
	}
	return say(cause, "the TLS handshake went wrong: %s", restart.Escape(text))
}
