package audit

import (
	"os"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// appName is APP-NAME of every message; structuredID is the SD-ID, with the
// enterprise number that RFC 5612 keeps for examples, as nobody has to look it up.
const (
	appName      = "restartilka"
	structuredID = "restartilka@32473"
)

// facilities are those of RFC 5424 that a daemon of ours may use.
var facilities = map[string]int{
	"auth": 4, "authpriv": 10,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

const severityNotice = 5

// header is what all messages of this process begin with or share.
type header struct {
	facility int
	hostname string // "-" where it is not known
	procID   string
}

func newHeader(facility string) (header, error) {
	if facility == "" {
		facility = "local0"
	}
	number, ok := facilities[facility]
	if !ok {
		return header{}, restart.Errorf(restart.CodeInvalid, "syslog facility %s is not supported", restart.Quote(facility)).
			WithHint("local0 to local7, auth or authpriv")
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = ""
	}
	return header{facility: number, hostname: printASCII(hostname, 255), procID: strconv.Itoa(os.Getpid())}, nil
}

// appendFrame adds one message with RFC 5425's framing: its length in bytes,
// a blank, the message.
func (h header) appendFrame(b []byte, r *Record) []byte {
	message := h.appendMessage(nil, r)
	b = strconv.AppendInt(b, int64(len(message)), 10)
	b = append(b, ' ')
	return append(b, message...)
}

// appendMessage adds one RFC 5424 message: header, structured data with the
// record's place, and the record in its canonical JSON without a BOM.
func (h header) appendMessage(b []byte, r *Record) []byte {
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(h.facility*8+severityNotice), 10)
	b = append(b, ">1 "...)
	if r.Time.IsZero() {
		b = append(b, '-')
	} else {
		b = r.Time.UTC().AppendFormat(b, timeLayout) // six digits: nine corrupt rsyslog's records
	}
	for _, field := range []string{h.hostname, appName, h.procID, printASCII(string(r.Action), 32)} {
		b = append(append(b, ' '), field...)
	}
	b = append(b, " ["+structuredID...)
	for _, param := range [][2]string{
		{"source", r.Source}, {"epoch", strconv.FormatInt(r.Epoch, 10)}, {"seq", strconv.FormatInt(r.Seq, 10)},
	} {
		b = append(b, ' ')
		b = append(b, param[0]...)
		b = append(b, '=', '"')
		b = append(b, paramEscapes.Replace(restart.Escape(param[1]))...)
		b = append(b, '"')
	}
	b = append(b, "] "...)
	return append(b, r.Canonical()...)
}

// paramEscapes is RFC 5424, 6.3.3.
var paramEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

// printASCII makes s a header field: other characters than visible ASCII
// become "_", it has at most the given length, and "-" stands for nothing.
func printASCII(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		if c < '!' || c > '~' {
			return '_'
		}
		return c
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}
