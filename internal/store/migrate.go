package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered file. Files are only ever appended, never changed.
type migration struct {
	version int
	name    string
	text    string
}

// readMigrations reads NNNN_name.sql files, which are numbered from 1 without gaps.
func readMigrations(files fs.FS) ([]migration, error) {
	entries, err := fs.ReadDir(files, "migrations")
	if err != nil {
		return nil, err
	}
	var out []migration
	for i, e := range entries { // sorted by name
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: its number should be %d", e.Name(), i+1)
		}
		text, err := fs.ReadFile(files, "migrations/"+e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, migration{version: version, name: e.Name(), text: string(text)})
	}
	return out, nil
}

// statements splits at semicolons that end a line; comment lines are dropped.
func (m migration) statements() []string {
	var out []string
	var current strings.Builder
	for line := range strings.Lines(m.text) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") {
			continue
		}
		current.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			out = append(out, strings.TrimSuffix(strings.TrimSpace(current.String()), ";"))
			current.Reset()
		}
	}
	if rest := strings.TrimSpace(current.String()); rest != "" {
		out = append(out, rest)
	}
	return out
}

// migrate brings the schema up to date in one transaction: all that is missing
// is applied, or nothing. Other servers that start at the same time wait.
func (s *Store) migrate(ctx context.Context) error {
	migrations, err := readMigrations(migrationFiles)
	if err != nil {
		return err
	}
	return s.apply(ctx, migrations)
}

func (s *Store) apply(ctx context.Context, migrations []migration) error {
	return s.write(ctx, "migrate the schema", func(ctx context.Context, tx tx) error {
		return s.applyIn(ctx, tx, migrations)
	})
}

// applyIn is apply in a transaction that does more.
func (s *Store) applyIn(ctx context.Context, tx tx, migrations []migration) error {
	if err := undisturbed(ctx, tx); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	if known := len(migrations); version > known {
		return restart.Errorf(restart.CodeConflict, "the database has schema %d; this program knows schemas up to %d", version, known).
			WithHint("start the newer restartilka that made it, or restore a backup from before the upgrade")
	}
	for _, m := range migrations[version:] {
		for _, statement := range m.statements() {
			if err := s.perform(ctx, tx, statement); err != nil {
				return fmt.Errorf("migration %s: %w", m.name, err)
			}
		}
		if _, err := tx.exec(ctx, "INSERT INTO schema_version (version, name, applied_at) VALUES (?, ?, $now)", m.version, m.name); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		s.log.InfoContext(ctx, "schema migrated", "migration", m.name)
	}
	if version > 0 && version < countsMigration && len(migrations) >= countsMigration {
		return fillHistory(ctx, tx) // it knows the schema as it is now, not as that migration left it
	}
	return nil
}

// undisturbed lets a transaction take its time, and no other change the schema until
// it is over.
func undisturbed(ctx context.Context, t tx) error {
	for _, statement := range []string{t.dialect.patience, t.dialect.lockSchema} {
		if statement == "" {
			continue
		}
		if _, err := t.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// fills are statements of migrations that no SQL could be for both databases:
// they give columns of old rows what the program has given new ones since.
var fills = map[string]func(context.Context, tx) error{"$fill_audit_search": fillAuditSearch}

// perform does one statement of a migration.
func (s *Store) perform(ctx context.Context, tx tx, statement string) error {
	if fill, ok := fills[statement]; ok {
		return fill(ctx, tx)
	}
	_, err := tx.exec(ctx, statement)
	return err
}

// schemaVersion is 0 in an empty database.
func schemaVersion(ctx context.Context, tx tx) (version int, err error) {
	version, there, err := readVersion(ctx, tx)
	if err != nil || there {
		return version, err
	}
	_, err = tx.exec(ctx, "CREATE TABLE schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)")
	return 0, err
}

// readVersion is schemaVersion that changes nothing; there tells whether the
// database has ever had a schema of ours.
func readVersion(ctx context.Context, tx tx) (version int, there bool, err error) {
	var tables int
	if err := tx.row(ctx, tx.dialect.hasTable, "schema_version").Scan(&tables); err != nil || tables == 0 {
		return 0, false, err
	}
	err = tx.row(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&version)
	return version, true, err
}

// Statements that change which tables there are.
var (
	createsTable = regexp.MustCompile(`(?is)^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)`)
	dropsTable   = regexp.MustCompile(`(?is)^DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(\w+)`)
	renamesTable = regexp.MustCompile(`(?is)^ALTER\s+TABLE\s+(\w+)\s+RENAME\s+TO\s+(\w+)`)
)

// tablesOf names the tables that migrations make, each after those that it
// refers to: a reference needs a table that is there already.
func tablesOf(migrations []migration) (tables []string) {
	for _, m := range migrations {
		for _, statement := range m.statements() {
			if made := createsTable.FindStringSubmatch(statement); made != nil {
				tables = append(tables, made[1])
			} else if dropped := dropsTable.FindStringSubmatch(statement); dropped != nil {
				tables = slices.DeleteFunc(tables, func(t string) bool { return t == dropped[1] })
			} else if renamed := renamesTable.FindStringSubmatch(statement); renamed != nil {
				if i := slices.Index(tables, renamed[1]); i >= 0 {
					tables[i] = renamed[2]
				}
			}
		}
	}
	return tables
}
