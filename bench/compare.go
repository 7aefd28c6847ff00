package main

import (
	"os/exec"
	"path/filepath"
	"time"

	"github.com/restartilka/restartilka/test/company"
)

// compare walks over the same number of hosts, one after another, with the same
// no-op: by us, by ssh in a loop, by ansible with serial: 1. They take turns, so
// that they meet the same machine.
func (s *session) compare(b *bed) error {
	c := company.New(b, company.Options{Hosts: s.hosts, Scenario: noop, Agent: anyRate})
	ready(b, c)
	d, err := startSSHD(b, s.hosts)
	if err != nil {
		s.absent("comparison", err.Error())
		return nil
	}
	walkOnce(b, c) // as a server that has been up for a while
	const turns = 3
	var ours, loop []time.Duration
	for range turns {
		run := walkOnce(b, c)
		ours = append(ours, run.FinishedAt.Sub(*run.StartedAt))
		begun := time.Now()
		for i := range d.addresses {
			b.must(d.ssh(b.ctx, i))
		}
		loop = append(loop, time.Since(begun))
	}
	s.results.Comparison = &Comparison{
		Hosts: s.hosts, Restartilka: new(round(percentile(ours, 50).Seconds(), 3)), SSHLoop: new(round(percentile(loop, 50).Seconds(), 3)),
	}
	if _, err := exec.LookPath("ansible-playbook"); err != nil || !s.peers {
		s.absent("ansible_serial_1_s", "ansible is not installed, or left out by --quick")
		return nil
	}
	a, err := d.ansible(b)
	b.must(err)
	begun := time.Now()
	b.must(a.run(b.ctx, nil, "ansible-playbook", filepath.Join(a.dir, "rolling.yml")))
	s.results.Comparison.Ansible = new(round(time.Since(begun).Seconds(), 3))
	return nil
}
