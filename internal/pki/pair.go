package pki

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Pair is where a host keeps its certificate and its key, and how both are
// exchanged for new ones. Two files can't be replaced in one step, so a crash
// in between is mended by Recover, which an agent calls before it reads them:
//
//	step                                     found after a crash here
//	1 new key      → KEY.next                the old pair; KEY.next is dropped
//	2 certificate  → CERT.next               CERT.next fits KEY.next: steps 3 and 4 follow
//	3 CERT.next    → CERT                    CERT fits KEY.next: step 4 follows
//	4 KEY.next     → KEY                     the new pair
//
// 3 and 4 may reach the disk in the other order; CERT.next fits KEY then. Each
// file is written as WritePEM does it. The methods are for one caller at a time.
type Pair struct {
	Cert, Key string // paths

	step func(name string) // called before each change of a file; nil but in tests
}

const next = ".next"

func (p Pair) before(name string) {
	if p.step != nil {
		p.step(name)
	}
}

// Prepare makes a new key for the agent of host, keeps it beside the present
// one, and gives the request to certify it. Nothing that is in use changes.
// Files that are no plain files were laid by somebody else, who renews them
// (CodeConflict).
func (p Pair) Prepare(host string) (csrPEM []byte, err error) {
	if err := p.Recover(); err != nil {
		return nil, err
	}
	for _, path := range []string{p.Cert, p.Key} {
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			return nil, restart.Errorf(restart.CodeConflict, "%s is not a plain file: whoever laid it has to renew it", path)
		}
	}
	key, csrPEM, err := NewAgentCSR(host)
	if err != nil {
		return nil, err
	}
	p.before("key.next")
	return csrPEM, WritePEM(p.Key+next, key, 0o600)
}

// Replace puts the certificate of the key that Prepare has made into use. It
// is taken only where it is that of host's agent, was signed by an authority of
// caFile, belongs to that key, is valid now and lives longer than the present
// one (CodeCertificate). What is refused changes nothing.
func (p Pair) Replace(certPEM []byte, caFile, host string, now time.Time) (*x509.Certificate, error) {
	chain, err := CheckAgent(certPEM, caFile, host, now)
	if err != nil {
		return nil, err
	}
	if !fits(chain, p.Key+next) {
		return nil, restart.Errorf(restart.CodeCertificate, "the certificate is not for the key that this host has made last").
			WithHint("the renewal is tried again with a new request")
	}
	if present, err := readCertificates(p.Cert); err == nil && !chain[0].NotAfter.After(present[0].NotAfter) {
		return nil, restart.Errorf(restart.CodeCertificate, "the new certificate ends on %s, no later than the present one, on %s", day(chain[0].NotAfter), day(present[0].NotAfter)).
			WithHint("if the authority itself ends then, make a new one: docs/operations.md")
	}
	p.before("cert.next")
	if err := WritePEM(p.Cert+next, certPEM, 0o644); err != nil {
		return nil, err
	}
	return chain[0], p.turn()
}

// Install lays a key with its certificate where there may be none yet, by the
// same steps. The caller has judged the certificate. CodeConflict where somebody
// else has exchanged the files at the same time, so that it is to be done again.
func (p Pair) Install(keyPEM, certPEM []byte) error {
	p.before("key.next")
	if err := WritePEM(p.Key+next, keyPEM, 0o600); err != nil {
		return err
	}
	p.before("cert.next")
	if err := WritePEM(p.Cert+next, certPEM, 0o644); err != nil {
		return err
	}
	if err := p.turn(); err != nil {
		return err
	}
	// The agent is another program, and may have been asked to renew meanwhile.
	if !p.Whole() || !p.Belongs(keyPEM) {
		return restart.Errorf(restart.CodeConflict, "%s and %s were exchanged by somebody else meanwhile", p.Cert, p.Key).
			WithHint("if the agent runs here, a renewal may have come in between: do the same once more")
	}
	return nil
}

// turn does the steps 3 and 4.
func (p Pair) turn() error {
	p.before("cert")
	if err := move(p.Cert+next, p.Cert); err != nil {
		return err
	}
	p.before("key")
	if err := move(p.Key+next, p.Key); err != nil {
		return err
	}
	p.before("done")
	return nil
}

// Recover finishes, or takes back, an exchange that a crash has interrupted.
// Without one it does nothing; files that fit in no way are left as they are,
// and reading them says what is wrong.
func (p Pair) Recover() error {
	newCert, err := exists(p.Cert + next)
	if err != nil {
		return err
	}
	newKey, err := exists(p.Key + next)
	if err != nil || (!newCert && !newKey) {
		return err
	}
	at := func(path string) []*x509.Certificate {
		certs, err := readCertificates(path)
		if err != nil {
			return nil
		}
		return certs
	}
	present, offered := at(p.Cert), at(p.Cert+next)
	switch {
	case offered != nil && fits(offered, p.Key+next):
		return p.turn()
	case offered != nil && fits(offered, p.Key) && !fits(present, p.Key):
		return move(p.Cert+next, p.Cert)
	case fits(present, p.Key): // step 1 only, or an exchange that was never finished
		return errors.Join(remove(p.Cert+next), remove(p.Key+next))
	case fits(present, p.Key+next):
		return move(p.Key+next, p.Key)
	}
	return nil
}

// Belongs tells whether there is a certificate, and it is for this key (PEM).
func (p Pair) Belongs(keyPEM []byte) bool {
	chain, err := readCertificates(p.Cert)
	if err != nil {
		return false
	}
	key, err := parsePrivate(keyPEM)
	return err == nil && samePublic(chain[0].PublicKey, key.Public())
}

// Whole tells whether both files are there and belong together.
func (p Pair) Whole() bool {
	chain, err := readCertificates(p.Cert)
	return err == nil && fits(chain, p.Key)
}

// fits tells whether a certificate belongs to the key of a file.
func fits(chain []*x509.Certificate, keyFile string) bool {
	if len(chain) == 0 {
		return false
	}
	text, err := readSecret(keyFile)
	if err != nil {
		return false
	}
	key, err := parsePrivate(text)
	return err == nil && samePublic(chain[0].PublicKey, key.Public())
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := readPublic(path)
	if err != nil {
		return nil, err
	}
	return parseCertificates(text)
}

func move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// CheckAgent judges a certificate (PEM, intermediates may follow) as a server
// would at the handshake with host's agent, by the authorities of caFile: whose
// it is, who signed it, its use, and whether it is valid at now. It gives the
// chain as it was read.
func CheckAgent(certPEM []byte, caFile, host string, now time.Time) ([]*x509.Certificate, error) {
	text, err := readPublic(caFile)
	if err != nil {
		return nil, err
	}
	return checkAgent(certPEM, text, caFile, host, now)
}

// CheckIssued judges a certificate in the same way that was issued for a key,
// by authorities that are given (PEM). It gives the leaf.
func CheckIssued(certPEM, authorities, keyPEM []byte, host string, now time.Time) (*x509.Certificate, error) {
	chain, err := checkAgent(certPEM, authorities, "the authority", host, now)
	if err != nil {
		return nil, err
	}
	key, err := parsePrivate(keyPEM)
	if err != nil {
		return nil, in("the key", err)
	}
	if !samePublic(chain[0].PublicKey, key.Public()) {
		return nil, restart.Errorf(restart.CodeCertificate, "the certificate is not for the key that was sent")
	}
	return chain[0], nil
}

func checkAgent(certPEM, authorities []byte, from, host string, now time.Time) ([]*x509.Certificate, error) {
	chain, err := parseCertificates(certPEM)
	if err != nil {
		return nil, in("the certificate", err)
	}
	pool, _, err := parseAuthorities(authorities)
	if err != nil {
		return nil, in(from, err)
	}
	if err := verifyAgent(chain, pool, host, now); err != nil {
		if e := Explain(err); e != nil {
			return nil, e
		}
		return nil, err
	}
	return chain, nil
}

// ReadCertificate reads the first certificate of a file.
func ReadCertificate(path string) (*x509.Certificate, error) {
	chain, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}

// NewKeyPEM makes a private key.
func NewKeyPEM() ([]byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return encodePrivate(key)
}

// ReadKey reads a private key's file, which others may not read, as PEM.
func ReadKey(path string) ([]byte, error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	if _, err := parsePrivate(text); err != nil {
		return nil, in(path, err)
	}
	return text, nil
}
