package protocol

import (
	"crypto/x509"
	"time"
)

// JoinRequest is the body of POST /api/v1/join, which a new host sends to the
// server with a join token as its bearer token. The key never leaves the host.
type JoinRequest struct {
	Host  string    `json:"host" doc:"the host's full name" maxLength:"253"`
	CSR   string    `json:"csr" doc:"PKCS #10 request, PEM" maxLength:"16384"`
	Clock time.Time `json:"clock" doc:"the host's time: a certificate would not hold where it is far off"`
}

// JoinAnswer is what a host needs to know its server, and to be known.
type JoinAnswer struct {
	Certificate string    `json:"certificate" doc:"PEM"`
	CA          string    `json:"ca" doc:"PEM: who signs the servers' certificates"`
	Server      string    `json:"server" doc:"for agent.yaml's servers"`
	EnvelopeKey string    `json:"envelope_key" doc:"PEM, for agent.yaml's envelope_keys"`
	Clock       time.Time `json:"clock" doc:"the server's time"`
}

// RenewalRequest answers POST /v1/certificate/request: the request to certify a
// key that the agent has just made.
type RenewalRequest struct {
	CSR string `json:"csr"` // PEM
}

// Renewal is the body of PUT /v1/certificate. The answer is a CertificateReport
// of what the agent shows from its next handshake on.
type Renewal struct {
	Certificate string `json:"certificate"` // PEM
}

// ReportCertificate tells of a certificate; nil of none.
func ReportCertificate(cert *x509.Certificate) *CertificateReport {
	if cert == nil {
		return nil
	}
	return &CertificateReport{
		Serial: cert.SerialNumber.Text(16), Issuer: cert.Issuer.String(), NotAfter: cert.NotAfter.UTC(),
	}
}
