package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/internal/store"
)

// Review says how scenarios come into force.
type Review struct {
	// Signed: by the signatures of reviewers, as versions in the database.
	// Otherwise what lies in the folder is in force.
	Signed  bool
	Signers string // path of the allowed_signers file
	Revoked string // path of the file of revocations; "" = there is none
	Quorum  int    // how many people must sign, beside the author; 0 = DefaultQuorum
}

// DefaultQuorum is how many reviewers a version needs unless it is said otherwise.
const DefaultQuorum = 2

// judgedFor is how long a judgement holds while no file and no row has changed:
// keys of allowed_signers begin and end by the clock.
const judgedFor = 30 * time.Second

// Policy reads by what signatures are judged, strictly, and gives the bytes of
// the file of revocations too.
func (r Review) Policy(now time.Time) (p signing.Policy, revoked []byte, err error) {
	p = signing.Policy{Quorum: r.Quorum, Now: now}
	if p.Quorum == 0 {
		p.Quorum = DefaultQuorum
	}
	text, err := readList("scenario_signers", r.Signers)
	if err != nil {
		return p, nil, err
	}
	if p.Allowed, err = signing.ParseAllowed(text); err != nil {
		return p, nil, fmt.Errorf("%s: %w", r.Signers, err)
	}
	if r.Revoked == "" {
		return p, nil, nil
	}
	if revoked, err = readList("scenario_revoked", r.Revoked); err != nil {
		return p, nil, err
	}
	if p.Revoked, err = signing.ParseRevoked(revoked); err != nil {
		return p, nil, fmt.Errorf("%s: %w", r.Revoked, err)
	}
	return p, revoked, nil
}

// readList reads the file that a key of the configuration names.
func readList(key, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, restart.Errorf(restart.CodeInvalid, "%s: there is no file %s", key, path).WithHint("where nothing stands in it, it is there and empty: touch %s", path).Because(err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", key, err)
	case info.Size() > signing.MaxList:
		return nil, fmt.Errorf("%s: %s has more than %d bytes", key, path, signing.MaxList)
	}
	return os.ReadFile(path)
}

// library keeps what Control knows of versions: those of the database, judged,
// where they must be signed; those of the folder otherwise.
type library struct {
	mu       sync.Mutex
	mark     string // of all that was judged
	until    time.Time
	files    string // mark of the folder that was taken over last
	problems []scenario.Problem
	seen     *state
}

// state is one judgement. It does not change.
type state struct {
	folder  *scenario.Folder // in force, or expired
	judged  []review.Judged
	policy  signing.Policy
	revoked []byte
}

// find gives a version by its digest.
func (s *state) find(digest string) (review.Judged, bool) {
	i := slices.IndexFunc(s.judged, func(j review.Judged) bool { return j.Digest == digest })
	if i < 0 {
		return review.Judged{}, false
	}
	return s.judged[i], true
}

// inForce gives the version of a name that is in force.
func (s *state) inForce(name string) (review.Judged, bool) {
	i := slices.IndexFunc(s.judged, func(j review.Judged) bool { return j.Name == name && j.Standing == review.InForce })
	if i < 0 {
		return review.Judged{}, false
	}
	return s.judged[i], true
}

// folder gives the scenarios that are in force now.
func (c *Control) folder(ctx context.Context) (*scenario.Folder, error) {
	if !c.cfg.Review.Signed {
		return c.cfg.Scenarios.Folder()
	}
	s, err := c.versions(ctx)
	if err != nil {
		return nil, err
	}
	return s.folder, nil
}

// versions gives the judgement of all versions, made anew where a file, a row
// or the time asks for it. Where the lists of signers or revocations can't be
// read nothing is in force: CodeUnavailable says which.
func (c *Control) versions(ctx context.Context) (*state, error) {
	l := &c.library
	l.mu.Lock()
	defer l.mu.Unlock()
	rows, err := c.cfg.Store.VersionsMark(ctx)
	if err != nil {
		return nil, err
	}
	files, err := proposalMark(c.cfg.Scenarios.dir)
	if err != nil {
		return nil, err
	}
	mark := rows + "\n" + files + "\n" + fileMark(c.cfg.Review.Signers) + "\n" + fileMark(c.cfg.Review.Revoked)
	if l.seen != nil && mark == l.mark && c.now().Before(l.until) {
		return l.seen, nil
	}
	var s *state
	if c.cfg.Review.Signed {
		s, err = c.judge(ctx, files)
	} else {
		s, err = c.follow(ctx, files)
	}
	if err != nil {
		return nil, err
	}
	if rows, err = c.cfg.Store.VersionsMark(ctx); err != nil { // as it is after what was taken over
		return nil, err
	}
	l.mark = rows + "\n" + files + "\n" + fileMark(c.cfg.Review.Signers) + "\n" + fileMark(c.cfg.Review.Revoked)
	l.until, l.seen = c.now().Add(judgedFor), s
	return s, nil
}

// judge takes over what is new in the folder, and judges all that there is.
func (c *Control) judge(ctx context.Context, files string) (*state, error) {
	p, revoked, err := c.policy()
	if err != nil {
		return nil, err
	}
	if c.library.files != files || len(c.library.problems) > 0 { // what was refused may be acceptable by now
		if c.library.problems, err = c.takeOver(ctx, p); err != nil {
			return nil, err
		}
		c.library.files = files
	}
	all, err := c.cfg.Store.Versions(ctx, store.VersionFilter{Bodies: true})
	if err != nil {
		return nil, err
	}
	moved := false
	for _, v := range all {
		if v.State == restart.VersionProposed && signing.Verify(v.Body, v.Author, review.Signatures(v), p).Enough() && !p.Revoked.Scenario(v.Digest) {
			approved, err := c.approve(ctx, c.record(server, audit.ScenarioApproved), v)
			if err != nil && restart.CodeOf(err) != restart.CodeConflict {
				return nil, err
			}
			moved = moved || approved
		}
	}
	if moved {
		if all, err = c.cfg.Store.Versions(ctx, store.VersionFilter{Bodies: true}); err != nil {
			return nil, err
		}
	}
	s := &state{judged: review.Judge(all, p), policy: p, revoked: revoked}
	var inForce []scenario.File
	for _, j := range s.judged {
		if j.Standing == review.InForce || j.Standing == review.Expired { // of which the plan says so
			inForce = append(inForce, scenario.File{Path: j.Name + ".yaml", Scenario: j.Scenario, Bytes: j.Body})
		}
	}
	s.folder = scenario.FolderOf(inForce)
	return s, nil
}

// policy is Review.Policy now, whose errors say that nothing is in force.
func (c *Control) policy() (signing.Policy, []byte, error) {
	p, revoked, err := c.cfg.Review.Policy(c.now())
	if err != nil {
		return p, nil, restart.Errorf(restart.CodeUnavailable, "no scenario is in force: %s", restart.Escape(err.Error())).
			WithHint("whoever runs the server corrects the file; restartilka config check says whether it is right").Because(err)
	}
	return p, revoked, nil
}

// server is who has done what nobody asked for by name.
var server = restart.Actor{Name: "server", Via: "local"}

// approve notes that a version has its quorum.
func (c *Control) approve(ctx context.Context, rec audit.Record, v restart.ScenarioVersion) (bool, error) {
	rec.ScenarioDigest, rec.Detail = v.Digest, fmt.Sprintf("%s serial %d", v.Name, v.Serial)
	moved, err := c.cfg.Store.ApproveVersion(ctx, v.Digest, rec.Time, rec)
	if moved {
		c.cfg.Committed()
	}
	return moved, err
}

// takeOver reads the folder's files as proposals, and their signatures. What is
// refused is told and left out.
func (c *Control) takeOver(ctx context.Context, p signing.Policy) (problems []scenario.Problem, err error) {
	folder, problems := scenario.ReadFolder(c.cfg.Scenarios.dir, nil)
	for _, f := range folder.Files() { // lower serials first
		found, wrong := signing.ReadFolder(f.Path + signing.FolderSuffix)
		for _, err := range wrong {
			problems = append(problems, scenario.Problem{Path: f.Path + signing.FolderSuffix, Err: err})
		}
		v := versionOf(f.Scenario, f.Bytes, restart.SourceFolder, server, c.now())
		v.ProposedBy = ""
		refused, err := c.lay(ctx, v, found, p)
		if err != nil {
			return nil, err
		}
		for _, err := range refused {
			problems = append(problems, scenario.Problem{Path: f.Path, Err: err})
		}
	}
	for _, p := range problems {
		c.cfg.Logger.WarnContext(ctx, "a proposal in the folder of scenarios is left out", "error", p)
	}
	return problems, nil
}

// lay keeps a file of the folder as a proposal, with those of its signatures
// that count and are new.
func (c *Control) lay(ctx context.Context, v restart.ScenarioVersion, found []signing.Signature, p signing.Policy) (refused []error, err error) {
	known, err := c.cfg.Store.Versions(ctx, store.VersionFilter{Name: v.Name, Bodies: true})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(known, func(k restart.ScenarioVersion) bool { return k.Digest == v.Digest })
	if i < 0 {
		if err := mayFollow(v, known, p); err != nil {
			return []error{err}, nil
		}
		rec := c.record(server, audit.ScenarioProposed)
		rec.ScenarioDigest, rec.Detail = v.Digest, fmt.Sprintf("%s serial %d by %s, from the folder", v.Name, v.Serial, v.Author)
		if _, err := c.cfg.Store.AddVersion(ctx, v, rec); err != nil {
			return nil, err
		}
		c.cfg.Committed()
	} else if v = known[i]; v.State == restart.VersionWithdrawn {
		return nil, nil
	}
	for _, sig := range found {
		seal, replaces, err := fits(v, sig, p)
		if errors.Is(err, errSignedBefore) {
			continue
		}
		if err != nil {
			refused = append(refused, err)
			continue
		}
		one := restart.ScenarioSignature{Principal: sig.Principal, Fingerprint: seal.Fingerprint, Armored: sig.Armored, AddedAt: c.now()}
		rec := c.record(server, audit.ScenarioSigned)
		rec.ScenarioDigest, rec.Detail = v.Digest, fmt.Sprintf("%s serial %d: %s with %s, from the folder", v.Name, v.Serial, seal.Principal, seal.Fingerprint)
		switch err := c.cfg.Store.AddSignature(ctx, v.Digest, one, replaces, rec); restart.CodeOf(err) {
		case "":
			v.Signatures = append(v.Signatures, one)
			c.cfg.Committed()
		case restart.CodeConflict: // another server was quicker
		default:
			return nil, err
		}
	}
	return refused, nil
}

// follow notes the versions in the folder as they are first seen, for their
// history, where the folder itself is what is in force.
func (c *Control) follow(ctx context.Context, files string) (*state, error) {
	folder, err := c.cfg.Scenarios.Folder()
	if err != nil {
		return nil, err
	}
	if c.library.files != files {
		for _, f := range folder.Files() {
			v := versionOf(f.Scenario, f.Bytes, restart.SourceFolder, server, c.now())
			v.ProposedBy = ""
			if _, err := c.cfg.Store.AddVersion(ctx, v); err != nil {
				return nil, err
			}
		}
		c.library.files = files
	}
	all, err := c.cfg.Store.Versions(ctx, store.VersionFilter{Bodies: true})
	if err != nil {
		return nil, err
	}
	s := &state{folder: folder}
	for _, v := range all {
		j := review.Judged{ScenarioVersion: v, Standing: review.Superseded}
		if j.Scenario, err = scenario.Parse(v.Body); err != nil {
			j.Why = err.Error()
		}
		if f, ok := folder.ByName(v.Name); ok && f.Scenario.Digest == v.Digest {
			j.Standing = review.InForce
			if j.Scenario.Expired(c.now()) {
				j.Standing, j.Why = review.Expired, "it may be used no more since the end of "+j.Scenario.LastDay()
			}
		}
		s.judged = append(s.judged, j)
	}
	return s, nil
}

func versionOf(s restart.Scenario, body []byte, source restart.VersionSource, by restart.Actor, at time.Time) restart.ScenarioVersion {
	return restart.ScenarioVersion{
		Digest: s.Digest, Name: s.Name, Serial: s.Serial, Author: s.Author, Source: source, ProposedBy: by.Name, ProposedAt: at,
		State: restart.VersionProposed, Body: body,
	}
}

// proposalMark changes when a scenario of the folder, or a signature beside it,
// is added, removed or written.
func proposalMark(dir string) (string, error) {
	mark, err := folderStamp(dir)
	if err != nil {
		return "", err
	}
	folders, err := filepath.Glob(filepath.Join(dir, "*.yaml"+signing.FolderSuffix))
	if err != nil {
		return "", fmt.Errorf("look for signatures: %w", err)
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // told when it is read
		}
		for _, e := range entries {
			mark += filepath.Base(folder) + "/" + e.Name() + " " + fileMark(filepath.Join(folder, e.Name())) + "\n"
		}
	}
	return mark, nil
}

// fileMark changes when a file is written or exchanged.
func fileMark(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "-"
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}
