package company

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// PKI is a company's own, made as its people do it: by openssl, a root and an
// issuing authority below it. Its certificates carry DNS names and no URI.
type PKI struct {
	t   testing.TB
	dir string
}

// The uses of a certificate.
const (
	ServerAuth = "serverAuth" // an agent's
	ClientAuth = "clientAuth" // a server's, towards agents
)

// NewPKI makes one in a folder of its own.
func NewPKI(t testing.TB) *PKI {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is needed")
		}
		t.Skip("NOT TESTED: openssl is not installed")
	}
	p := &PKI{t: t, dir: t.TempDir()}
	p.run(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.crt -days 30 -subj "/O=Company/CN=Company Root" \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout issuing.key -out issuing.csr -subj "/O=Company/CN=Company Issuing"
printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n' >issuing.ext
openssl x509 -req -in issuing.csr -CA root.crt -CAkey root.key -CAcreateserial -days 20 -extfile issuing.ext -out issuing.crt`)
	return p
}

// Root is the file to pin.
func (p *PKI) Root() string { return filepath.Join(p.dir, "root.crt") }

// Lay issues a certificate for a DNS name and a use, and lays it, with the
// issuing authority's after it, and its key.
func (p *PKI) Lay(name, use, certFile, keyFile string) {
	p.t.Helper()
	p.run(`openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj "/O=Company/CN=$1"
printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=DNS:%s\n' "$2" "$1" >leaf.ext
openssl x509 -req -in leaf.csr -CA issuing.crt -CAkey issuing.key -CAcreateserial -days 10 -extfile leaf.ext -out leaf.crt
cat leaf.crt issuing.crt >"$3.new"
install -m 600 leaf.key "$4.new"
mv "$3.new" "$3"
mv "$4.new" "$4"`, name, use, certFile, keyFile)
}

func (p *PKI) run(script string, args ...string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "/bin/sh", append([]string{"-euc", script, "pki"}, args...)...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("openssl: %v\n%s", err, out)
	}
}
