package agent_test

import "testing"

// BenchmarkNoop is the whole of a task that does nothing, as a server sees it:
// PUT, wait, DELETE, over mutual TLS, every fsync included.
func BenchmarkNoop(b *testing.B) {
	bed := newBed(b)
	bed.extra = "task_rate_per_hour: 100000\n"
	digest := bed.script("true")
	r := bed.start()
	for b.Loop() {
		e := bed.envelope(digest)
		r.submit(e)
		r.until(e.Task, done)
		_, err := r.forget(e, 1)
		bed.must(err)
	}
}
