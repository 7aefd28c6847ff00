package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/restartilka/restartilka/internal/restart"
)

// The folders of what a host keeps where it trusts scenarios by signature.
const (
	FolderSerials   = "serials"   // NAME: the highest serial of that scenario that was accepted
	FolderScenarios = "scenarios" // DIGEST.json: versions that servers have laid
)

// OlderError says that a scenario's serial is below the one that is kept.
type OlderError struct {
	Name    string
	Highest int
}

func (e *OlderError) Error() string {
	return fmt.Sprintf("serial %d of scenario %s was accepted before", e.Highest, e.Name)
}

// RaiseSerial keeps, durably, that a serial of a scenario was accepted; one that
// is kept already costs nothing. *OlderError where a higher one is kept. Calls
// for one name are the caller's to keep apart.
func (s *Spool) RaiseSerial(name string, serial int) error {
	if err := restart.CheckScenarioName(name); err != nil {
		return err
	}
	d, err := s.folder(FolderSerials)
	if err != nil {
		return err
	}
	defer d.Close()
	kept, err := readSerial(d, name)
	switch {
	case err != nil:
		return err
	case serial < kept:
		return &OlderError{Name: name, Highest: kept}
	case serial == kept:
		return nil
	}
	return d.put(name, []byte(strconv.Itoa(serial)))
}

// Serial gives the highest serial of a scenario that is kept; 0 = none.
func (s *Spool) Serial(name string) (int, error) {
	if err := restart.CheckScenarioName(name); err != nil {
		return 0, err
	}
	d, err := s.folder(FolderSerials)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return readSerial(d, name)
}

// ForgetSerial drops what is kept of a name, durably.
func (s *Spool) ForgetSerial(name string) error {
	if err := restart.CheckScenarioName(name); err != nil {
		return err
	}
	d, err := s.folder(FolderSerials)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.remove(name); err != nil {
		return err
	}
	return d.Sync()
}

func readSerial(d dir, name string) (int, error) {
	b, err := d.read(name, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(b))
	if err != nil || n < 1 {
		return 0, d.fail("read", name, errContent)
	}
	return n, nil
}

// Lay keeps a version that a server has laid, durably, in place of what has the
// name; Unlay drops one.
func (s *Spool) Lay(file string, data []byte) error {
	d, err := s.folder(FolderScenarios)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.put(file, data)
}

// Unlay drops a version that a server has laid; one that is absent is fine.
func (s *Spool) Unlay(file string) error {
	d, err := s.folder(FolderScenarios)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.remove(file)
}

// folder opens a folder of the spool, and makes it where it is absent.
func (s *Spool) folder(name string) (dir, error) {
	d, err := s.root.sub(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	d, err = s.root.makeSub(name)
	if errors.Is(err, fs.ErrExist) {
		return s.root.sub(name)
	}
	if err != nil {
		return d, err
	}
	if err := s.root.Sync(); err != nil {
		d.Close()
		return dir{}, err
	}
	return d, nil
}
