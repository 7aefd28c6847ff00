package host

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

const (
	yamlSuffix = ".yaml"
	maxService = 64 << 10
)

// Service is what the host says about one service: services.d/NAME.yaml. An
// empty file is fine; it lists the service, and nothing more is known.
type Service struct {
	Name        string `yaml:"-"`
	Description string `yaml:"description"`
	Package     string `yaml:"package"` // must be installed
	Tag         string `yaml:"tag"`     // the installed package must carry it
	Unit        string `yaml:"unit"`
	User        string `yaml:"user"` // scripts run as this user unless the scenario says otherwise
}

// ReadService reads services.d/NAME.yaml. CodeUnknownService where the host
// does not list the service, or where the file can't be trusted or read.
func ReadService(dir, name string) (Service, error) {
	if err := restart.CheckServiceName(name); err != nil {
		return Service{}, err
	}
	file := dir + "/" + name + yamlSuffix
	d, err := openFolder(dir)
	if err != nil {
		return Service{}, restart.Errorf(restart.CodeUnknownService, "this host's list of services can't be used: %v", err).
			WithHint("services: in agent.yaml names a folder of NAME.yaml files, owned by root").Because(err)
	}
	defer d.Close()
	b, err := d.read(name+yamlSuffix, maxService)
	if errors.Is(err, fs.ErrNotExist) {
		return Service{}, restart.Errorf(restart.CodeUnknownService, "this host does not list service %s", name).
			WithHint("if it belongs here, lay %s on the host, with package:, unit: and user: as they apply", file)
	}
	if err != nil {
		return Service{}, restart.Errorf(restart.CodeUnknownService, "what this host says about service %s can't be used: %v", name, err).Because(err)
	}
	s, err := parseService(b)
	if err != nil {
		return Service{}, restart.Errorf(restart.CodeUnknownService, "%s: %v", file, err).WithHint("correct the file on the host")
	}
	s.Name = name
	return s, nil
}

// parseService reads the file strictly: an unknown key is an error with its line.
func parseService(b []byte) (Service, error) {
	var s Service
	if err := strict.Load(b, &s, "the keys: package, tag, unit, user, description"); err != nil {
		return s, err
	}
	for _, c := range []struct {
		key, value string
		check      func(string) error
	}{{"package", s.Package, restart.CheckPackage}, {"tag", s.Tag, restart.CheckTag}, {"unit", s.Unit, restart.CheckUnit}, {"user", s.User, restart.CheckUser}} {
		if c.value != "" {
			if err := c.check(c.value); err != nil {
				return s, fmt.Errorf("%s: %w", c.key, err)
			}
		}
	}
	return s, nil
}

// ListServices gives the names of the services that the host lists.
func ListServices(dir string) ([]string, error) {
	d, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	files, err := d.names()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f, yamlSuffix); ok && restart.CheckServiceName(name) == nil {
			out = append(out, name)
		}
	}
	return out, nil
}
