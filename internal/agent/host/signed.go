package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

// Review is by what a host trusts scenarios that are signed. It travels to the
// supervisors, which judge by it again.
type Review struct {
	Signers string `json:"signers"` // file: who may sign (allowed_signers)
	Revoked string `json:"revoked"` // file: what counts no more; absent = nothing is revoked
	Quorum  int    `json:"quorum"`
	Laid    string `json:"laid"`    // folder: versions that servers have laid; absent = none
	Serials string `json:"serials"` // folder: the highest serial of each name that was accepted; absent = none

	ending bool // see Host
}

// Laid is a version with its signatures, as a server has laid it: the content
// of DIGEST.json in Review.Laid.
type Laid struct {
	Body       []byte                       `json:"body"`
	Signatures []protocol.ScenarioSignature `json:"signatures"`
	At         time.Time                    `json:"at"`
}

// LaidSuffix is behind the digest in the name of such a file.
const LaidSuffix = ".json"

// maxLaidFile bounds it, in bytes.
const maxLaidFile = 2 * protocol.MaxBody

// candidate is a version whose signatures are still to be judged.
type candidate struct {
	body  []byte
	sigs  []signing.Signature
	from  string   // file, for messages
	notes []string // what was wrong with some of its signatures
}

// policy reads who may sign and what is revoked, now. CodeNotReviewed where the
// lists can't be read: then nothing is trusted.
func (r Review) policy(now time.Time) (signing.Policy, error) {
	p := signing.Policy{Quorum: r.Quorum, Now: now}
	wrong := func(path string, err error) error {
		return restart.Errorf(restart.CodeNotReviewed, "this host trusts no scenario: %s can't be used: %s", path, restart.Escape(err.Error())).
			WithHint("correct the file on the host; it must belong to root, and nobody else may write to it").Because(err)
	}
	b, err := readFile(r.Signers, signing.MaxList)
	if err == nil {
		p.Allowed, err = signing.ParseAllowed(b)
	}
	if err != nil {
		return p, wrong(r.Signers, err)
	}
	b, err = readFile(r.Revoked, signing.MaxList)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		p.Revoked, err = signing.ParseRevoked(b)
	}
	if err != nil {
		return p, wrong(r.Revoked, err)
	}
	return p, nil
}

// readFile reads one trusted file by its whole path.
func readFile(path string, most int64) ([]byte, error) {
	i := strings.LastIndexByte(path, '/')
	d, err := openFolder(path[:max(i, 1)])
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.read(path[i+1:], most)
}

// Judge decides whether a version is trusted here: revoked, signed by enough
// people, expired, older than one that was accepted. CodeNotReviewed with the
// reason; CodeInvalid where it is no scenario.
func (r Review) Judge(body []byte, sigs []signing.Signature, now time.Time) (restart.Scenario, error) {
	p, err := r.policy(now)
	if err != nil {
		return restart.Scenario{}, err
	}
	return r.judge(candidate{body: body, sigs: sigs}, p)
}

func (r Review) judge(c candidate, p signing.Policy) (restart.Scenario, error) {
	digest := scenario.Digest(c.body)
	s, err := scenario.Parse(c.body)
	if err != nil {
		return s, err
	}
	if p.Revoked.Scenario(digest) {
		return s, restart.Errorf(restart.CodeNotReviewed, "scenario %s with digest %s was revoked on this host", s.Name, short(digest)).
			WithHint("%s says so; have another version reviewed", r.Revoked)
	}
	if err := signing.Verify(c.body, s.Author, c.sigs, p).Err(); err != nil {
		e, _ := errors.AsType[*restart.Error](err)
		said := restart.Errorf(restart.CodeNotReviewed, "this host does not trust scenario %s with digest %s: %s", s.Name, short(digest), e.Message)
		hint := e.Hint
		if len(c.notes) > 0 {
			hint += "; not looked at: " + restart.Escape(strings.Join(c.notes, "; "))
		}
		return s, said.WithHint("%s", hint)
	}
	if r.ending {
		return s, nil
	}
	if err := checkExpiry(s, p.Now); err != nil {
		return s, err
	}
	highest, err := r.serial(s.Name)
	if err != nil {
		return s, restart.Errorf(restart.CodeNotReviewed, "which serial of scenario %s was accepted here last can't be told: %s", s.Name, restart.Escape(err.Error())).
			WithHint("look into %s on the host", r.Serials).Because(err)
	}
	if s.Serial < highest {
		return s, Older(s, highest)
	}
	return s, nil
}

// Older says that a version is older than one that was accepted here.
func Older(s restart.Scenario, highest int) error {
	return restart.Errorf(restart.CodeNotReviewed, "scenario %s has serial %d, and serial %d was accepted here: a host never goes back by itself", s.Name, s.Serial, highest).
		WithHint("give what is wanted a higher serial and have it reviewed, or let root decide on the host: restartilka-agent review forget %s", s.Name)
}

func checkExpiry(s restart.Scenario, now time.Time) error {
	if !s.Expired(now) {
		return nil
	}
	return restart.Errorf(restart.CodeNotReviewed, "scenario %s with digest %s may be used no more since the end of %s (UTC)", s.Name, short(s.Digest), s.LastDay()).
		WithHint("have a version with a later day and a higher serial reviewed")
}

// serial gives the highest serial of a name that was accepted here; 0 = none.
func (r Review) serial(name string) (int, error) {
	d, err := openFolder(r.Serials)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer d.Close()
	b, err := d.read(name, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return ParseSerial(b)
}

// ParseSerial reads what a file of Review.Serials holds.
func ParseSerial(b []byte) (int, error) {
	n, err := strconv.Atoi(string(b))
	if err != nil || n < 1 || strconv.Itoa(n) != string(b) {
		return 0, errors.New("it holds no serial")
	}
	return n, nil
}

// candidates gives every version that lies here: those of scenarios.d, and those
// that servers have laid. only != "" = the ones with that digest.
func (r Review) candidates(dir, only string) (out []candidate, problems []error) {
	d, err := openFolder(dir)
	if err != nil {
		problems = append(problems, err)
	} else {
		defer d.Close()
		names, err := d.names()
		if err != nil {
			problems = append(problems, err)
		}
		for _, name := range names {
			if !strings.HasSuffix(name, yamlSuffix) {
				continue
			}
			b, err := d.read(name, scenario.MaxSize)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			if only == "" || scenario.Digest(b) == only {
				c := candidate{body: b, from: dir + "/" + name}
				c.sigs, c.notes = d.signatures(name + signing.FolderSuffix)
				out = append(out, c)
			}
		}
	}
	laid, err := r.laid(only)
	if err != nil {
		problems = append(problems, err)
	}
	return append(out, laid...), problems
}

// signatures reads the trusted files of NAME.yaml.sigs.
func (d *folder) signatures(name string) (sigs []signing.Signature, notes []string) {
	s, err := d.sub(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []string{err.Error()}
	}
	defer s.Close()
	files, err := s.names()
	if err != nil {
		notes = append(notes, err.Error())
	}
	for _, file := range files {
		who, ok := signing.PrincipalOf(file)
		if !ok || len(sigs) == signing.MaxSignatures {
			notes = append(notes, restart.Quote(file))
			continue
		}
		b, err := s.read(file, signing.MaxSignature)
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		sigs = append(sigs, signing.Signature{Principal: who, Armored: b})
	}
	return sigs, notes[:min(len(notes), 5)]
}

// laid reads what servers have laid; only != "" = that digest alone.
func (r Review) laid(only string) ([]candidate, error) {
	d, err := openFolder(r.Laid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names := []string{only + LaidSuffix}
	if only == "" {
		if names, err = d.names(); err != nil {
			return nil, err
		}
	}
	var out []candidate
	var all error
	for _, name := range names {
		digest, ok := strings.CutSuffix(name, LaidSuffix)
		if !ok || restart.CheckDigest(digest) != nil {
			continue
		}
		l, err := d.laid(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			all = errors.Join(all, err)
		case scenario.Digest(l.Body) != digest:
			all = errors.Join(all, fmt.Errorf("%s/%s holds another version", r.Laid, name))
		default:
			out = append(out, candidate{body: l.Body, sigs: Signatures(l.Signatures), from: r.Laid + "/" + name})
		}
	}
	return out, all
}

func (d *folder) laid(name string) (Laid, error) {
	var l Laid
	b, err := d.read(name, maxLaidFile)
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("read %s/%s: %w", d.path, name, err)
	}
	return l, nil
}

// Signatures gives signatures as they come over the wire in the form in which
// they are judged.
func Signatures(wire []protocol.ScenarioSignature) []signing.Signature {
	out := make([]signing.Signature, 0, len(wire))
	for _, s := range wire {
		out = append(out, signing.Signature(s))
	}
	return out
}

// LaidAt tells when each version was laid, by digest.
func (r Review) LaidAt() (map[string]time.Time, error) {
	out := map[string]time.Time{}
	d, err := openFolder(r.Laid)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	defer d.Close()
	names, err := d.names()
	for _, name := range names {
		digest, ok := strings.CutSuffix(name, LaidSuffix)
		if !ok || restart.CheckDigest(digest) != nil {
			continue
		}
		if l, err := d.laid(name); err == nil {
			out[digest] = l.At
		} else {
			out[digest] = time.Time{} // it is of no use, and goes first
		}
	}
	return out, err
}

// find gives the version with that digest, if it is trusted now.
func (r Review) find(dir, digest string, now time.Time) (restart.Scenario, error) {
	p, err := r.policy(now)
	if err != nil {
		return restart.Scenario{}, err
	}
	found, problems := r.candidates(dir, digest)
	var first error
	for _, c := range found {
		s, err := r.judge(c, p)
		if err == nil {
			return s, nil
		}
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return restart.Scenario{}, first
	}
	if p.Revoked.Scenario(digest) {
		return restart.Scenario{}, restart.Errorf(restart.CodeNotReviewed, "the scenario with digest %s was revoked on this host", short(digest)).WithHint("%s says so", r.Revoked)
	}
	e := restart.Errorf(restart.CodeNotReviewed, "this host has no scenario with digest %s that is signed", short(digest)).
		WithHint("its server lays reviewed versions (review: signed in server.yaml); or lay the file and its signatures into %s", dir)
	if len(problems) > 0 {
		e = e.WithHint("not looked at: %s", restart.Escape(errors.Join(problems...).Error()))
	}
	return restart.Scenario{}, e
}

// list gives every version that is trusted now, and why the others are not.
// Versions that a server has laid and a newer one has replaced are not spoken of.
func (r Review) list(dir string, now time.Time) (out []restart.Scenario, problems []error) {
	p, err := r.policy(now)
	if err != nil {
		return nil, []error{err}
	}
	found, problems := r.candidates(dir, "")
	seen := map[string]bool{}
	for _, c := range found {
		s, err := r.judge(c, p)
		switch {
		case err == nil && !seen[s.Digest]:
			seen[s.Digest] = true
			out = append(out, s)
		case err != nil && strings.HasPrefix(c.from, dir+"/"):
			problems = append(problems, fmt.Errorf("%s: %w", c.from, err))
		}
	}
	return out, problems
}

// Report says who may sign here.
func (r Review) Report(now time.Time) (*protocol.ReviewReport, error) {
	p, err := r.policy(now)
	if err != nil {
		return nil, err
	}
	out := &protocol.ReviewReport{Quorum: r.Quorum, Revoked: p.Revoked.Digests(), Signers: []protocol.SignerReport{}}
	for _, s := range p.Allowed.Signers() {
		if len(out.Signers) == protocol.MaxSigners {
			break
		}
		why := p.Unfit(s)
		out.Signers = append(out.Signers, protocol.SignerReport{Principals: s.Principals, Fingerprint: s.Fingerprint(), Not: why})
	}
	return out, nil
}
