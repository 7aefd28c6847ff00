package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Action says what a record is about. The names are part of the format: they
// are searched for by people and by programs, and are never changed.
type Action string

// The actions. A request is written before it is decided, so that a refusal
// has its own record beside it.
const (
	RunRequested Action = "run.requested"
	RunRefused   Action = "run.refused"
	RunApproved  Action = "run.approved"
	RunRejected  Action = "run.rejected"
	// Beside run.requested: it waits for an approval. Nobody gave it in time, or
	RunApprovalRequested Action = "run.approval_requested"
	RunApprovalExpired   Action = "run.approval_expired"
	RunApprovalWithdrawn Action = "run.approval_withdrawn"
	RunStarted           Action = "run.started"
	RunResumed           Action = "run.resumed"
	RunPaused            Action = "run.paused"
	RunPauseRequested    Action = "run.pause_requested"
	RunAbortRequested    Action = "run.abort_requested"
	RunEnded             Action = "run.ended"
	RunBreakGlass        Action = "run.break_glass"          // beside run.requested: what was waived
	BreakGlassReviewed   Action = "run.break_glass_reviewed" // somebody else has looked at it afterwards
	// Of a run that is planned for a time to come; as it starts, run.requested.
	ScheduleMade              Action = "schedule.made"
	ScheduleApprovalRequested Action = "schedule.approval_requested" // beside schedule.made
	ScheduleApproved          Action = "schedule.approved"
	ScheduleRejected          Action = "schedule.rejected"
	ScheduleCancelled         Action = "schedule.cancelled"
	ScheduleMissed            Action = "schedule.missed"        // it could not be started in time
	ScheduleRefused           Action = "schedule.refused"       // at its time something was not as it was planned
	CalendarTokenCreated      Action = "calendar.token_created" // the address under which programs read what is planned
	CalendarTokenRevoked      Action = "calendar.token_revoked"
	FreezeAdded               Action = "freeze.added"
	FreezeRemoved             Action = "freeze.removed"
	LockReleased              Action = "lock.released"         // an admin took a paused run's hold of its service away
	LockBypassed              Action = "lock.bypassed"         // a run goes on without a lock that is shared with others
	MessageGivenUp            Action = "message.given_up"      // a message that its receiver has never taken
	MessageTested             Action = "message.tested"        // an admin has sent a message to try a receiver
	RecurrenceNoted           Action = "recurrence.noted"      // restarts for one reason came so often that a ticket is to be opened
	TicketOpened              Action = "recurrence.ticket"     // that ticket is there: which
	TaskIntent                Action = "task.intent"           // before the agent is called
	TaskOutcome               Action = "task.outcome"          // what became of the host
	TaskLearned               Action = "task.learned"          // what a host said of an unknown task, once it answered again
	TaskSilenced              Action = "task.silenced"         // monitoring was told not to alert of a host meanwhile; with an outcome: it could not be
	TaskUnsilenced            Action = "task.unsilenced"       // that was lifted; with an outcome: it could not be yet
	TaskDecided               Action = "task.decided"          // a person settled an unknown task
	TaskLocal                 Action = "task.local"            // begun on a host itself, without a server: as the host tells
	TaskTaken                 Action = "task.taken"            // by a host's own record: a server's task that it took
	TaskRefused               Action = "task.refused"          // by a host's own record: what it refused, and why
	ScenarioLaid              Action = "scenario.laid"         // by a host's own record: a signed version that a server laid there
	EnvelopeKeysLearned       Action = "envelope_keys.learned" // by a host's own record: whose envelopes it obeys from here on
	EvidenceTaken             Action = "evidence.taken"        // by a host's own record: what a server has seen of a service there, apart from a task
	DumpTaken                 Action = "dump.taken"            // by a host's own record: root has taken dumps of a process there; with an outcome: how that ended
	SerialForgotten           Action = "serial.forgotten"      // by a host's own record: root lets an older version of a scenario in
	HostChainBroken           Action = "host.chain_broken"     // a host's own records are not those that were seen before
	TokenCreated              Action = "token.created"
	TokenRevoked              Action = "token.revoked"
	CertificateIssued         Action = "certificate.issued"
	CertificateRevoked        Action = "certificate.revoked"
	JoinTokenCreated          Action = "join_token.created"
	JoinTokenRevoked          Action = "join_token.revoked"
	HostJoin                  Action = "host.join" // a join token was used; with an outcome: it was refused
	HostsDiscovered           Action = "hosts.discovered"
	ScenarioProposed          Action = "scenario.proposed" // pushed, or found in the folder
	ScenarioSigned            Action = "scenario.signed"
	ScenarioApproved          Action = "scenario.approved" // it has its quorum
	ScenarioWithdrawn         Action = "scenario.withdrawn"
	DumpViewed                Action = "dump.viewed"   // a page or file of it was given out; a refusal has an outcome
	DumpUploaded              Action = "dump.uploaded" // somebody put a file into the viewer
	DumpDeleted               Action = "dump.deleted"
	DumpExpired               Action = "dump.expired" // the server dropped what it keeps no longer, by its configuration
	SignIn                    Action = "sign_in"
	SignInRefused             Action = "sign_in.refused"
	SignOut                   Action = "sign_out"
	SessionRevoked            Action = "session.revoked"
	KeyAdded                  Action = "ssh_key.added" // somebody has put an SSH key into his profile
	KeyRemoved                Action = "ssh_key.removed"
	LoginConfirmed            Action = "login.confirmed" // a command line was signed in on the page
	LoginRefused              Action = "login.refused"
	UserCreated               Action = "user.created"
	UserChanged               Action = "user.changed" // roles or method
	UserDisabled              Action = "user.disabled"
	UserEnabled               Action = "user.enabled"
	PasswordChanged           Action = "user.password_changed"
	ChatCodeMade              Action = "chat.code_made"     // somebody is about to link an account of a chat to his name
	ChatCodeVoided            Action = "chat.code_voided"   // it was shown where others could read it
	ChatLinked                Action = "chat.linked"        // with an outcome: somebody tried to
	ChatUnlinked              Action = "chat.unlinked"      //
	ChatPressRefused          Action = "chat.press_refused" // a button that was somebody else's, used up, late or elsewhere
	ServerStarted             Action = "server.started"
	ServerStopped             Action = "server.stopped"
	ServerBackedUp            Action = "server.backed_up"  // somebody takes the whole database away; written before he has it
	ServerRestored            Action = "server.restored"   // the database was put back from a backup
	ConfigChanged             Action = "config.changed"    // a server runs by another configuration, or by another key for envelopes, than before
	RulesChanged              Action = "rules.changed"     // other rules of rights hold from now on: the file's digest
	RulesRefused              Action = "rules.refused"     // a file of rules that can't be used; those before still hold
	AuditSealed               Action = "audit.sealed"      // a signature over all before it, at least once a minute: see Seal
	AuditKeyChanged           Action = "audit.key_changed" // another key seals from here on: see KeyChange
	AuditExported             Action = "audit.exported"    // records were given out as a file: which, and how many; a refusal has an outcome
	AuditExpired              Action = "audit.expired"     // the server has deleted its own copy of old records: see Expiry
)

// Record is one line of the audit trail. Until Link has been called it has no
// place in the trail: Source, Epoch, Seq, PrevHash and Hash are zero.
//
// Zero fields are left out of the JSON, except seq.
type Record struct {
	Source         string            // who keeps this chain: a server's name
	Epoch          int64             // from 1; raised when the source was restored from a backup
	Seq            int64             // from 1, without gaps within a source
	PrevHash       string            // Hash of the record before; "" for the first of a source
	Time           time.Time         // of the event, UTC, whole microseconds; "time_utc" in JSON
	Actor          string            // the person or token that asked; never replaced by the program
	Origin         string            // the way in and the address: "cli 192.0.2.7"
	Action         Action            //
	Run            string            // id
	Task           string            // id
	Attempt        int               // of the task, from 1
	Service        string            //
	Environment    string            //
	Host           string            //
	ScenarioDigest string            // SHA-256 of the scenario's bytes, hex
	Params         map[string]string // checked values of the scenario's parameters; of an outcome: see HostHeads
	Reason         string            // the person's own words
	Outcome        string            // a state or an error code
	Detail         string            // one line more for people: the frozen host list, the why of a refusal
	Hash           string            // SHA-256 of the canonical bytes without this field, hex
}

// Head is where a source's chain stands: its last record's place and hash.
// The zero Seq means that nothing has been recorded yet.
type Head struct {
	Source string `json:"source"`
	Epoch  int64  `json:"epoch"`
	Seq    int64  `json:"seq"`
	Hash   string `json:"hash,omitempty"`
}

// Head gives the head of the chain that ends with r.
func (r *Record) Head() Head {
	return Head{Source: r.Source, Epoch: r.Epoch, Seq: r.Seq, Hash: r.Hash}
}

// Before tells whether h comes before o in the chain of their common source.
// A higher epoch is later, whatever the numbers within it.
func (h Head) Before(o Head) bool {
	return place{h.Epoch, h.Seq}.before(place{o.Epoch, o.Seq})
}

// Link gives r its place after prev: source, epoch (at least 1), the next seq,
// prev_hash and, last, its own hash. The text of the record is cleaned first,
// see Clean. The chain then stands at r.Head().
func (r *Record) Link(prev Head) {
	r.Clean()
	r.Source = prev.Source
	r.Epoch = max(prev.Epoch, 1)
	r.Seq = prev.Seq + 1
	r.PrevHash = prev.Hash
	r.Hash = r.computeHash()
}

// Intact tells whether r's hash is that of its contents.
func (r *Record) Intact() bool { return r.Hash != "" && r.Hash == r.computeHash() }

func (r *Record) computeHash() string {
	sum := sha256.Sum256(r.append(nil, false))
	return hex.EncodeToString(sum[:])
}

// Canonical gives the one encoding of r: a JSON object in one line, without a
// newline at its end. The package comment describes it byte for byte.
func (r *Record) Canonical() []byte { return r.append(nil, true) }

// MarshalJSON gives the canonical bytes, which json.Marshal leaves unchanged;
// of a record that is not linked yet, those after Clean.
func (r Record) MarshalJSON() ([]byte, error) {
	if r.Hash == "" {
		r.Clean()
	}
	return r.Canonical(), nil
}

// UnmarshalJSON reads what Decode reads.
func (r *Record) UnmarshalJSON(b []byte) error {
	d, err := Decode(b)
	if err != nil {
		return err
	}
	*r = d
	return nil
}

const timeLayout = "2006-01-02T15:04:05.000000Z"

func (r *Record) append(b []byte, withHash bool) []byte {
	text := func(key, value string) {
		if value != "" {
			b = appendKey(b, key)
			b = appendText(b, value)
		}
	}
	number := func(key string, value int64) {
		if value != 0 || key == "seq" {
			b = strconv.AppendInt(appendKey(b, key), value, 10)
		}
	}
	b = append(b, '{')
	text("source", r.Source)
	number("epoch", r.Epoch)
	number("seq", r.Seq)
	text("prev_hash", r.PrevHash)
	if !r.Time.IsZero() {
		b = appendKey(b, "time_utc")
		b = append(b, '"')
		b = r.Time.UTC().AppendFormat(b, timeLayout)
		b = append(b, '"')
	}
	text("actor", r.Actor)
	text("origin", r.Origin)
	text("action", string(r.Action))
	text("run", r.Run)
	text("task", r.Task)
	number("attempt", int64(r.Attempt))
	text("service", r.Service)
	text("environment", r.Environment)
	text("host", r.Host)
	text("scenario_digest", r.ScenarioDigest)
	if len(r.Params) > 0 {
		b = appendKey(b, "params")
		b = append(b, '{')
		for _, name := range slices.Sorted(maps.Keys(r.Params)) {
			if b[len(b)-1] != '{' {
				b = append(b, ',')
			}
			b = append(appendText(b, name), ':')
			b = appendText(b, r.Params[name])
		}
		b = append(b, '}')
	}
	text("reason", r.Reason)
	text("outcome", r.Outcome)
	text("detail", r.Detail)
	if withHash {
		text("hash", r.Hash)
	}
	return append(b, '}')
}

func appendKey(b []byte, key string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

// appendText writes a JSON string. What could break a line, a terminal, a page
// or the direction of text is written as \uXXXX: a fixed set, so that the bytes
// do not depend on anybody's version of Unicode.
func appendText(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range s { // invalid UTF-8 arrives as U+FFFD
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case escaped(c):
			b = append(b, '\\', 'u', digits[c>>12&15], digits[c>>8&15], digits[c>>4&15], digits[c&15])
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return append(b, '"')
}

func escaped(c rune) bool {
	return c == '<' || c == '>' || c == '&' || deceptive(c) // the first three as encoding/json does
}

// deceptive characters are in no clean record: controls, and the marks of
// direction, joining and line ends.
func deceptive(c rune) bool {
	switch {
	case c < 0x20, c >= 0x7f && c <= 0x9f, c == 0x061c, c >= 0x200b && c <= 0x200f,
		c >= 0x2028 && c <= 0x202e, c >= 0x2060 && c <= 0x2069, c == 0xfeff:
		return true
	}
	return false
}

// MaxSize is the most bytes that a linked record's canonical form can have, so
// that its syslog message stays below the 8 KiB that receivers take by default.
// Clean sees to it.
const MaxSize = 7 << 10

var (
	errNotCanonical = errors.New("not in canonical form: a key, its place, a blank or an escape is not as it was written")
	errDeceptive    = errors.New("it holds a control character or a mark of direction, which no record has")
	errTime         = errors.New("time_utc is not a time in UTC with microseconds")
	errCut          = errors.New("it is cut off")
)

// Decode reads one record in its canonical form, without a newline at its end.
// Anything else is an error: an unknown or repeated key, another order, blanks,
// other escapes, or text that Clean would not have left. The hash is not
// checked: see Intact.
func Decode(line []byte) (Record, error) {
	var w wire
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return Record{}, errCut
		}
		return Record{}, fmt.Errorf("not a record: %w", err)
	}
	r := Record{
		Source: w.Source, Epoch: w.Epoch, Seq: w.Seq, PrevHash: w.PrevHash, Actor: w.Actor, Origin: w.Origin,
		Action: w.Action, Run: w.Run, Task: w.Task, Attempt: w.Attempt, Service: w.Service, Environment: w.Environment,
		Host: w.Host, ScenarioDigest: w.ScenarioDigest, Params: w.Params, Reason: w.Reason, Outcome: w.Outcome,
		Detail: w.Detail, Hash: w.Hash,
	}
	if w.Time != "" {
		t, err := time.Parse(timeLayout, w.Time)
		if err != nil {
			return Record{}, errTime
		}
		r.Time = t
	}
	if !bytes.Equal(r.Canonical(), line) {
		return Record{}, errNotCanonical
	}
	if bytes.Contains(line, []byte(`\u`)) && r.deceptive() {
		return Record{}, errDeceptive
	}
	return r, nil
}

func (r *Record) deceptive() bool {
	for _, text := range []string{
		r.Source, r.PrevHash, r.Actor, r.Origin, string(r.Action), r.Run, r.Task, r.Service, r.Environment,
		r.Host, r.ScenarioDigest, r.Reason, r.Outcome, r.Detail, r.Hash,
	} {
		if strings.ContainsFunc(text, deceptive) {
			return true
		}
	}
	for name, value := range r.Params {
		if strings.ContainsFunc(name, deceptive) || strings.ContainsFunc(value, deceptive) {
			return true
		}
	}
	return false
}

// wire is Record as encoding/json reads it. Its names are the format.
type wire struct {
	Source         string            `json:"source"`
	Epoch          int64             `json:"epoch"`
	Seq            int64             `json:"seq"`
	PrevHash       string            `json:"prev_hash"`
	Time           string            `json:"time_utc"`
	Actor          string            `json:"actor"`
	Origin         string            `json:"origin"`
	Action         Action            `json:"action"`
	Run            string            `json:"run"`
	Task           string            `json:"task"`
	Attempt        int               `json:"attempt"`
	Service        string            `json:"service"`
	Environment    string            `json:"environment"`
	Host           string            `json:"host"`
	ScenarioDigest string            `json:"scenario_digest"`
	Params         map[string]string `json:"params"`
	Reason         string            `json:"reason"`
	Outcome        string            `json:"outcome"`
	Detail         string            `json:"detail"`
	Hash           string            `json:"hash"`
}
