package restart

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// The rules of names, one per type. Each name is checked where it enters: no
// name may start with "-" (it would become an option), hold ".." or a slash.
var (
	// our own names: services, groups, environments, scenarios, parameters
	ownName = lazy(`^[a-z0-9][a-z0-9@._-]{0,63}$`)
	// parameters become environment variables PARAM_NAME, so no dots or dashes
	paramName = lazy(`^[a-z][a-z0-9_]{0,31}$`)
	// RFC 1123 labels
	hostLabel = lazy(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// Debian policy 5.6.1
	packageName = lazy(`^[a-z0-9][a-z0-9+.-]{1,127}$`)
	// systemd.unit(5), without the escapes and without a leading dash
	unitName  = lazy(`^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,250}\.(service|socket|target|timer)$`)
	userName  = lazy(`^[a-z_][a-z0-9_-]{0,31}$`)
	person    = lazy(`^[a-z_][a-z0-9_.@-]{0,63}$`)
	digest    = lazy(`^[0-9a-f]{64}$`)
	id        = lazy(`^[0-9a-z]{26}$`)
	alertName = lazy(`^[A-Za-z_][A-Za-z0-9@._:-]{0,127}$`)
	tagName   = lazy(`^[A-Za-z0-9][A-Za-z0-9@._:+~=-]{0,127}$`)
)

// lazy compiles a rule when it is first needed: the agent starts a supervisor
// for each task, and compiling all of them would cost it a millisecond or two.
func lazy(rule string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(rule) })
}

func checkName(kind, s string, re func() *regexp.Regexp, rule string) error {
	if !re().MatchString(s) || strings.Contains(s, "..") {
		return Errorf(CodeInvalid, "%s %s is not a valid name", kind, Quote(s)).WithHint("%s", rule)
	}
	return nil
}

const ownRule = "1 to 64 characters of a-z 0-9 @ . _ -, starting with a letter or digit, without \"..\""

// CheckServiceName accepts our own names: ^[a-z0-9][a-z0-9@._-]{0,63}$, no "..".
func CheckServiceName(s string) error { return checkName("service", s, ownName, ownRule) }

// CheckGroupName follows the rule of CheckServiceName.
func CheckGroupName(s string) error { return checkName("group", s, ownName, ownRule) }

// CheckEnvironment follows the rule of CheckServiceName.
func CheckEnvironment(s string) error { return checkName("environment", s, ownName, ownRule) }

// CheckProject follows the rule of CheckServiceName.
func CheckProject(s string) error { return checkName("project", s, ownName, ownRule) }

// CheckScenarioName follows the rule of CheckServiceName.
func CheckScenarioName(s string) error { return checkName("scenario", s, ownName, ownRule) }

// CheckParamName accepts what can be the end of an environment variable.
func CheckParamName(s string) error {
	return checkName("parameter", s, paramName, "1 to 32 characters of a-z 0-9 _, starting with a letter")
}

// CheckHost accepts a lower-case host name by RFC 1123, at most 253 characters.
func CheckHost(s string) error {
	good := len(s) > 0 && len(s) <= 253
	for label := range strings.SplitSeq(s, ".") {
		good = good && hostLabel().MatchString(label)
	}
	if good {
		return nil
	}
	return Errorf(CodeInvalid, "host %s is not a valid name", Quote(s)).WithHint("a lower-case host name by RFC 1123, such as web1.example.com")
}

// CheckPackage accepts a Debian package name (policy 5.6.1).
func CheckPackage(s string) error {
	return checkName("package", s, packageName, "lower-case letters, digits and + - . (Debian policy 5.6.1)")
}

// CheckUnit accepts a systemd unit name with its suffix, such as nginx.service.
func CheckUnit(s string) error {
	return checkName("unit", s, unitName, "a systemd unit with its suffix, such as nginx.service")
}

// CheckUser accepts a Unix user name.
func CheckUser(s string) error {
	return checkName("user", s, userName, "a Unix user name")
}

// CheckPerson accepts the name of somebody who signs in: a Unix user name, or
// one with dots or an @ as companies give them. What begins like a token's
// secret (rtk_) is none: it was typed into the wrong field, and names are told.
func CheckPerson(s string) error {
	const rule = "1 to 64 characters of a-z 0-9 _ . @ -, starting with a letter or _, without \"..\", and not with rtk_"
	if strings.HasPrefix(s, "rtk_") {
		return Errorf(CodeInvalid, "a user name does not begin with rtk_, as secrets of tokens do").WithHint("%s", rule)
	}
	return checkName("user", s, person, rule)
}

// CheckTag accepts a tag of a host or package.
func CheckTag(s string) error {
	return checkName("tag", s, tagName, "1 to 128 letters, digits and @ . _ : + ~ = -")
}

// CheckAlert accepts the name of an alert, in full: no patterns.
func CheckAlert(s string) error {
	if !alertName().MatchString(s) {
		return Errorf(CodeInvalid, "%s is not the name of an alert", Quote(s)).WithHint("one whole name, such as InstanceDown; patterns are not read")
	}
	return nil
}

// CheckDigest accepts a SHA-256 in lower-case hex.
func CheckDigest(s string) error {
	return checkName("digest", s, digest, "64 lower-case hex digits")
}

// CheckID accepts a run or task id as NewID makes them: 26 characters of
// Crockford's base32 in lower case.
func CheckID(s string) error {
	return checkName("id", s, id, "26 lower-case letters and digits, as the lists show them")
}

// Quote shows foreign text in one line of a message: bounded to 80 characters,
// with control characters, invalid UTF-8 and bidirectional overrides escaped,
// so that no terminal, log or page can be forged by it.
func Quote(s string) string {
	const most = 80
	cut := false
	if utf8.RuneCountInString(s) > most {
		s, cut = string([]rune(s)[:most]), true
	}
	q := `"` + Escape(s) + `"`
	if cut {
		q += "…"
	}
	return q
}

// Escape makes text harmless for one line of a terminal, log or page: what is
// not printable becomes \n, \t, \xNN or \u{NNNN}. Printable text is unchanged.
func Escape(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !Printable(r) }) < 0 {
		return s
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !utf8.ValidString(s[i:min(len(s), i+1)]) && s[i] >= 0x80 && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteString(`\x`)
			b.WriteByte(hex[s[i]>>4])
			b.WriteByte(hex[s[i]&15])
		case Printable(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			b.WriteString(`\x`)
			b.WriteByte(hex[byte(r)>>4])
			b.WriteByte(hex[byte(r)&15])
		default:
			b.WriteString(`\u{`)
			started := false
			for shift := 20; shift >= 0; shift -= 4 {
				d := (r >> shift) & 15
				if d != 0 || started || shift == 0 {
					b.WriteByte(hex[d])
					started = true
				}
			}
			b.WriteByte('}')
		}
	}
	return b.String()
}

// Printable tells whether r may be shown as it is: graphic, and not one of the
// marks that change the direction or joining of the text around it.
func Printable(r rune) bool {
	switch {
	case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff, r == 0x2028, r == 0x2029:
		return false
	}
	return unicode.IsPrint(r)
}
