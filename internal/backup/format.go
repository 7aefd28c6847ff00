package backup

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// Format is the format that is written, and the newest that is read.
	Format = 1
	// maxLine bounds one line, in bytes: the largest rows are plans of ten
	// thousand hosts and pieces of output, a few MiB each.
	maxLine = 64 << 20
	magic   = "restartilka"
)

// Manifest is the first line: what the backup is of, and how much it holds.
type Manifest struct {
	Backup        string    `json:"backup"` // always restartilka
	Format        int       `json:"format"`
	Schema        int       `json:"schema"`   // of the database: the number of its last migration
	MadeAt        time.Time `json:"made_at"`  // by the database's clock: all that was committed before is in it, nothing after
	Server        string    `json:"server"`   // name: of the server.yaml
	Program       string    `json:"program"`  // version of the program that made it
	Database      string    `json:"database"` // SQLite or PostgreSQL
	WithoutOutput bool      `json:"without_output,omitempty"`
	Tables        []Table   `json:"tables"`
}

// Table is one table of a Manifest.
type Table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Rows    int64    `json:"rows"`
}

// Rows counts the rows of all tables.
func (m Manifest) Rows() (n int64) {
	for _, t := range m.Tables {
		n += t.Rows
	}
	return n
}

type (
	tableLine struct {
		Table string `json:"table"`
	}
	lastLine struct {
		SHA256 string `json:"sha256"`
	}
)

// name is what a table or a column may be called. The names of a backup become
// part of statements.
var name = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

func (m Manifest) check() error {
	switch {
	case m.Backup != magic:
		return damaged("its first line is not that of a backup")
	case m.Format > Format:
		return restart.Errorf(restart.CodeConflict, "the backup has format %d; this program reads formats up to %d", m.Format, Format).
			WithHint("use the restartilka that made it, %s, or a newer one", restart.Quote(m.Program))
	case m.Format < 1 || m.Schema < 1:
		return damaged("its first line has no format or no schema")
	}
	seen := map[string]bool{}
	for _, t := range m.Tables {
		if !name.MatchString(t.Name) || seen[t.Name] || t.Rows < 0 || len(t.Columns) == 0 {
			return damaged("its first line names the table %s, which can't be", restart.Quote(t.Name))
		}
		seen[t.Name] = true
		columns := map[string]bool{}
		for _, c := range t.Columns {
			if !name.MatchString(c) || columns[c] {
				return damaged("its first line names the column %s of %s, which can't be", restart.Quote(c), t.Name)
			}
			columns[c] = true
		}
	}
	return nil
}

// damaged is the error about a file that is not, or not any more, a backup.
func damaged(format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "this is no whole backup: "+format, args...).
		WithHint("take another copy of it, or an older backup; nothing of it was used")
}

// appendRow appends a row as a line without its end.
func appendRow(b []byte, row []any) ([]byte, error) {
	b = append(b, '[')
	for i, v := range row {
		if i > 0 {
			b = append(b, ',')
		}
		switch v := v.(type) {
		case nil:
			b = append(b, "null"...)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case []byte:
			b = append(b, `{"b":"`...)
			b = base64.StdEncoding.AppendEncode(b, v)
			b = append(b, `"}`...)
		case string:
			if plain(v) {
				b = append(append(append(b, '"'), v...), '"')
				continue
			}
			text, err := json.Marshal(v)
			if err != nil {
				return nil, fmt.Errorf("encode a text: %w", err)
			}
			b = append(b, text...)
		default:
			return nil, fmt.Errorf("a backup has no form for a value of type %T", v)
		}
	}
	return append(b, ']'), nil
}

// plain tells whether a text is its own JSON: nearly all are.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// value is one value of a row as it is read.
type value struct{ v any }

// UnmarshalJSON reads null, an integer, a string or an object of bytes.
func (x *value) UnmarshalJSON(b []byte) (err error) {
	switch {
	case string(b) == "null":
		x.v = nil
	case b[0] == '"':
		var s string
		err = json.Unmarshal(b, &s)
		x.v = s
	case b[0] == '{':
		var bytes struct {
			B *[]byte `json:"b"`
		}
		if err = json.Unmarshal(b, &bytes); err == nil && bytes.B == nil {
			err = fmt.Errorf("an object that holds no bytes")
		}
		if err == nil {
			x.v = *bytes.B
		}
	default:
		x.v, err = strconv.ParseInt(string(b), 10, 64)
	}
	return err
}
