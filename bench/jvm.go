package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump/capture"
)

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

// jvmDumps measures a thread dump of a JVM: as the agent takes it, and by the
// JDK's own tool.
func (s *session) jvmDumps(b *bed) error {
	absent := func(why string) error {
		s.absent("jvm_dump_ms", why)
		s.absent("jcmd_ms", why)
		return nil
	}
	for _, program := range []string{"java", "javac", "jcmd"} {
		if _, err := exec.LookPath(program); err != nil {
			return absent("there is no JDK: " + program + " is not installed")
		}
	}
	dir := b.TempDir()
	b.must(os.WriteFile(filepath.Join(dir, "ManyThreads.java"), []byte(manyThreads), 0o600))
	compile := exec.CommandContext(b.ctx, "javac", "-J-XX:TieredStopAtLevel=1", "-d", dir, filepath.Join(dir, "ManyThreads.java"))
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
	whole := func(dump []byte) error {
		if n := bytes.Count(dump, []byte(`"worker-`)); n != s.threads {
			return fmt.Errorf("the dump shows %d of %d threads", n, s.threads)
		}
		return nil
	}
	target := capture.Target{PID: jvm.Process.Pid}
	request := capture.Request{Method: capture.MethodAttach}
	s.results.JVMDump = s.times(b, s.tries, func(int) error {
		return capture.Take(b.ctx, request, target, func(c capture.Captured) error { return whole(c.Raw) })
	})
	s.detail("jvm_dump_with_its_process_ms", s.times(b, s.tries, func(int) error {
		return capture.Run(b.ctx, capture.Job{Target: target, Request: request}, func(c capture.Captured) error { return whole(c.Raw) })
	}))
	s.results.Baselines.Jcmd = s.times(b, min(10, s.tries), func(int) error {
		out, err := exec.CommandContext(b.ctx, "jcmd", strconv.Itoa(jvm.Process.Pid), "Thread.print", "-l").Output()
		if err != nil {
			return err
		}
		return whole(out)
	})
	return nil
}
