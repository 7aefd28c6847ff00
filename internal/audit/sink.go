package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Sink is one place that the trail is shipped to. One goroutine calls Send and
// Settled; Close may be called at any time, more than once.
type Sink interface {
	// Name is the sink's identity: the durable cursor is kept under it, so a
	// sink with another name gets the whole trail from its first record.
	Name() string
	// Level is what Settled promises.
	Level() Level
	// Send hands over linked records of one source, in order. After an error
	// any of them may have arrived; a *Behind says where to go on.
	Send(ctx context.Context, records []Record) error
	// Settled gives the seq up to which every record sent since the last error
	// has reached the sink's level, 0 for none. An error means that what was
	// sent and had not settled may be lost: it must be sent again.
	Settled() (seq int64, err error)
	Close() error
}

// Behind is the error of a sink that lacks records before those it was sent.
type Behind struct {
	Sink  string
	After int64 // the last seq that the sink has
}

func (b *Behind) Error() string {
	return fmt.Sprintf("%s ends at record %d: the records after it must be sent again", b.Sink, b.After)
}

// Settings is the section "audit" of server.yaml.
type Settings struct {
	// Require is the level that a run's intent must have before a host is
	// touched: spool | sent | received | stored; "" = the strongest that a sink
	// offers, and refused where none leaves this machine.
	Require  string        `yaml:"require" json:"require"`
	Deadline time.Duration `yaml:"deadline" json:"deadline"` // 0 = 10s; how long that is waited for; 1s to 5m
	Spool    SpoolSettings `yaml:"spool" json:"spool"`       // what may wait here for the log
	Key      string        `yaml:"key" json:"key"`           // file of the key that seals the trail; "" = it is not sealed
	Sinks    []SinkConfig  `yaml:"sinks" json:"sinks"`
}

// SinkConfig describes one sink. Which settings are needed depends on the kind.
type SinkConfig struct {
	Kind            string `yaml:"kind" json:"kind"`                                             // file | syslog | relp | http | receiver
	Path            string `yaml:"path,omitempty" json:"path,omitempty"`                         // file: an absolute path
	Address         string `yaml:"address,omitempty" json:"address,omitempty"`                   // syslog, relp, receiver: HOST:PORT; RFC 5425's port is 6514, RELP over TLS often has 2514, our receiver 6516
	URL             string `yaml:"url,omitempty" json:"url,omitempty"`                           // http: https, or http to a loopback address
	Format          string `yaml:"format,omitempty" json:"format,omitempty"`                     // http: lines | bulk
	CredentialsFile string `yaml:"credentials_file,omitempty" json:"credentials_file,omitempty"` // http: file of what goes into the header Authorization
	CA              string `yaml:"ca,omitempty" json:"ca,omitempty"`                             // remote: PEM file of the one CA that is believed
	ServerName      string `yaml:"server_name,omitempty" json:"server_name,omitempty"`           // syslog, relp, receiver: name in the receiver's certificate; "" = the host of the address
	Certificate     string `yaml:"certificate,omitempty" json:"certificate,omitempty"`           // remote: PEM file, with key, where the receiver asks for one
	Key             string `yaml:"key,omitempty" json:"key,omitempty"`                           // remote: PEM file
	Facility        string `yaml:"facility,omitempty" json:"facility,omitempty"`                 // syslog, relp: local0 (default) … local7, auth, authpriv
}

// Place is where the sink ships to, without what may be a secret in it.
func (c SinkConfig) Place() string { return c.Path + c.Address + placeOfURL(c.URL) }

// Files are the files that the settings name, beside the trail itself.
func (c *SinkConfig) Files() []*string {
	return []*string{&c.CA, &c.Certificate, &c.Key, &c.CredentialsFile}
}

// kind is how one kind of sink is checked and opened.
type kind struct {
	level    Level    // of its sinks, as Sink.Level tells it
	settings []string // that mean something to it
	check    func(SinkConfig) error
	open     func(SinkConfig) (Sink, error)
}

// kinds is the table of sinks. A new one is one file and one line here, and
// passes the package's Exercise suite.
var kinds = map[string]kind{
	"file":     {level: LevelSpool, settings: []string{"path"}, check: checkFile, open: openFile},
	"syslog":   {level: LevelSent, settings: streamSettings, check: checkStream, open: openSyslog},
	"relp":     {level: LevelReceived, settings: streamSettings, check: checkStream, open: openRelp},
	"receiver": {level: LevelStored, settings: receiverSettings, check: checkReceiver, open: openReceiver},
	"http":     {level: LevelReceived, settings: []string{"url", "format", "credentials_file", "ca", "certificate", "key"}, check: checkHTTP, open: openHTTP},
}

// Check tells whether the settings can be followed, without opening anything.
// Errors are *restart.Error with CodeInvalid.
func (s Settings) Check() error {
	seen := map[string]bool{}
	for i, c := range s.Sinks {
		if err := c.Check(); err != nil {
			return restart.Errorf(restart.CodeInvalid, "audit.sinks, number %d: %w", i+1, err)
		}
		place := c.Kind + ":" + c.Place()
		if seen[place] {
			return restart.Errorf(restart.CodeInvalid, "audit.sinks, number %d: %s is there twice", i+1, restart.Quote(place)).WithHint("remove one of the two")
		}
		seen[place] = true
	}
	_, err := s.Need()
	return err
}

// Check tells whether a sink can be made of c, without opening anything.
func (c SinkConfig) Check() error {
	k, ok := kinds[c.Kind]
	if !ok {
		return restart.Errorf(restart.CodeInvalid, "there is no sink of kind %s", restart.Quote(c.Kind)).
			WithHint("one of: %s", strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	given := map[string]string{
		"path": c.Path, "address": c.Address, "ca": c.CA, "server_name": c.ServerName,
		"certificate": c.Certificate, "key": c.Key, "facility": c.Facility, "url": c.URL, "format": c.Format, "credentials_file": c.CredentialsFile,
	}
	for _, setting := range slices.Sorted(maps.Keys(given)) {
		if given[setting] != "" && !slices.Contains(k.settings, setting) {
			return restart.Errorf(restart.CodeInvalid, "%s means nothing to a sink of kind %s", setting, c.Kind).
				WithHint("it takes: %s", strings.Join(k.settings, ", "))
		}
	}
	return k.check(c)
}

// CheckFiles tells whether certificates, keys and credentials that the settings
// name can be used. No connection is made, and no trail opened.
func (s Settings) CheckFiles() []error {
	var wrong []error
	for i, c := range s.Sinks {
		if c.Path != "" {
			continue
		}
		sink, err := kinds[c.Kind].open(c)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("audit.sinks, number %d: %w", i+1, err))
			continue
		}
		sink.Close()
	}
	return wrong
}

// Open opens every sink. On an error those already open are closed again. A
// sink whose receiver is away opens all the same: connecting is Send's work.
func (s Settings) Open() ([]Sink, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	var sinks []Sink
	for _, c := range s.Sinks {
		sink, err := kinds[c.Kind].open(c)
		if err != nil {
			for _, open := range sinks {
				open.Close()
			}
			return nil, err
		}
		sinks = append(sinks, sink)
	}
	return sinks, nil
}
