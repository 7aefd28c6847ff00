package audit

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

// streamSettings mean something to the sinks that ship syslog messages over a
// TLS connection of their own.
var streamSettings = []string{"address", "ca", "server_name", "certificate", "key", "facility"}

// streamDialer notices a host that is gone without a word.
var streamDialer = net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}

func checkStream(c SinkConfig) error {
	if err := c.checkAddress("such as logs.example.com:6514"); err != nil {
		return err
	}
	if err := c.checkTLS(); err != nil {
		return err
	}
	_, err := newHeader(c.Facility)
	return err
}

func (c SinkConfig) checkAddress(hint string) error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return restart.Errorf(restart.CodeInvalid, "the address %s of a %s sink is not HOST:PORT", restart.Quote(c.Address), c.Kind).WithHint("%s", hint)
	}
	return nil
}

// checkTLS wants a CA, and both halves of a certificate or none.
func (c SinkConfig) checkTLS() error {
	if c.CA == "" {
		return restart.Errorf(restart.CodeInvalid, "the %s sink %s has no ca", c.Kind, c.Place()).
			WithHint("name the PEM file of the CA that signed the receiver's certificate; the system's CAs are not used")
	}
	if (c.Certificate == "") != (c.Key == "") {
		return restart.Errorf(restart.CodeInvalid, "the %s sink %s has a certificate without a key, or a key without a certificate", c.Kind, c.Place()).
			WithHint("give both, or neither where the receiver asks for none")
	}
	return nil
}

// tls reads the files that the settings name.
func (c SinkConfig) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("read the CA of %s sink %s: %w", c.Kind, c.Place(), err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, restart.Errorf(restart.CodeCertificate, "%s holds no certificate", c.CA).WithHint("it has to be a PEM file")
	}
	config := &tls.Config{RootCAs: roots, ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.Certificate != "" {
		// Read at each connection, so that a renewed certificate is used.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := pki.LoadKeyPair(c.Certificate, c.Key)
			return &pair, err
		}
		if _, err := config.GetClientCertificate(nil); err != nil {
			return nil, fmt.Errorf("read the certificate of %s sink %s: %w", c.Kind, c.Place(), err)
		}
	}
	return config, nil
}

// streamTLS completes the TLS settings of a connection to address: the server
// name defaults to its host.
func streamTLS(kind, address string, given *tls.Config) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the address %s of a %s sink is not HOST:PORT", restart.Quote(address), kind)
	}
	if given == nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the %s sink %s has no TLS settings", kind, address)
	}
	config := given.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if config.ServerName == "" {
		config.ServerName = host
	}
	return config, nil
}
