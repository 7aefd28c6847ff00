package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// baselines measures what the machine gives to everybody, and what other tools
// need for the same, in the same run.
func (s *session) baselines(b *bed) error {
	s.results.Baselines.ForkExec = s.times(b, s.tries, func(int) error { return exec.CommandContext(b.ctx, "true").Run() })
	if err := s.fsync(b); err != nil {
		return err
	}
	d, err := startSSHD(b, max(s.tries/8, 1))
	if err != nil {
		s.absent("ssh_ms", err.Error())
		s.absent("ansible_ms", err.Error())
	} else {
		s.results.Baselines.SSH = s.times(b, s.tries, func(i int) error { return d.ssh(b.ctx, i%len(d.addresses)) })
		return s.ansible(b, d)
	}
	return nil
}

// times gives the median of n calls in milliseconds.
func (s *session) times(b *bed, n int, call func(i int) error) *float64 {
	var sample []time.Duration
	for i := range n {
		begun := time.Now()
		b.must(call(i))
		sample = append(sample, time.Since(begun))
	}
	return median(sample)
}

// fsync appends 4 KiB to a file and makes it durable, each time.
func (s *session) fsync(b *bed) error {
	f, err := os.Create(filepath.Join(b.TempDir(), "appended"))
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 4096)
	s.results.Baselines.Fsync = s.times(b, 5*s.tries, func(int) error {
		if _, err := f.Write(block); err != nil {
			return err
		}
		return f.Sync()
	})
	return nil
}

// ansible measures one ad-hoc command on one host to which no connection is
// open yet, by ansible's own settings, and once more with pipelining.
func (s *session) ansible(b *bed, d *sshd) error {
	if !s.peers {
		s.absent("ansible_ms", "left out by --quick")
		return nil
	}
	if _, err := exec.LookPath("ansible"); err != nil {
		s.absent("ansible_ms", "ansible is not installed")
		return nil
	}
	a, err := d.ansible(b)
	if err != nil {
		return err
	}
	adHoc := func(i int, more ...string) error {
		return a.run(b.ctx, more, "ansible", d.name(i), "-m", "command", "-a", "true")
	}
	s.results.Baselines.Ansible = s.times(b, len(d.addresses), func(i int) error { return adHoc(i) })
	a.hangUp()
	s.detail("ansible_pipelining_ms", s.times(b, len(d.addresses), func(i int) error { return adHoc(i, "ANSIBLE_PIPELINING=True") }))
	return nil
}
