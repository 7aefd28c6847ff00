package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/test/company"
)

// sealEach is how many records stand between two seals of the trail that is
// verified: some are sealed by time, so there are more seals than need be.
const sealEach = 500

// verifyTrail measures the offline verifier, the real program, over a trail of
// one server in one file, public key given.
func (s *session) verifyTrail(b *bed) error {
	program := company.Build(b).Server
	dir := b.TempDir()
	trail, public := filepath.Join(dir, "trail.jsonl"), filepath.Join(dir, "main.pub")
	begun := time.Now()
	size, err := writeTrail(trail, public, filepath.Join(dir, "audit.key"), s.verified)
	if err != nil {
		return err
	}
	s.detail("audit_verify_trail_made_in_s", round(time.Since(begun).Seconds(), 1))
	cmd := exec.CommandContext(b.ctx, program, "audit", "verify", "--json", "--key", public, trail)
	cmd.Stderr = b.log
	begun = time.Now()
	out, err := cmd.Output()
	took := time.Since(begun)
	if err != nil {
		return fmt.Errorf("verify: %w\n%.500s", err, out)
	}
	var report audit.Report
	if err := json.Unmarshal(out, &report); err != nil {
		return err
	}
	if !report.OK || report.Sources[0].Stored != int64(s.verified) || report.Sources[0].Unsealed != 0 {
		return fmt.Errorf("%d of %d records are there, %d without a seal", report.Sources[0].Stored, s.verified, report.Sources[0].Unsealed)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("the program's memory is not known")
	}
	s.results.VerifyTime = new(round(took.Seconds(), 2))
	s.results.VerifyRSS = new(round(float64(usage.Maxrss)/1024, 1))
	s.detail("audit_verify_records", s.verified)
	s.detail("audit_verify_mb", round(float64(size)/(1<<20), 0))
	s.detail("audit_verify_processor_s", round((cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds(), 1))
	return nil
}

// writeTrail makes a sealed trail of so many records, the last of them a seal,
// as a server would: but its events are a few shapes, told again and again.
func writeTrail(path, public, secret string, records int) (size int64, err error) {
	key, err := audit.MakeKey(secret, time.Now())
	if err != nil {
		return 0, err
	}
	pem, err := key.PublicPEM()
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(public, pem, 0o600); err != nil {
		return 0, err
	}
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // its errors come with Flush
	w := bufio.NewWriterSize(f, 1<<20)
	shapes := eventShapes()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	head, sealed := audit.Head{Source: "main", Epoch: 1}, int64(1)
	var line []byte
	for n := range records {
		now = now.Add(100 * time.Millisecond)
		if n%sealEach == sealEach-1 || n == records-1 {
			r := key.Seal(head, sealed, now)
			r.Link(head)
			head, sealed = r.Head(), r.Seq
			line = append(line[:0], r.Canonical()...)
		} else {
			line = appendEvent(line[:0], &head, now, shapes[n%len(shapes)])
		}
		size += int64(len(line)) + 1
		if _, err := w.Write(append(line, '\n')); err != nil {
			return 0, err
		}
	}
	return size, w.Flush()
}

// eventShapes are what stands behind the time in canonical records.
func eventShapes() (shapes [][]byte) {
	for n := range 64 {
		r := audit.Record{
			Time: time.Unix(0, 0), Actor: "anna", Origin: "cli 192.0.2.7", Action: audit.TaskOutcome, Run: "06dbx7kq3p0000000000000001", Task: fmt.Sprintf("06dbx7kq3p00000000000%05d", n),
			Attempt: 1, Service: "nginx", Environment: "production", Host: fmt.Sprintf("web%d.example.com", n), ScenarioDigest: fmt.Sprintf("%064x", n),
			Reason: "502 с 14:00, воркеры висят", Outcome: "succeeded", Params: map[string]string{"mode": "fast"},
		}
		r.Clean()
		text := r.Canonical()
		_, behind, _ := bytes.Cut(text, []byte(`","actor"`))
		shapes = append(shapes, append([]byte(`","actor"`), behind[:len(behind)-1]...))
	}
	return shapes
}

// appendEvent writes a record by hand: linking ten million of them takes longer
// than verifying.
func appendEvent(line []byte, head *audit.Head, at time.Time, shape []byte) []byte {
	head.Seq++
	line = append(line, `{"source":"`...)
	line = append(line, head.Source...)
	line = append(line, `","epoch":1,"seq":`...)
	line = strconv.AppendInt(line, head.Seq, 10)
	if head.Hash != "" {
		line = append(line, `,"prev_hash":"`...)
		line = append(line, head.Hash...)
		line = append(line, '"')
	}
	line = append(line, `,"time_utc":"`...)
	line = at.AppendFormat(line, "2006-01-02T15:04:05.000000Z")
	line = append(line, shape...)
	sum := sha256.Sum256(append(line, '}'))
	head.Hash = hex.EncodeToString(sum[:])
	line = append(line, `,"hash":"`...)
	line = append(line, head.Hash...)
	return append(line, '"', '}')
}
