package host

import (
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// ReadScenario finds the scenario with that digest among the files of
// scenarios.d. Its bytes are read once: what is hashed is what is parsed.
// CodeNotReviewed where no trusted file has the digest.
func ReadScenario(dir, digest string) (restart.Scenario, error) {
	if err := restart.CheckDigest(digest); err != nil {
		return restart.Scenario{}, err
	}
	var why []string
	d, err := openFolder(dir)
	if err != nil {
		why = append(why, err.Error())
	} else {
		defer d.Close()
		names, err := d.names()
		if err != nil {
			why = append(why, err.Error())
		}
		for _, name := range names {
			if !strings.HasSuffix(name, yamlSuffix) {
				continue
			}
			b, err := d.read(name, scenario.MaxSize)
			if err != nil {
				why = append(why, err.Error())
				continue
			}
			if scenario.Digest(b) == digest {
				return scenario.Parse(b)
			}
		}
	}
	e := restart.Errorf(restart.CodeNotReviewed, "this host does not trust the scenario with digest %s", short(digest)).
		WithHint("lay the reviewed file into %s on the host, owned by root; a single changed byte is another digest", dir)
	if len(why) > 0 {
		e = e.WithHint("lay the reviewed file into %s on the host, owned by root; not looked at: %s", dir, strings.Join(why, "; "))
	}
	return restart.Scenario{}, e
}

// ListScenarios gives every scenario that the host trusts, and what is wrong
// with the other files.
func ListScenarios(dir string) ([]restart.Scenario, []error) {
	d, err := openFolder(dir)
	if err != nil {
		return nil, []error{err}
	}
	defer d.Close()
	names, err := d.names()
	var problems []error
	if err != nil {
		problems = append(problems, err)
	}
	var out []restart.Scenario
	for _, name := range names {
		if !strings.HasSuffix(name, yamlSuffix) {
			continue
		}
		b, err := d.read(name, scenario.MaxSize)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s, err := scenario.Parse(b)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s/%s: %w", dir, name, err))
			continue
		}
		out = append(out, s)
	}
	return out, problems
}
