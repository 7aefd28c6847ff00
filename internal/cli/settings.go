package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
)

// settings are client.yaml, as login writes it: readable by its owner only.
type settings struct {
	URL   string `yaml:"url"`
	CA    string `yaml:"ca,omitempty"` // PEM
	Token string `yaml:"token"`
}

const maxSettings = 1 << 20

// settingsFile is ~/.config/restartilka/client.yaml, or where XDG_CONFIG_HOME says.
func settingsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", restart.Errorf(restart.CodeInvalid, "there is no place for client.yaml: %w", err).WithHint("set HOME, or use RESTARTILKA_URL and RESTARTILKA_TOKEN")
	}
	return filepath.Join(dir, "restartilka", "client.yaml"), nil
}

// readSettings gives what login has stored; nothing where nobody has signed in.
func readSettings() (settings, error) {
	var s settings
	path, err := settingsFile()
	if err != nil {
		return s, nil // a program without a home uses the environment
	}
	b, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	loader, err := yaml.NewLoader(bytes.NewReader(b), yaml.WithKnownFields())
	if err == nil {
		err = loader.Load(&s)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return s, restart.Errorf(restart.CodeInvalid, "%s: %v", path, err).WithHint("sign in again: restartilka login URL")
	}
	return s, nil
}

// readPrivate reads a file with a secret; one that others may read is refused.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "%s may be read by others (mode %04o), and it holds a token", path, info.Mode().Perm()).WithHint("chmod 600 %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err == nil && len(b) > maxSettings {
		err = restart.Errorf(restart.CodeTooLarge, "%s has more than %d bytes", path, maxSettings)
	}
	return b, err
}

// write stores the settings in one step, mode 0600.
func (s settings) write() (path string, err error) {
	if path, err = settingsFile(); err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of client.yaml: %w", err)
	}
	b, err := yaml.Dump(s)
	if err != nil {
		return "", fmt.Errorf("encode client.yaml: %w", err)
	}
	return path, writeFile(path, b, 0o600)
}

// writeFile writes a file in one step: whoever opens it sees all or nothing of it.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".restartilka-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // it has another name by then
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// connect gives the client for the server that the environment names, or else
// the one signed in to. A stored token goes to no other server than its own. A
// command line that came by SSH has neither: see Shell.
func connect(cmd *cobra.Command) (*client.Client, error) {
	if door := doorOf(cmd.Context()); door != nil {
		return client.New(*door)
	}
	stored, err := readSettings()
	if err != nil {
		return nil, err
	}
	cfg := client.Config{URL: stored.URL, CAPEM: []byte(stored.CA), Token: stored.Token}
	if url := os.Getenv("RESTARTILKA_URL"); url != "" && strings.TrimRight(url, "/") != stored.URL {
		cfg = client.Config{URL: url}
	}
	if ca := os.Getenv("RESTARTILKA_CA"); ca != "" {
		cfg.CAFile = ca
	}
	if cfg.Token, err = tokenFromEnvironment(cfg.Token); err != nil {
		return nil, err
	}
	if cfg.Token == "" && cfg.URL != "" {
		return nil, restart.Errorf(restart.CodeUnauthorised, "there is no token for %s", restart.Quote(cfg.URL)).
			WithHint("sign in: restartilka login %s; or set RESTARTILKA_TOKEN", restart.Escape(cfg.URL))
	}
	return client.New(cfg)
}

// tokenFromEnvironment gives RESTARTILKA_TOKEN, the content of the file that
// RESTARTILKA_TOKEN_FILE names, or otherwise.
func tokenFromEnvironment(otherwise string) (string, error) {
	if t := os.Getenv("RESTARTILKA_TOKEN"); t != "" {
		return t, nil
	}
	path := os.Getenv("RESTARTILKA_TOKEN_FILE")
	if path == "" {
		return otherwise, nil
	}
	b, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", restart.Errorf(restart.CodeInvalid, "the token's file can't be read: %w", err).WithHint("see RESTARTILKA_TOKEN_FILE")
	}
	return strings.TrimSpace(string(b)), err
}
