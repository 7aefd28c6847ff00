package signing

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names of the files beside a scenario.
const (
	FolderSuffix = ".sigs" // behind the scenario's file name
	FileSuffix   = ".sig"  // behind the principal
)

// PrincipalOf gives who a file of signatures says it is of.
func PrincipalOf(file string) (string, bool) {
	name, ok := strings.CutSuffix(file, FileSuffix)
	return name, ok && CheckPrincipal(name) == nil
}

// ReadFolder reads the signatures of NAME.yaml.sigs, ordered by principal. A
// folder that is absent has none. What is no signature's file is told, and so
// are those beyond MaxSignatures.
func ReadFolder(dir string) ([]Signature, []error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{err}
	}
	var out []Signature
	var problems []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name, ok := PrincipalOf(e.Name())
		if !ok || !e.Type().IsRegular() {
			problems = append(problems, fmt.Errorf("%s is not a file PRINCIPAL%s", path, FileSuffix))
			continue
		}
		if len(out) == MaxSignatures {
			return out, append(problems, fmt.Errorf("%s has more than %d signatures", dir, MaxSignatures))
		}
		b, err := readBounded(path)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out = append(out, Signature{Principal: name, Armored: b})
	}
	return out, problems
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxSignature+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > MaxSignature {
		return nil, fmt.Errorf("%s has more than %d bytes", path, MaxSignature)
	}
	return b, nil
}
