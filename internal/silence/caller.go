package silence

import (
	"bytes"
	"errors"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

func newCaller(key string, s System) (*caller, error) {
	c := &caller{name: s.Name, credentials: s.CredentialsFile}
	networks, err := outgoing.ParseNetworks(s.AllowNetworks)
	if err != nil {
		return nil, bad(key+".allow_networks:", "%v", err)
	}
	if len(s.URLs) == 0 {
		return nil, bad(key+".urls", "is empty").WithHint("such as [https://alertmanager.example.com]")
	}
	for _, text := range s.URLs {
		// What carries no secret may go in clear, inside a company's own network.
		u, err := outgoing.CheckURL(text, s.CredentialsFile == "")
		if err == nil && u.RawQuery != "" {
			err = errors.New("it has a query")
		}
		if err != nil {
			return nil, bad(key+".urls", "is not usable: %v", err).WithHint("such as https://alertmanager.example.com, without /api")
		}
		client, err := outgoing.New(outgoing.Config{URL: u, CAFile: s.CAFile, Timeout: callTimeout, Networks: networks, AtOnce: atOnce})
		if err != nil {
			return nil, bad(key+".ca_file:", "%v", err)
		}
		c.urls, c.clients = append(c.urls, u), append(c.clients, client)
	}
	if _, err := c.authorization(); err != nil {
		return nil, bad(key+".credentials_file:", "%v", err)
	}
	return c, nil
}

// authorization reads the value of the header; "" = none is sent.
func (c *caller) authorization() (string, error) {
	if c.credentials == "" {
		return "", nil
	}
	b, err := secret.Read(c.credentials, maxCredentials)
	if err != nil {
		return "", err
	}
	value := string(bytes.TrimSpace(b))
	if value == "" || bytes.ContainsFunc([]byte(value), func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", restart.Errorf(restart.CodeInvalid, "%s does not hold one line", c.credentials).WithHint("the value of the header Authorization, such as: Bearer TOKEN")
	}
	return value, nil
}
