package notify

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Mail is people who get mail, by way of one SMTP server.
type Mail struct {
	Choice        `yaml:",inline"`
	Server        string   `yaml:"server"`         // HOST:PORT of the SMTP server
	TLS           string   `yaml:"tls"`            // starttls (default) | tls, from the first byte | none, to this machine alone
	User          string   `yaml:"user"`           // "" = the server asks for none
	PasswordFile  string   `yaml:"password_file"`  //
	From          string   `yaml:"from"`           // such as restartilka@example.com
	To            []string `yaml:"to"`             // addresses
	Owners        bool     `yaml:"owners"`         // the owners of the service too
	Updates       string   `yaml:"updates"`        // thread (default) | each
	CAFile        string   `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
}

// The values of tls.
const (
	startTLS = "starttls"
	fullTLS  = "tls"
	noTLS    = "none"
)

const (
	mostAddresses = 100 // of one mail
	mailTimeout   = 15 * time.Second
	// patience is how many tries an address that is refused for now holds up the
	// others of its mail.
	patience = 3
)

func openMail(s Settings) ([]opened, error) {
	zone, err := s.zone()
	if err != nil {
		return nil, err
	}
	var out []opened
	for i, c := range s.Mail {
		key := fmt.Sprintf("notify.mail, number %d", i+1)
		m, err := c.open(key, zone, s.People)
		if err != nil {
			return nil, err
		}
		out = append(out, opened{Channel: m, choice: c.Choice, owners: c.Owners && len(c.To) == 0})
	}
	return out, nil
}

// mailbox is a Mail that is open.
type mailbox struct {
	cfg     Mail
	key     string
	host    string
	port    int
	from    *mail.Address
	updates string
	teller  teller
	trust   *tls.Config
	dialer  *net.Dialer
	people  People
}

func (m Mail) open(key string, zone *time.Location, people People) (*mailbox, error) {
	if err := m.check(key); err != nil {
		return nil, err
	}
	bad := func(format string, args ...any) *restart.Error {
		return restart.Errorf(restart.CodeInvalid, key+"."+format, args...)
	}
	host, portText, err := net.SplitHostPort(m.Server)
	port, portErr := strconv.Atoi(portText)
	if err != nil || portErr != nil || host == "" || port < 1 || port > 65535 {
		return nil, bad("server is not HOST:PORT").WithHint("such as smtp.example.com:587")
	}
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, bad("from is no address of mail").WithHint("such as restartilka@example.com")
	}
	if len(m.To) == 0 && !m.Owners {
		return nil, bad("to is empty, and owners is not set: nobody would get mail").WithHint("to: [ops@example.com], or owners: true")
	}
	if len(m.To) > mostAddresses {
		return nil, bad("to has more than %d addresses", mostAddresses).WithHint("a mailing list is one")
	}
	for _, a := range m.To {
		if _, err := mail.ParseAddress(a); err != nil {
			return nil, bad("to: %s is no address of mail", restart.Quote(a))
		}
	}
	updates, err := checkUpdates(key, m.Updates, updatesThread, updatesEach)
	if err != nil {
		return nil, err
	}
	box := &mailbox{cfg: m, key: key, host: host, port: port, from: from, updates: updates, teller: teller{m.language(), zone}, people: people}
	return box, box.secure()
}

// secure checks how the server is spoken to.
func (m *mailbox) secure() error {
	c := &m.cfg
	bad := func(format string, args ...any) *restart.Error {
		return restart.Errorf(restart.CodeInvalid, m.key+"."+format, args...)
	}
	place := &url.URL{Scheme: "smtp", Host: c.Server}
	if c.TLS == "" {
		c.TLS = startTLS
	}
	if !slices.Contains([]string{startTLS, fullTLS, noTLS}, c.TLS) {
		return bad("tls: %s is none of starttls, tls, none", restart.Quote(c.TLS))
	}
	if c.TLS == noTLS && !outgoing.Local(place) {
		return bad("tls: none is for a server on this machine alone: anybody on the way could read and change mail, and the password").WithHint("tls: starttls")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return bad("user and password_file belong together")
	}
	if c.User != "" {
		if _, err := readToken(m.key+".password_file", c.PasswordFile); err != nil {
			return err
		}
	}
	networks, err := outgoing.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return bad("allow_networks: %v", err)
	}
	out := outgoing.Config{URL: place, CAFile: c.CAFile, Timeout: deliverTimeout, Networks: networks}
	if m.trust, err = out.Trust(); err != nil {
		return bad("ca_file: %v", err)
	}
	m.trust.ServerName = m.host
	m.dialer = out.Dialer()
	return nil
}

// Name is of the people, not of the server that takes their mail.
func (m *mailbox) Name() string {
	to := slices.Sorted(slices.Values(m.cfg.To))
	return named("mail", append(to, strconv.FormatBool(m.cfg.Owners))...)
}

func (m *mailbox) String() string {
	shown := strings.Join(m.cfg.To[:min(len(m.cfg.To), 3)], ", ")
	if rest := len(m.cfg.To) - 3; rest > 0 {
		shown = fmt.Sprintf("%s and %d more", shown, rest)
	}
	switch {
	case shown == "":
		return "mail to the owners"
	case m.cfg.Owners:
		return "mail to the owners and " + shown
	}
	return "mail to " + shown
}

// Deliver sends a mail that begins a thread, or is by itself.
func (m *mailbox) Deliver(ctx context.Context, d store.Delivery) error {
	_, err := m.Keep(ctx, d, nil)
	return err
}

// Keep sends a mail, as an answer to the first about its run. Whoever asked for
// no mail, because nobody knows the owners' addresses, gets none: that is no
// failure.
func (m *mailbox) Keep(ctx context.Context, d store.Delivery, _ []json.RawMessage) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	n, _, err := read(d.Body, nil)
	if err != nil {
		return "", err
	}
	to := slices.Clone(m.cfg.To)
	if m.cfg.Owners && len(n.Owners) > 0 && m.people != nil {
		more, err := m.people.Addresses(ctx, n.Owners)
		if err != nil {
			return "", fmt.Errorf("look for the owners' addresses: %w", err)
		}
		to = append(to, more...)
	}
	addresses := unique(to)
	if len(addresses) == 0 && n.Event == wire.EventTest {
		return "", fmt.Errorf("nobody knows an address of %s, for whom the test is", strings.Join(n.Owners, ", "))
	}
	if len(addresses) == 0 {
		return d.Post, nil
	}
	first := d.Post
	if m.updates == updatesEach || n.Run == "" {
		first = ""
	}
	id := d.ID + "@" + domainOf(m.from.Address)
	message, err := m.message(m.teller.card(n, nil), n.At, id, first, addresses)
	if err != nil {
		return "", err
	}
	if first == "" {
		first = id
	}
	return first, m.send(ctx, message, addresses, d.Attempts)
}

// unique drops addresses that are none, or there twice, and all over what one
// mail may have.
func unique(texts []string) (out []*mail.Address) {
	seen := map[string]bool{}
	for _, text := range texts {
		a, err := mail.ParseAddress(text)
		if err != nil || seen[strings.ToLower(a.Address)] || len(out) == mostAddresses {
			continue
		}
		seen[strings.ToLower(a.Address)] = true
		out = append(out, a)
	}
	return out
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// message writes the mail. In a thread the subject stays the same, since some
// readers make a new one of every other.
func (m *mailbox) message(c card, at time.Time, id, first string, to []*mail.Address) (*gomail.Msg, error) {
	msg := gomail.NewMsg()
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(to...)
	msg.SetMessageIDWithValue(id)
	msg.SetDateWithValue(at)
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	switch {
	case m.updates == updatesEach:
		msg.Subject(c.title + ": " + c.state)
	case first == "":
		msg.Subject(c.title)
	default:
		msg.Subject("Re: " + c.title)
		msg.SetGenHeader(gomail.HeaderInReplyTo, "<"+first+">")
		msg.SetGenHeader(gomail.HeaderReferences, "<"+first+">")
	}
	page, err := mailHTML(c, string(m.teller.language))
	if err != nil {
		return nil, err
	}
	msg.SetBodyString(gomail.TypeTextPlain, mailText(c))
	msg.AddAlternativeString(gomail.TypeTextHTML, page)
	return msg, nil
}

// send speaks SMTP. An address that the server refuses for good is left out, so
// that it costs the others nothing; one that it refuses for now holds them up
// for a few tries, and is left out then: the error is a *Partly. With none left
// nothing was sent.
func (m *mailbox) send(ctx context.Context, message *gomail.Msg, to []*mail.Address, attempt int) error {
	client, end, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := client.Mail("<" + m.from.Address + ">"); err != nil {
		return fmt.Errorf("the server refuses the sender: %w", err)
	}
	taken := 0
	var refused []error
	for _, a := range to {
		err := client.Rcpt("<" + a.Address + ">")
		said, answered := errors.AsType[*textproto.Error](err)
		switch {
		case err == nil:
			taken++
		case !answered:
			return err
		case said.Code/100 != 5 && attempt <= patience:
			return fmt.Errorf("the server does not take mail to %s now: %w", a.Address, err)
		default:
			refused = append(refused, fmt.Errorf("the server refuses mail to %s: %w", a.Address, err))
		}
	}
	if taken == 0 {
		return errors.Join(refused...)
	}
	w, err := client.Data()
	if err != nil {
		return fmt.Errorf("the server refuses the mail: %w", err)
	}
	if _, err := message.WriteTo(w); err != nil {
		return fmt.Errorf("send the mail: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("the server refuses the mail: %w", err)
	}
	if len(refused) > 0 {
		return &Partly{errors.Join(refused...)}
	}
	return nil
}

// connect dials, secures and signs in. end says goodbye and closes; whatever
// happens, the connection does not outlive ctx.
func (m *mailbox) connect(ctx context.Context) (client *smtp.Client, end func(), err error) {
	hangUp := func() {}
	options := []gomail.Option{
		gomail.WithPort(m.port), gomail.WithTimeout(mailTimeout), gomail.WithTLSConfig(m.trust),
		gomail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := m.dialer.DialContext(dialing, network, address)
			if err != nil {
				return nil, err
			}
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			hangUp = func() {
				stop()
				conn.Close()
			}
			if m.cfg.TLS != fullTLS {
				return conn, nil
			}
			secured := tls.Client(conn, m.trust)
			return secured, secured.HandshakeContext(dialing)
		}),
	}
	signingIn, err := m.signIn()
	if err != nil {
		return nil, nil, err
	}
	speaker, err := gomail.NewClient(m.host, append(options, signingIn...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("set up mail: %w", err)
	}
	if client, err = speaker.DialToSMTPClientWithContext(ctx); err != nil {
		hangUp()
		return nil, nil, err
	}
	return client, func() {
		client.Quit() //nolint:errcheck // what was taken is taken
		hangUp()
	}, nil
}

// signIn gives how the line is secured, and by whom mail is brought. The
// password is read for each mail.
func (m *mailbox) signIn() ([]gomail.Option, error) {
	how, secured := gomail.SMTPAuthPlain, gomail.WithTLSPolicy(gomail.TLSMandatory)
	switch m.cfg.TLS {
	case fullTLS:
		secured = gomail.WithSSL()
	case noTLS: // to this machine
		how, secured = gomail.SMTPAuthPlainNoEnc, gomail.WithTLSPolicy(gomail.NoTLS)
	}
	if m.cfg.User == "" {
		return []gomail.Option{secured}, nil
	}
	password, err := readToken("its password_file", m.cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	return []gomail.Option{secured, gomail.WithSMTPAuth(how), gomail.WithUsername(m.cfg.User), gomail.WithPassword(password)}, nil
}
