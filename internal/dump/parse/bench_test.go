package parse

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/restartilka/restartilka/internal/dump"
)

// manyThreads gives a dump of HotSpot of about so many bytes: pools of threads,
// as a service has them, some of which wait for locks.
func manyThreads(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Full thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode, sharing):\n\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "\"http-nio-8080-exec-%d\" #%d daemon prio=5 os_prio=0 cpu=%d.%02dms elapsed=3600.15s tid=0x%016x nid=0x%x waiting for monitor entry  [0x%016x]\n",
			i, i+30, i%997, i%100, 0x7f1000000000+i*0x800, i+1000, 0x7f2000000000+i*0x1000)
		b.WriteString("   java.lang.Thread.State: BLOCKED (on object monitor)\n")
		for f := range 12 + i%40 {
			fmt.Fprintf(&b, "\tat com.example.layer%d.Service%d$Handler.handle(Service%d.java:%d)\n", f%9, (i+f)%50, (i+f)%50, 100+f)
			if f == 0 {
				fmt.Fprintf(&b, "\t- waiting to lock <0x%016x> (a com.example.Orders)\n", 0x600000000+(i%100)*16)
			}
			if f == 9 {
				fmt.Fprintf(&b, "\t- locked <0x%016x> (a java.lang.Object)\n", 0x700000000+i*16)
			}
		}
		b.WriteString("\n   Locked ownable synchronizers:\n\t- None\n\n")
	}
	b.WriteString("JNI global refs: 15, weak refs: 0\n")
	return b.Bytes()
}

// BenchmarkHotSpot100MB: a hundred megabytes are read within two seconds; held-MB
// is what the dump takes of memory, beside its text.
func BenchmarkHotSpot100MB(b *testing.B) {
	text := manyThreads(100 << 20)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var dumps []*dump.Dump
	for b.Loop() {
		var err error
		if dumps, err = Bytes(text); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	var with, without runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	b.ReportMetric(float64(threads(dumps)), "threads") // the last use of dumps
	runtime.GC()
	runtime.ReadMemStats(&without)
	b.ReportMetric(float64(int64(with.HeapAlloc)-int64(without.HeapAlloc))/(1<<20), "held-MB")
}

// BenchmarkGoroutines reads ten megabytes of them.
func BenchmarkGoroutines(b *testing.B) {
	var text bytes.Buffer
	for i := 0; text.Len() < 10<<20; i++ {
		fmt.Fprintf(&text, "goroutine %d [chan receive, %d minutes]:\n", i+1, i%60)
		for f := range 10 {
			fmt.Fprintf(&text, "example.com/layer%d.(*Service).Handle(0x%x, 0x1)\n\t/src/layer%d/service.go:%d +0x1d\n", f, 0xc000000000+i, f, i%50)
		}
		text.WriteString("created by main.main in goroutine 1\n\t/src/main.go:12 +0x20\n\n")
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Bytes(text.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
