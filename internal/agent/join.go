package agent

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// JoinOptions say how this host is to be enrolled.
type JoinOptions struct {
	URL    string // of the server: https://HOST:PORT
	Token  string // text of a join token
	CAFile string // trust the server by these authorities and its name; "" = by the pin in the token
	Host   string // this host's name; "" = that of the settings, or the system's full name
	Config string // path of agent.yaml; everything that is not named there lies beside it
	Again  bool   // replace credentials that are there
	Now    func() time.Time
	Say    func(format string, args ...any) // talks to whoever waits; nil = nobody does
}

// Joined tells what a host has got.
type Joined struct {
	Host     string    `json:"host"`
	Server   string    `json:"server"` // its name, in agent.yaml's servers
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
	Files    []string  `json:"files"`    // written, in order
	Warnings []string  `json:"warnings"` // what should be known
}

// Join enrols this host: it makes a key, which never leaves the host, has the
// server sign for it, and lays key, certificate, the server's authority and its
// public envelope key; agent.yaml last, unless the admin has laid one. Each
// file is durable before the next, and the key is kept from before the request
// until the end, so that after a crash or a lost answer the same command can be
// given again, with the same token for as long as it lives.
//
// Nothing that is there is replaced unless Again says so (CodeConflict).
func Join(ctx context.Context, o JoinOptions) (Joined, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	token, err := pki.ParseJoinToken(o.Token)
	if err != nil {
		return Joined{}, err
	}
	if _, err := joinURL(o.URL); err != nil {
		return Joined{}, err // before anything is made for it
	}
	j, err := prepareJoin(ctx, o)
	if err != nil {
		return Joined{}, err
	}
	csr, err := pki.NewAgentCSRFor(j.key, j.settings.Host)
	if err != nil {
		return Joined{}, err
	}
	answer, err := askToJoin(ctx, o, token, protocol.JoinRequest{Host: j.settings.Host, CSR: string(csr), Clock: o.Now().UTC()})
	if err != nil {
		return Joined{}, err
	}
	return j.finish(answer, o.Now())
}

// joinWork is what a join goes by, once everything on this host is in order.
type joinWork struct {
	config   string
	found    bool // agent.yaml is there
	settings Settings
	keyFile  string // of the key until it is in use
	key      []byte // PEM
	again    bool
	out      Joined
}

// prepareJoin looks at this host, and makes the key or finds that of an
// earlier try. No server is asked yet.
func prepareJoin(ctx context.Context, o JoinOptions) (*joinWork, error) {
	j := &joinWork{config: o.Config, again: o.Again}
	if err := checkFolder(filepath.Dir(o.Config)); err != nil {
		return nil, err
	}
	if err := j.readSettings(ctx, o); err != nil {
		return nil, err
	}
	j.keyFile = j.settings.Key + ".join"
	pair := pki.Pair{Cert: j.settings.Certificate, Key: j.settings.Key}
	key, err := pki.ReadKey(j.keyFile)
	if err == nil && (o.Again || !pair.Whole() || pair.Belongs(key)) {
		o.Say("going on with the key of an earlier try")
		j.key = key
		return j, nil
	}
	if !o.Again {
		if err := refuseCredentials(j.settings); err != nil {
			return nil, err
		}
	}
	if j.key, err = pki.NewKeyPEM(); err != nil {
		return nil, err
	}
	return j, writable(pki.WritePEM(j.keyFile, j.key, 0o600))
}

// readSettings takes the admin's agent.yaml where there is one, and finds the
// host's name.
func (j *joinWork) readSettings(ctx context.Context, o JoinOptions) error {
	_, err := os.Lstat(o.Config)
	switch {
	case err == nil:
		if j.settings, err = LoadSettings(o.Config); err != nil {
			return restart.Errorf(restart.CodeInvalid, "%s is there already and can't be used: %v", o.Config, err).
				WithHint("correct it, or move it away: a join writes one").Because(err)
		}
		j.found = true
		if o.Host != "" && o.Host != j.settings.Host {
			return restart.Errorf(restart.CodeWrongHost, "%s says that this host is %s, and --host says %s", o.Config, j.settings.Host, restart.Quote(o.Host)).
				WithHint("correct one of the two")
		}
		o.Say("this host is %s, by %s", j.settings.Host, o.Config)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return writable(err)
	}
	if j.config, err = filepath.Abs(o.Config); err != nil {
		return fmt.Errorf("find the folder of %s: %w", o.Config, err)
	}
	dir := filepath.Dir(j.config)
	j.settings = defaults()
	in := func(name string) string { return filepath.Join(dir, name) }
	j.settings.Certificate, j.settings.Key, j.settings.CA = in("agent.crt"), in("agent.key"), in("ca.crt")
	j.settings.EnvelopeKeys = []string{in("server.pub")}
	if j.settings.Host = o.Host; o.Host == "" {
		if j.settings.Host, err = FullName(ctx); err != nil {
			return err
		}
		o.Say("this host is %s, by its own full name", j.settings.Host)
	}
	return restart.CheckHost(j.settings.Host)
}

func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return restart.Errorf(restart.CodeNotFound, "there is no folder %s", dir).WithHint("install the package restartilka-agent first, or make the folder: mkdir -m 0755 %s", dir)
	case err != nil:
		return writable(err)
	case !info.IsDir():
		return restart.Errorf(restart.CodeInvalid, "%s is not a folder", dir)
	}
	return nil
}

// writable names the usual reason why a file can't be reached.
func writable(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return restart.Errorf(restart.CodeForbidden, "the agent's files can't be written by this user: %v", err).WithHint("join as root, such as with sudo").Because(err)
	}
	return err
}

// refuseCredentials keeps what is there.
func refuseCredentials(s Settings) error {
	for _, path := range []string{s.Certificate, s.Key} {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		what := restart.Errorf(restart.CodeConflict, "this host has credentials already: %s", path)
		if cert, err := pki.ReadCertificate(s.Certificate); err == nil {
			what = restart.Errorf(restart.CodeConflict, "this host has credentials already: a certificate for %s, until %s", pki.Names(cert), cert.NotAfter.UTC().Format(time.DateOnly))
		}
		return what.WithHint("nothing was changed and the token was not used; to replace them, join with --again")
	}
	return nil
}

// finish judges the answer and lays the files.
func (j *joinWork) finish(answer protocol.JoinAnswer, now time.Time) (Joined, error) {
	cert, err := j.judge(answer, now)
	if err != nil {
		return Joined{}, err
	}
	s := j.settings
	j.out.Host, j.out.Server, j.out.Serial, j.out.NotAfter = s.Host, answer.Server, pki.SerialOf(cert), cert.NotAfter.UTC()
	if err := j.lay(s.CA, []byte(answer.CA)); err != nil {
		return Joined{}, err
	}
	if err := j.lay(s.EnvelopeKeys[0], []byte(answer.EnvelopeKey)); err != nil {
		return Joined{}, err
	}
	if err := (pki.Pair{Cert: s.Certificate, Key: s.Key}).Install(j.key, []byte(answer.Certificate)); err != nil {
		return Joined{}, writable(err)
	}
	j.out.Files = append(j.out.Files, s.Key, s.Certificate)
	if err := j.laySettings(answer.Server); err != nil {
		return Joined{}, err
	}
	if err := os.Remove(j.keyFile); err != nil {
		return Joined{}, fmt.Errorf("remove %s: %w", j.keyFile, err)
	}
	return j.out, nil
}

// judge makes sure that the answer is of use on this host, at this host's time.
func (j *joinWork) judge(answer protocol.JoinAnswer, now time.Time) (*x509.Certificate, error) {
	if err := restart.CheckHost(answer.Server); err != nil {
		return nil, restart.Errorf(restart.CodeCertificate, "the server's answer names no server: %v", err)
	}
	if block, _ := pem.Decode([]byte(answer.EnvelopeKey)); block == nil {
		return nil, restart.Errorf(restart.CodeCertificate, "the server's answer holds no envelope key")
	}
	cert, err := pki.CheckIssued([]byte(answer.Certificate), []byte(answer.CA), j.key, j.settings.Host, now)
	if err == nil {
		if skew := now.Sub(answer.Clock).Abs(); skew > protocol.MaxSkew {
			j.out.Warnings = append(j.out.Warnings, fmt.Sprintf("this host's clock is about %s off the server's: tasks are refused above %s, so set it", restart.Span(skew.Round(time.Second)), restart.Span(protocol.MaxSkew)))
		}
		return cert, nil
	}
	if skew := now.Sub(answer.Clock); skew.Abs() > pki.Backdate {
		return nil, restart.Errorf(restart.CodeClockSkew, "by this host's clock, %s, the certificate does not hold: the server's clock says %s", now.UTC().Format(time.RFC3339), answer.Clock.UTC().Format(time.RFC3339)).
			WithHint("set the clock and join again: the same token gives the same answer while it lives").Because(err)
	}
	return nil, err
}

// lay writes a file; one that is there and differs only where that is wanted.
func (j *joinWork) lay(path string, text []byte) error {
	present, err := os.ReadFile(path)
	if err == nil && string(present) == string(text) {
		return nil
	}
	if err == nil && !j.again && j.found {
		// The admin's own file, named by the admin's own settings: it may list
		// more than this server gives.
		if strings.Contains(string(present), strings.TrimSpace(string(text))) {
			return nil
		}
		j.out.Warnings = append(j.out.Warnings, path+" was there and is kept, but does not hold what the server gave: with --again it is replaced")
		return nil
	}
	if err := pki.WritePEM(path, text, 0o644); err != nil {
		return writable(err)
	}
	j.out.Files = append(j.out.Files, path)
	return nil
}

// joinSettings are the part of agent.yaml that follows from a join.
type joinSettings struct {
	Host         string   `yaml:"host"`
	Certificate  string   `yaml:"certificate"`
	Key          string   `yaml:"key"`
	CA           string   `yaml:"ca"`
	Servers      []string `yaml:"servers"`
	EnvelopeKeys []string `yaml:"envelope_keys"`
}

func (j *joinWork) laySettings(server string) error {
	s := j.settings
	if j.found {
		if slices.Contains(s.Servers, server) {
			return nil
		}
		j.out.Warnings = append(j.out.Warnings, fmt.Sprintf("%s is kept, and does not list the server: add %s under servers:", j.config, server))
		return nil
	}
	text, err := yaml.Dump(joinSettings{s.Host, s.Certificate, s.Key, s.CA, []string{server}, s.EnvelopeKeys})
	if err != nil {
		return fmt.Errorf("encode agent.yaml: %w", err)
	}
	head := "# The agent of " + s.Host + ", as it joined. Everything else has a default: see docs/reference/agent.md.\n"
	if err := pki.WritePEM(j.config, append([]byte(head), text...), 0o644); err != nil {
		return writable(err)
	}
	j.out.Files = append(j.out.Files, j.config)
	return nil
}
