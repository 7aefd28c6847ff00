package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authn/ldap"
	"github.com/restartilka/restartilka/internal/authn/oidc"
	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/hostwork"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/lock"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/secret"
	"github.com/restartilka/restartilka/internal/silence"
	"github.com/restartilka/restartilka/internal/strict"
	"github.com/restartilka/restartilka/internal/tracker"
)

// DefaultConfig is where the configuration lies unless --config says otherwise.
const DefaultConfig = "/etc/restartilka/server.yaml"

// Config is server.yaml. Secrets are never in it: only files that hold them.
// Relative paths are taken from the folder of the file.
type Config struct {
	Name      string         `yaml:"name"`      // this server: in the audit trail, and in its certificate towards agents
	Listen    string         `yaml:"listen"`    // ADDRESS:PORT of pages and API, over TLS
	URL       string         `yaml:"url"`       // what links begin with; "" = https://LISTEN
	Database  DatabaseConfig `yaml:"database"`  //
	TLS       TLSConfig      `yaml:"tls"`       // of the listener
	SignIn    SignInConfig   `yaml:"sign_in"`   // by which methods people sign in
	SSH       SSHConfig      `yaml:"ssh"`       // how people come by SSH
	Agents    AgentsConfig   `yaml:"agents"`    //
	Scenarios string         `yaml:"scenarios"` // folder of *.yaml
	Rules     string         `yaml:"rules"`     // file of who may do what; "" = the shipped rules

	Review          string `yaml:"review"`           // files (default): what lies in the folder is in force | signed
	ScenarioSigners string `yaml:"scenario_signers"` // allowed_signers file; needed for signed
	ScenarioRevoked string `yaml:"scenario_revoked"` // file of revocations; "" = none
	ScenarioQuorum  int    `yaml:"scenario_quorum"`  // how many must sign, beside the author; 0 = 2

	Inventory  inventory.Config `yaml:"inventory"`  //
	Audit      audit.Settings   `yaml:"audit"`      //
	Runs       RunsConfig       `yaml:"runs"`       //
	Dumps      DumpsConfig      `yaml:"dumps"`      // how thread dumps are kept
	Notify     notify.Settings  `yaml:"notify"`     // who is told at once of what
	Chat       chat.Settings    `yaml:"chat"`       // where people ask for restarts
	Locks      lock.Settings    `yaml:"locks"`      // that runs share with others
	Monitoring silence.Settings `yaml:"monitoring"` // systems that are silenced about hosts in hand, and alerts that hold runs back
	Tickets    tracker.Settings `yaml:"tickets"`    // the company's trackers
	Schedules  SchedulesConfig  `yaml:"schedules"`  // runs that are planned for a time to come
	Drain      time.Duration    `yaml:"drain"`      // how long a server that stops goes on to answer, with /readyz saying 503; 0 to 1m
}

// DatabaseConfig names the database: an embedded file, or PostgreSQL.
type DatabaseConfig struct {
	SQLite  string `yaml:"sqlite"`   // path of the file
	DSNFile string `yaml:"dsn_file"` // file with one line, postgres://…; it holds a password, so it is a file of its own
}

// TLSConfig is a certificate with its key.
type TLSConfig struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// SignInConfig names the methods by which people sign in; API tokens are good
// beside all of them. A method that is not named is off, except local.
type SignInConfig struct {
	Local bool              `yaml:"local"`          // users of this server, with passwords; default true
	LDAP  *ldap.Config      `yaml:"ldap,omitempty"` // the company's directory
	OIDC  *oidc.Config      `yaml:"oidc,omitempty"` // the company's OpenID provider
	Proxy authn.ProxyConfig `yaml:"proxy"`          // a proxy in front that has found out who asks
}

// AgentsConfig is how agents are called.
type AgentsConfig struct {
	Certificate string `yaml:"certificate"`  // this server's, towards agents
	Key         string `yaml:"key"`          //
	CA          string `yaml:"ca"`           // of the agents' certificates
	CAKey       string `yaml:"ca_key"`       // "" = certificates come from elsewhere, not from this server
	EnvelopeKey string `yaml:"envelope_key"` // signs what hosts are asked to do
	// NextEnvelopeKey is the other key while that one is changed; an absent file
	// is none, "" = it is not changed from here.
	NextEnvelopeKey string `yaml:"next_envelope_key"`
	Port            int    `yaml:"port"` // 0 = 3131
}

// RunsConfig sets how runs are walked.
type RunsConfig struct {
	AfterInterruption string        `yaml:"after_interruption"` // ask (default) | go-on
	Lease             time.Duration `yaml:"lease"`              // 0 = 15s; 3s to 5m
	ContactTimeout    time.Duration `yaml:"contact_timeout"`    // 0 = 2m; how long a silent host is asked before its task is unknown
	HostSweep         time.Duration `yaml:"host_sweep"`         // 0 = 5m; how often every host is asked what was done on it without a server; 30s to 24h
	// SecondStep is globs of environments where the pages want a change confirmed
	// by typing the service's name; [] = only where an approval is asked for.
	SecondStep []string `yaml:"second_step"`
}

// ReadConfig reads and checks a file. Unknown keys and values out of range are
// errors that name the line or the key (CodeInvalid).
func ReadConfig(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, restart.Errorf(restart.CodeNotFound, "there is no %s", path).WithHint("make one with: restartilka server init --dir %s", filepath.Dir(path))
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := parseConfig(b)
	if err != nil {
		return Config{}, restart.Errorf(restart.CodeInvalid, "%s: %v", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("find %s: %w", path, err)
	}
	c.resolve(dir)
	if err := c.check(); err != nil {
		return Config{}, restart.Errorf(restart.CodeInvalid, "%s: %v", path, err)
	}
	return c, nil
}

func parseConfig(b []byte) (Config, error) {
	c := Config{
		Listen: "0.0.0.0:8443",
		SignIn: SignInConfig{Local: true},
		Agents: AgentsConfig{Port: protocol.Port},
		Runs:   RunsConfig{AfterInterruption: "ask", Lease: 15 * time.Second, ContactTimeout: 2 * time.Minute, HostSweep: hostwork.DefaultSweep, SecondStep: control.DefaultSecondStep()},
		Audit:  audit.Settings{Deadline: audit.DefaultDeadline, Spool: audit.SpoolSettings{Limit: audit.DefaultSpoolLimit}},
		Dumps:  defaultDumps(),

		Schedules: SchedulesConfig{Grace: control.DefaultGrace},
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return c, errors.New("the file is empty")
	}
	if err := strict.Load(b, &c, "every key: docs/reference/server.md"); err != nil {
		return c, err
	}
	return c, nil
}

// resolve makes every path absolute, and finds the credentials of systemd.
func (c *Config) resolve(dir string) {
	files := slices.Concat(c.files(), c.SignIn.files(), c.Chat.Files())
	for i := range c.Audit.Sinks {
		sink := &c.Audit.Sinks[i]
		files = append(append(files, &sink.Path), sink.Files()...)
	}
	files = append(files, c.Notify.Files()...)
	files = append(files, c.Tickets.Files()...)
	files = append(files, c.Monitoring.Files()...)
	for i := range c.Locks {
		files = append(files, c.Locks[i].Files()...)
	}
	for _, p := range files {
		*p = secret.Locate(dir, *p)
	}
	c.SSH.resolve(dir)
	if c.URL == "" {
		c.URL = "https://" + strings.Replace(c.Listen, "0.0.0.0:", "localhost:", 1)
	}
}

// Redacted is the configuration for people to look at: addresses that may
// be secrets by themselves are cut short.
func (c Config) Redacted() Config {
	c.Notify = c.Notify.Redacted()
	c.Audit.Sinks = slices.Clone(c.Audit.Sinks)
	for i := range c.Audit.Sinks {
		if sink := &c.Audit.Sinks[i]; strings.Contains(sink.URL, "?") {
			sink.URL = sink.Place() + "?…"
		}
	}
	c.Inventory = c.Inventory.Redacted()
	return c
}

// Show prints the configuration with every default filled in, redacted.
func (c Config) Show() ([]byte, error) {
	shown := c.Redacted()
	if need, err := c.Audit.Need(); err == nil {
		shown.Audit.Require = string(need.Level)
	}
	shown.Chat = c.Chat.Whole()
	b, err := yaml.Dump(&shown)
	if err != nil {
		return nil, fmt.Errorf("show the configuration: %w", err)
	}
	return b, nil
}

func (c *Config) files() []*string {
	return append([]*string{
		&c.Database.SQLite, &c.Database.DSNFile, &c.TLS.Certificate, &c.TLS.Key, &c.Agents.Certificate, &c.Agents.Key,
		&c.Agents.CA, &c.Agents.CAKey, &c.Agents.EnvelopeKey, &c.Agents.NextEnvelopeKey, &c.Scenarios, &c.Rules, &c.ScenarioSigners, &c.ScenarioRevoked,
		&c.Audit.Key,
	}, slices.Concat(c.Inventory.FilePaths(), c.Inventory.CachePaths())...)
}

func (c *Config) check() error {
	need := func(key, value string) error {
		if value == "" {
			return fmt.Errorf("%s is needed", key)
		}
		return nil
	}
	if err := audit.CheckSource(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	for _, err := range []error{
		need("listen", c.Listen), need("tls.certificate", c.TLS.Certificate), need("tls.key", c.TLS.Key),
		need("agents.certificate", c.Agents.Certificate), need("agents.key", c.Agents.Key), need("agents.ca", c.Agents.CA),
		need("agents.envelope_key", c.Agents.EnvelopeKey), need("scenarios", c.Scenarios),
	} {
		if err != nil {
			return err
		}
	}
	if (c.Database.SQLite == "") == (c.Database.DSNFile == "") {
		return errors.New("database: give either sqlite (a path) or dsn_file (a file with postgres://…)")
	}
	if err := c.checkReview(); err != nil {
		return err
	}
	switch c.Runs.AfterInterruption {
	case "", "ask", "go-on":
	default:
		return fmt.Errorf("runs.after_interruption: %s is neither ask nor go-on", restart.Quote(c.Runs.AfterInterruption))
	}
	if l := c.Runs.Lease; l != 0 && (l < 3*time.Second || l > 5*time.Minute) {
		return fmt.Errorf("runs.lease: %s is not from 3s to 5m", l)
	}
	if t := c.Runs.ContactTimeout; t != 0 && (t < protocol.Lifetime || t > time.Hour) {
		return fmt.Errorf("runs.contact_timeout: %s is not from %s to 1h", t, protocol.Lifetime)
	}
	if h := c.Runs.HostSweep; h != 0 && (h < 30*time.Second || h > 24*time.Hour) {
		return fmt.Errorf("runs.host_sweep: %s is not from 30s to 24h", h)
	}
	for _, glob := range c.Runs.SecondStep {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return fmt.Errorf("runs.second_step: %s is neither a name nor a glob", restart.Quote(glob))
		}
	}
	if c.Drain < 0 || c.Drain > time.Minute {
		return fmt.Errorf("drain: %s is not from 0s to 1m", c.Drain)
	}
	if p := c.Agents.Port; p < 0 || p > 65535 {
		return fmt.Errorf("agents.port: %d is not a port", p)
	}
	if err := c.Dumps.check(); err != nil {
		return err
	}
	if err := c.Schedules.check(); err != nil {
		return err
	}
	if err := c.SignIn.check(); err != nil {
		return err
	}
	if err := c.SSH.check(); err != nil {
		return err
	}
	return c.Audit.Check()
}

// The values of review.
const (
	reviewFiles  = "files"
	reviewSigned = "signed"
)

func (c *Config) checkReview() error {
	switch {
	case c.Review != "" && c.Review != reviewFiles && c.Review != reviewSigned:
		return fmt.Errorf("review: %s is neither files nor signed", restart.Quote(c.Review))
	case c.Review == reviewSigned && c.ScenarioSigners == "":
		return errors.New("scenario_signers is needed for review: signed: an allowed_signers file, as ssh-keygen(1) describes it")
	case c.Review != reviewSigned && (c.ScenarioSigners != "" || c.ScenarioRevoked != "" || c.ScenarioQuorum != 0):
		return errors.New("scenario_signers, scenario_revoked and scenario_quorum say nothing without review: signed")
	case c.ScenarioQuorum < 0 || c.ScenarioQuorum > 16:
		return fmt.Errorf("scenario_quorum: %d is not from 1 to 16", c.ScenarioQuorum)
	}
	return nil
}

// review gives how scenarios come into force.
func (c *Config) review() control.Review {
	return control.Review{Signed: c.Review == reviewSigned, Signers: c.ScenarioSigners, Revoked: c.ScenarioRevoked, Quorum: c.ScenarioQuorum}
}

// largestDSN bounds the file of a data source, in bytes.
const largestDSN = 4 << 10

// dsn gives the store's data source.
func (c *Config) dsn() (string, error) {
	if c.Database.SQLite != "" {
		return "sqlite:" + c.Database.SQLite, nil
	}
	dsn, err := secret.ReadWord(c.Database.DSNFile, largestDSN)
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return "", restart.Errorf(restart.CodeInvalid, "database.dsn_file: %s", e.Message).WithHint("%s", e.Hint).Because(err)
	}
	if err != nil {
		return "", fmt.Errorf("database.dsn_file: %w", err)
	}
	return dsn, nil
}

// Check reads everything that the configuration names, as a start would,
// without starting anything or touching the database. It gives all that is
// wrong; what a server would start with all the same is among it.
func (c *Config) Check(ctx context.Context) []error {
	var wrong []error
	note := func(key string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", key, err))
		}
	}
	_, err := c.dsn()
	note("database", err)
	_, err = listenConfig(c.TLS.Certificate, c.TLS.Key)
	note("tls", err)
	_, err = pki.LoadCredentials(c.Agents.Certificate, c.Agents.Key, c.Agents.CA)
	note("agents", err)
	if c.Agents.CAKey != "" {
		_, err = pki.LoadCA(c.Agents.CA, c.Agents.CAKey)
		note("agents.ca_key", err)
	}
	_, err = c.keys()
	note("agents.envelope_key", err)
	_, err = c.auditKey()
	note("audit.key", err)
	_, problems := scenario.ReadFolder(c.Scenarios, nil)
	for _, p := range problems {
		note("scenarios", p)
	}
	if c.Review == reviewSigned {
		_, _, err = c.review().Policy(time.Now())
		note("review", err)
	}
	note("ssh", c.SSH.try())
	_, err = ReadRules(c.Rules, c.SignIn)
	note("rules", err)
	wrong = append(wrong, c.Audit.CheckFiles()...)
	_, err = c.Notify.Open()
	note("notify", err)
	for _, err := range c.tryTickets(ctx) {
		note("tickets", err)
	}
	_, err = c.Monitoring.Open()
	note("monitoring", err)
	for _, err := range c.tryLocks(ctx) {
		note("locks", err)
	}
	_, err = c.openChats(nil)
	note("chat", err)
	for _, err := range c.SignIn.try(ctx) {
		note("sign_in", err)
	}
	inv, err := inventory.New(c.Inventory)
	if err == nil {
		var now inventory.Snapshot
		now, err = inv.Snapshot(ctx)
		if err == nil && now.Problem != "" {
			err = errors.New(now.Problem)
		}
	}
	note("inventory", err)
	return wrong
}
