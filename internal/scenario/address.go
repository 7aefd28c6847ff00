package scenario

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

var filePath = regexp.MustCompile(`^(/[A-Za-z0-9@._+:][A-Za-z0-9@._+:-]*)+$`)

func checkFile(s string) error {
	if len(s) > 1000 || !filePath.MatchString(s) || strings.Contains(s, "..") {
		return restart.Errorf(restart.CodeInvalid, "%s is not the path of a file", restart.Quote(s)).WithHint("an absolute path, such as /run/nginx.pid")
	}
	return nil
}

func checkPort(s string) error {
	port := s
	if host, p, err := net.SplitHostPort(s); err == nil && checkEndpoint(host) {
		port = p
	}
	if !portNumber(port) {
		return restart.Errorf(restart.CodeInvalid, "%s is not a port", restart.Quote(s)).WithHint("a number from 1 to 65535, or ADDRESS:PORT")
	}
	return nil
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !checkEndpoint(host) || !portNumber(port) {
		return restart.Errorf(restart.CodeInvalid, "%s is not an address to connect to", restart.Quote(s)).WithHint("HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !checkEndpoint(u.Hostname()) || u.User != nil || u.Fragment != "" || strings.ContainsAny(s, " \\#") ||
		(u.Port() != "" && !portNumber(u.Port())) {
		return restart.Errorf(restart.CodeInvalid, "%s is not an address to ask", restart.Quote(s)).WithHint("http:// or https://, a host, a path; no password and no #fragment")
	}
	return nil
}

// checkEndpointURL accepts where a program serves its pprof: what is asked for
// there is not for the scenario to say.
func checkEndpointURL(s string) error {
	if err := checkURL(s); err != nil {
		return err
	}
	if strings.Contains(s, "?") {
		return restart.Errorf(restart.CodeInvalid, "%s asks for something by itself", restart.Quote(s)).WithHint("leave out ? and what is behind it: the agent says in which form it wants the goroutines")
	}
	return nil
}

// checkEndpoint accepts an IP address or the name of a host.
func checkEndpoint(host string) bool {
	return net.ParseIP(host) != nil || restart.CheckHost(host) == nil
}

func portNumber(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535 && strconv.Itoa(n) == s
}
