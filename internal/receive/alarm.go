package receive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AlarmKind says what an alarm is about.
type AlarmKind string

// The kinds of alarms.
const (
	AlarmMalformed AlarmKind = "malformed" // what came is not a record as it is written
	AlarmForeign   AlarmKind = "foreign"   // a record of another source
	AlarmChanged   AlarmKind = "changed"   // its hash is not that of its contents, or another record of that number is stored
	AlarmBroken    AlarmKind = "broken"    // it does not follow the record before it
	AlarmGap       AlarmKind = "gap"       // the source goes on, and does not send what is missing
	AlarmDamaged   AlarmKind = "damaged"   // what was stored is not what is there now
)

// Alarm is one line of a source's alarm.jsonl. The alarm stands while that file
// is there; a person who has looked into it moves it away.
type Alarm struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	Kind   AlarmKind `json:"kind"`
	Epoch  int64     `json:"epoch,omitempty"`
	Seq    int64     `json:"seq,omitempty"`
	Text   string    `json:"text"`             // safe to print
	Stored string    `json:"stored,omitempty"` // where what came lies, within the source's folder
}

func (a Alarm) key() string {
	return string(a.Kind) + " " + strconv.FormatInt(a.Epoch, 10) + " " + strconv.FormatInt(a.Seq, 10) + " " + a.Stored
}

const (
	alarmFile = "alarm.jsonl"
	maxAlarms = 1000 // lines of that file
)

// alarms are those of one source.
type alarms struct {
	path string

	mu        sync.Mutex
	known     map[string]bool // by key, of the file as it is
	unwritten []Alarm         // what the disk did not take
}

// standing gives the alarms that nobody has taken away.
func (a *alarms) standing() []Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(a.read(), a.unwritten...)
}

// read gives what the file has; a line that a crash has torn is passed over. A
// file that is there and tells nothing is an alarm too: somebody has been at it,
// or the disk has.
func (a *alarms) read() []Alarm {
	b, err := os.ReadFile(a.path)
	a.known = map[string]bool{}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var all []Alarm
	for line := range bytes.Lines(b) {
		var one Alarm
		if json.Unmarshal(line, &one) == nil {
			all, a.known[one.key()] = append(all, one), true
		}
	}
	if len(all) == 0 && (err != nil || len(bytes.TrimSpace(b)) > 0) {
		all = append(all, Alarm{Kind: AlarmDamaged, Text: "the file of alarms is there and can't be read: " + a.path})
	}
	return all
}

// mostSaid is how many bytes of what is wrong an alarm tells.
const mostSaid = 500

// raise notes an alarm durably, unless it stands already; news tells which.
func (a *alarms) raise(one Alarm) (news bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(one.Text) > mostSaid { // it may quote what the source has sent
		one.Text = strings.ToValidUTF8(one.Text[:mostSaid], "") + "…"
	}
	standing := len(a.read())
	for _, u := range a.unwritten {
		a.known[u.key()] = true
	}
	if a.known[one.key()] || standing >= maxAlarms {
		return false, nil
	}
	if err := a.append(one); err != nil {
		if len(a.unwritten) < maxAlarms {
			a.unwritten = append(a.unwritten, one)
		}
		return true, fmt.Errorf("note the alarm in %s: %w", a.path, err)
	}
	return true, nil
}

func (a *alarms) append(one Alarm) error {
	line, err := json.Marshal(one)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	// A newline first ends what a crash may have torn.
	_, err = file.Write(append(append([]byte{'\n'}, line...), '\n'))
	return errors.Join(err, file.Sync(), file.Close(), syncFolder(filepath.Dir(a.path)))
}

// keepApart stores what was refused under a name of its own, and gives it. Once
// most are there it stores none, so that nobody can fill the disk by it.
func keepApart(dir, name string, content []byte, most int) (stored string, err error) {
	folder := filepath.Join(dir, refusedFolder)
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err == nil {
		return filepath.Join(refusedFolder, name), nil
	}
	if err := os.Mkdir(folder, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	if len(entries) >= most {
		return "", nil
	}
	file, err := os.CreateTemp(folder, ".new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name()) // gone already when all goes well
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return "", err
	}
	return filepath.Join(refusedFolder, name), errors.Join(syncFolder(folder), syncFolder(dir))
}

const (
	refusedFolder = "refused"
	maxRefused    = 64 // files of it, of a batch at most each
	maxDamaged    = 80 // with those that a start has cut off: no sender can take their room
)
