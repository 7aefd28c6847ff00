package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

const (
	// MaxFile bounds every PEM file read, in bytes.
	MaxFile = 1 << 20

	blockCertificate = "CERTIFICATE"
	blockRequest     = "CERTIFICATE REQUEST"
	blockPrivate     = "PRIVATE KEY"
	blockPublic      = "PUBLIC KEY"
)

// WritePEM stores a PEM file durably: temporary file, fsync, rename, fsync of
// the directory. A file of that name is replaced at once. Private keys take
// mode 0600, everything else 0644.
func WritePEM(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // gone already when all goes well
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closing := tmp.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// readPublic reads a file that is no secret, at most MaxFile bytes.
func readPublic(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	return readAll(path, f)
}

// readSecret reads a private key's file, and refuses one that others may reach:
// a key that was open to everybody on the host is no secret any more.
func readSecret(path string) ([]byte, error) {
	text, err := secret.Read(path, MaxFile)
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return nil, restart.Errorf(restart.CodeCertificate, "the private key %s", e.Message).WithHint("%s", e.Hint).Because(err)
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	return text, nil
}

// LoadKeyPair reads a certificate, with those that vouch for it, and its key,
// for an end that trusts others than Credentials do: the company's pages, a log
// server. The key's file is a secret.
func LoadKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	chain, err := readPublic(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readSecret(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return tls.Certificate{}, restart.Errorf(restart.CodeCertificate, "%s and %s don't fit: %v", certFile, keyFile, err).Because(err)
	}
	return pair, nil
}

func readAll(path string, f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(data) > MaxFile {
		return nil, restart.Errorf(restart.CodeTooLarge, "%s is over %d bytes", path, MaxFile)
	}
	return data, nil
}

func unreadable(path string, err error) error {
	return restart.Errorf(restart.CodeCertificate, "%s can't be read: %v", path, err).Because(err)
}

// parseCertificates reads every certificate of a PEM text; other blocks, none
// at all, or anything that does not parse is an error.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != blockCertificate {
			return nil, restart.Errorf(restart.CodeCertificate, "holds a block of type %s where only certificates may stand", restart.Quote(block.Type))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, restart.Errorf(restart.CodeCertificate, "holds a certificate that can't be read: %v", err).Because(err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, restart.Errorf(restart.CodeCertificate, "holds no certificate in PEM form")
	}
	return certs, nil
}

// parseAuthorities reads the pinned authorities; a certificate among them that
// may not sign others is an error, for it would be trusted as a root.
func parseAuthorities(text []byte) (*x509.CertPool, []*x509.Certificate, error) {
	certs, err := parseCertificates(text)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	for _, cert := range certs {
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return nil, nil, restart.Errorf(restart.CodeCertificate, "holds a certificate that is no authority's: it is for %s", Names(cert)).
				WithHint("this file lists the authorities to trust, not the certificates they issued")
		}
		pool.AddCert(cert)
	}
	return pool, certs, nil
}

// onlyBlock gives the one PEM block of a text, which must have that type.
func onlyBlock(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, restart.Errorf(restart.CodeCertificate, "holds no block %s in PEM form", kind)
	}
	if block.Type != kind {
		return nil, restart.Errorf(restart.CodeCertificate, "holds a block of type %s, not %s", restart.Quote(block.Type), kind)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, restart.Errorf(restart.CodeCertificate, "holds more than one block")
	}
	return block.Bytes, nil
}

func parsePrivate(text []byte) (crypto.Signer, error) {
	der, err := onlyBlock(text, blockPrivate)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, restart.Errorf(restart.CodeCertificate, "holds a private key that can't be read").Because(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, restart.Errorf(restart.CodeCertificate, "holds a private key that can't sign")
	}
	return signer, nil
}

func encodePrivate(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPrivate, Bytes: der}), nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})
}

// sound tells whether a public key is strong enough to be certified.
func sound(key any) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize >= 256
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048
	case ed25519.PublicKey:
		return true
	}
	return false
}

func samePublic(a, b any) bool {
	x, errX := x509.MarshalPKIXPublicKey(a)
	y, errY := x509.MarshalPKIXPublicKey(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// in names the file that an error of a parser is about.
func in(path string, err error) error {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		out := *e
		out.Message = path + " " + e.Message
		return &out
	}
	return fmt.Errorf("%s: %w", path, err)
}
