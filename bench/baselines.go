package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
		if err := s.ansible(b, d); err != nil {
			return err
		}
	}
	return s.jcmd(b)
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

// manyThreads is a JVM with as many sleeping threads as it is told.
const manyThreads = `public class ManyThreads {
    public static void main(String[] args) throws Exception {
        for (int i = 0; i < Integer.parseInt(args[0]); i++) {
            Thread t = new Thread(() -> { try { Thread.sleep(Long.MAX_VALUE); } catch (InterruptedException e) { } }, "worker-" + i);
            t.setDaemon(true);
            t.start();
        }
        System.out.println("ready");
        System.in.read();
    }
}
`

// jcmd measures a thread dump by the JDK's own tool.
func (s *session) jcmd(b *bed) error {
	if !s.peers {
		s.absent("jcmd_ms", "left out by --quick")
		return nil
	}
	for _, program := range []string{"java", "javac", "jcmd"} {
		if _, err := exec.LookPath(program); err != nil {
			s.absent("jcmd_ms", "there is no JDK: "+program+" is not installed")
			return nil
		}
	}
	dir := b.TempDir()
	b.must(os.WriteFile(filepath.Join(dir, "ManyThreads.java"), []byte(manyThreads), 0o600))
	compile := exec.CommandContext(b.ctx, "javac", "-d", dir, filepath.Join(dir, "ManyThreads.java"))
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("compile a JVM's program: %w\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	jvm := exec.CommandContext(ctx, "java", "-Xmx64m", "-cp", dir, "ManyThreads", strconv.Itoa(s.threads))
	input, err := jvm.StdinPipe()
	b.must(err)
	output, err := jvm.StdoutPipe()
	b.must(err)
	b.must(jvm.Start())
	defer func() {
		input.Close()
		cancel()
		jvm.Wait() //nolint:errcheck // it was ended on purpose
	}()
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
		return fmt.Errorf("the JVM said %q: %w", line, err)
	}
	s.results.Baselines.Jcmd = s.times(b, 10, func(int) error {
		out, err := exec.CommandContext(b.ctx, "jcmd", strconv.Itoa(jvm.Process.Pid), "Thread.print").Output()
		if n := strings.Count(string(out), `"worker-`); err == nil && n != s.threads {
			err = fmt.Errorf("jcmd shows %d of %d threads", n, s.threads)
		}
		return err
	})
	return nil
}
