package receive

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
	"github.com/restartilka/restartilka/internal/strict"
)

// DefaultConfig is where the configuration lies unless --config says otherwise.
const DefaultConfig = "/etc/restartilka/receiver.yaml"

const (
	maxConfig  = 1 << 20
	maxSources = 1000
)

// Config is receiver.yaml. Relative paths are taken from the folder of the file.
type Config struct {
	Listen       string   `yaml:"listen"`               // ADDRESS:PORT for servers, over TLS
	StatusListen string   `yaml:"status_listen"`        // ADDRESS:PORT of /healthz and /metrics; "" = off
	Folder       string   `yaml:"folder"`               // of the store
	Certificate  string   `yaml:"certificate"`          // PEM: this receiver's
	Key          string   `yaml:"key"`                  // PEM, mode 0600
	CA           string   `yaml:"ca"`                   // PEM: who signs the servers' certificates
	Sources      []Source `yaml:"sources"`              // whose records are taken
	KeepFree     int64    `yaml:"keep_free_mb"`         // of the disk, left free for all else
	SourceMax    int64    `yaml:"source_max_mb"`        // of one source's records; 0 = no bound but the disk
	SourceRate   int64    `yaml:"source_mb_per_second"` // that one source may send
}

// Source is one chain that is taken.
type Source struct {
	Name        string `yaml:"name"`        // as the records have it: "name" of server.yaml
	Certificate string `yaml:"certificate"` // the name in its client certificate; "" = Name
}

// Defaults are what a key has that is not in the file.
func Defaults() Config {
	return Config{Listen: ":6516", StatusListen: "127.0.0.1:6517", Folder: "/var/lib/restartilka-receiver", KeepFree: 256, SourceRate: 64}
}

// ReadConfig reads and checks a file. Unknown keys and values out of range are
// errors that name the line or the key (CodeInvalid).
func ReadConfig(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, restart.Errorf(restart.CodeNotFound, "there is no %s", path).WithHint("every key: docs/reference/receiver.md")
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := ParseConfig(b)
	if err != nil {
		return Config{}, restart.Errorf(restart.CodeInvalid, "%s: %v", path, err).Because(err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("find %s: %w", path, err)
	}
	c.resolve(dir)
	if err := c.Check(); err != nil {
		return Config{}, restart.Errorf(restart.CodeInvalid, "%s: %v", path, err).Because(err)
	}
	return c, nil
}

// ParseConfig reads the text of receiver.yaml. It is not checked: see Check.
func ParseConfig(b []byte) (Config, error) {
	if len(b) > maxConfig {
		return Config{}, restart.Errorf(restart.CodeTooLarge, "it has more than %d bytes", maxConfig)
	}
	c := Defaults()
	err := strict.Load(b, &c, "every key: docs/reference/receiver.md")
	return c, err
}

func (c *Config) resolve(dir string) {
	for _, path := range []*string{&c.Folder, &c.Certificate, &c.Key, &c.CA} {
		*path = secret.Locate(dir, *path)
	}
}

// Check judges every value, and tells all that is wrong at once.
func (c Config) Check() error {
	var all error
	bad := func(key string, err error) {
		if err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", key, err))
		}
	}
	bad("listen", checkListen(c.Listen))
	if c.StatusListen != "" {
		bad("status_listen", checkListen(c.StatusListen))
	}
	for _, file := range []struct{ key, path string }{{"folder", c.Folder}, {"certificate", c.Certificate}, {"key", c.Key}, {"ca", c.CA}} {
		if file.path == "" {
			bad(file.key, errors.New("is needed"))
		}
	}
	if len(c.Sources) == 0 || len(c.Sources) > maxSources {
		bad("sources", fmt.Errorf("is needed: the servers whose records are taken, 1 to %d", maxSources))
	}
	seen := map[string]bool{}
	for _, s := range c.Sources {
		bad("sources", s.check())
		if seen[s.Name] {
			bad("sources", fmt.Errorf("%s is there twice", restart.Quote(s.Name)))
		}
		seen[s.Name] = true
	}
	const most = 1 << 40 // MB
	for _, n := range []struct {
		key          string
		value, least int64
	}{{"keep_free_mb", c.KeepFree, 1}, {"source_max_mb", c.SourceMax, 0}, {"source_mb_per_second", c.SourceRate, 1}} {
		if n.value < n.least || n.value > most {
			bad(n.key, fmt.Errorf("%d is not from %d to %d", n.value, n.least, int64(most)))
		}
	}
	return all
}

func (s Source) check() error {
	if err := audit.CheckSource(s.Name); err != nil {
		return err
	}
	if err := restart.CheckHost(s.peer()); err != nil {
		return restart.Errorf(restart.CodeInvalid, "%s can't be the name in a certificate", restart.Quote(s.peer())).
			WithHint("certificate: the name in the client certificate of %s, restartilka://server/NAME or a DNS name", s.Name)
	}
	return nil
}

// peer is the name by which the source's certificate is known.
func (s Source) peer() string {
	if s.Certificate != "" {
		return s.Certificate
	}
	return s.Name
}

func checkListen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil && host != "" && net.ParseIP(host) == nil {
		err = errors.New("the host is not an address")
	}
	if n, e := strconv.ParseUint(port, 10, 16); err == nil && (e != nil || n > 65535) {
		err = errors.New("the port is not a number")
	}
	if err != nil {
		return fmt.Errorf("%s is not ADDRESS:PORT, such as 0.0.0.0:6516", restart.Quote(address))
	}
	return nil
}
