package analyse_test

import (
	"fmt"
	"testing"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

// crowd makes n threads of 40 frames in some hundreds of stacks, a third of
// which wait for locks.
func crowd(n int) []dump.Thread {
	threads := make([]dump.Thread, n)
	for i := range threads {
		frames := append(stack(fmt.Sprintf("com.acme.shop.Step%d.run", i%300)), inQuery...)
		for f := len(frames); f < 40; f++ {
			frames = append(frames, dump.Frame{Function: fmt.Sprintf("org.springframework.web.Filter%d.doFilter", f), File: "Filter.java", Line: f, Module: "spring.web"})
		}
		threads[i] = thread(i, fmt.Sprintf("http-nio-8080-exec-%d", i), dump.Running, frames)
		if i%3 == 1 {
			threads[i] = waitsFor(threads[i], monitor(fmt.Sprintf("0x%d", i%30)))
			threads[i].State = dump.Blocked
		}
		if i < 30 {
			threads[i] = holds(threads[i], monitor(fmt.Sprintf("0x%d", i)))
		}
	}
	return threads
}

func BenchmarkSeries20000(b *testing.B) {
	d := []*dump.Dump{jvm(0, crowd(20_000)...)}
	for b.Loop() {
		analyse.Series(d, analyse.Options{})
	}
}

func BenchmarkGroupOf20Hosts(b *testing.B) {
	hosts := make([]analyse.Host, 20)
	for i := range hosts {
		hosts[i] = analyse.Host{Name: fmt.Sprint("shop", i), Dumps: []*dump.Dump{jvm(0, crowd(500)...), jvm(1, crowd(500)...), jvm(2, crowd(500)...)}}
	}
	for b.Loop() {
		analyse.Group(hosts, analyse.Options{})
	}
}
