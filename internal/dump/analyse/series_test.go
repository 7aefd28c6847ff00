package analyse_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

// queue makes 40 threads of which one holds a lock, does what frames say, and
// all others wait for it.
func queue(state dump.State, frames []dump.Frame) []dump.Thread {
	threads := many(1, 40, "http-", dump.Blocked, inShop)
	for i := range threads {
		if threads[i].Name == "http-17" {
			threads[i].State, threads[i].Stack = state, frames
			threads[i] = holds(threads[i], monitor("0x1"))
			continue
		}
		threads[i] = waitsFor(threads[i], monitor("0x1"))
	}
	return threads
}

func deadlocked() []dump.Thread {
	return []dump.Thread{
		holds(waitsFor(thread(1, "transfer-1", dump.Blocked, inShop), monitor("0x1")), monitor("0x2")),
		holds(waitsFor(thread(2, "transfer-2", dump.Blocked, inShop), monitor("0x3")), monitor("0x1")),
		holds(waitsFor(thread(3, "transfer-3", dump.Blocked, inShop), monitor("0x2")), monitor("0x3")),
		waitsFor(thread(4, "transfer-4", dump.Blocked, inShop), monitor("0x3")),
	}
}

func golang(nth int, threads ...dump.Thread) *dump.Dump {
	d := jvm(nth, threads...)
	d.Runtime, d.Format = dump.Go, dump.Goroutines
	return d
}

// goroutines makes n of them that main.feed created and that wait on a channel.
func goroutines(n int) []dump.Thread {
	threads := many(1, n, "", dump.Waiting, stack("main.(*feed).next@/src/feed.go"))
	for i := range threads {
		threads[i].Name, threads[i].Detail, threads[i].Since = "", "chan receive, 30 minutes", 30*time.Minute
		threads[i].CreatedBy = &dump.Frame{Function: "main.(*hub).Subscribe", File: "/src/hub.go", Line: 7}
	}
	return threads
}

func python(nth int, threads ...dump.Thread) *dump.Dump {
	d := jvm(nth, threads...)
	d.Runtime, d.Format = dump.Python, dump.PySpy
	for i := range d.Threads {
		if d.Threads[i].Name == "MainThread" {
			d.Threads[i].Detail = "active+gil"
		}
	}
	return d
}

func kernel(detail string, state dump.State, frames []dump.Frame) *dump.Dump {
	d := jvm(0, many(1, 3, "java ", state, frames)...)
	d.Runtime, d.Format = dump.Process, dump.Kernel
	for i := range d.Threads {
		d.Threads[i].Detail = detail
	}
	return d
}

func withCPU(d *dump.Dump, used ...time.Duration) *dump.Dump {
	for i, u := range used {
		d.Threads[i].CPU = u
	}
	return d
}

// spins makes the nth dump of a series with a thread that has used so much.
func spins(nth int, frames []dump.Frame, used time.Duration) *dump.Dump {
	return withCPU(jvm(nth, thread(1, "pricing", dump.Running, frames)), time.Second+used)
}

// dated is spins as a JVM itself tells it: with its time by the clock, and the
// thread's age.
func dated(nth int, frames []dump.Frame, at, age, used time.Duration) *dump.Dump {
	return changed(spins(nth, frames, used), func(d *dump.Dump) { d.Taken, d.Threads[0].Elapsed = taken.Add(at), age })
}

func changed(d *dump.Dump, change func(*dump.Dump)) *dump.Dump {
	change(d)
	return d
}

func TestFindings(t *testing.T) {
	t.Parallel()
	inSpin := stack("com.acme.shop.Price.round", "com.acme.shop.Price.run", "java.lang.Thread.run")
	busyPool := func(state dump.State, frames []dump.Frame) []dump.Thread {
		return many(1, 12, "http-nio-8080-exec-", state, frames)
	}
	hikari := all(many(1, 18, "http-nio-8080-exec-", dump.TimedWaiting, inHikari), many(19, 2, "http-nio-8080-exec-", dump.Running, inQuery))
	gc := dump.Thread{ID: "gc0", Name: "GC Thread#0", Native: 7, State: dump.Running, Internal: true}
	for name, c := range map[string]struct {
		dumps []*dump.Dump
		want  string // of the verdict, whole
		also  []string
	}{
		"idle": {
			dumps: []*dump.Dump{jvm(0, busyPool(dump.Waiting, inIdle)...)},
			want:  "Nothing stands out in 12 threads. Looked at: deadlocks, queues for locks, pools of connections, pools of threads. Not looked at: threads that do not move, processor time by thread; that takes several dumps, or a method that tells more.",
		},
		"queue for a lock": {
			dumps: []*dump.Dump{jvm(0, queue(dump.Running, inQuery)...)},
			want:  "39 of 40 threads wait for `http-17`, which waits for the database in `Cart.load` and holds the lock `Stock`. Look at `http-17`.",
			also:  []string{"Pool `http` is exhausted: all its 40 threads are busy, 39 of them in `Cart.load`, where each waits for a lock."},
		},
		"holder sleeps": {
			dumps: []*dump.Dump{jvm(0, queue(dump.TimedWaiting, on(stack("java.lang.Thread.sleep"), inShop))...)},
			want:  "39 of 40 threads wait for `http-17`, which sleeps in `Cart.load` and holds the lock `Stock`. Look at `http-17`.",
		},
		"holder computes": {
			dumps: []*dump.Dump{jvm(0, queue(dump.Running, inSpin)...)},
			want:  "39 of 40 threads wait for `http-17`, which computes in `Price.round` and holds the lock `Stock`. Look at `http-17`.",
		},
		"deadlock of three": {
			dumps: []*dump.Dump{jvm(0, deadlocked()...)},
			want:  "Deadlock: `transfer-1`, `transfer-2` and `transfer-3` wait for each other in a circle, the first of them for the lock `Stock` in `Cart.load`. 1 more thread waits behind them. It will not end by itself: keep the dump, then restart; the order in which the locks are taken is the bug.",
		},
		"deadlock that only the runtime tells": {
			dumps: []*dump.Dump{changed(jvm(0, thread(1, "a", dump.Waiting, inShop), thread(2, "b", dump.Waiting, inShop)), func(d *dump.Dump) {
				d.Deadlocks = []dump.Deadlock{{Threads: []dump.DeadlockedThread{{Name: "a", Owner: "b"}, {Name: "b", Owner: "a"}}}}
			})},
			want: "Deadlock: `a` and `b` wait for each other in a circle. It will not end by itself: keep the dump, then restart; the order in which the locks are taken is the bug.",
		},
		"connections": {
			dumps: []*dump.Dump{jvm(0, hikari...)},
			want:  "18 of 20 threads wait for a connection from HikariCP in `HikariPool.getConnection`: the pool has none to give. 2 threads deal with the database meanwhile: look at what takes so long there.",
		},
		"connections leaked": {
			dumps: []*dump.Dump{jvm(0, all(many(1, 18, "http-nio-8080-exec-", dump.TimedWaiting, inHikari), many(40, 2, "http-nio-8080-exec-", dump.Waiting, inIdle))...)},
			want:  "18 of 20 threads wait for a connection from HikariCP in `HikariPool.getConnection`: the pool has none to give. No thread deals with the database meanwhile: connections were taken and not given back (a leak), or stand in threads that do something else.",
		},
		"lock whose holder is not told": {
			dumps: []*dump.Dump{jvm(0, func() []dump.Thread {
				threads := many(1, 8, "mail ", dump.Waiting, on(on(inPark, stack("java.util.concurrent.locks.ReentrantLock.lock")), inShop))
				for i := range threads {
					threads[i] = waitsFor(threads[i], dump.Lock{ID: "0x9", Class: "java.util.concurrent.locks.ReentrantLock$NonfairSync", Kind: dump.Synchronizer})
				}
				return threads
			}()...)},
			want: "8 threads wait for the lock `ReentrantLock` in `Cart.load`; who holds it the dump does not tell. Look for a thread that is inside, and for what it waits.",
			also: []string{"No thread gets on: 8 wait for a lock or a connection, 8 of them in `Cart.load`; all others wait, sleep or are idle."},
		},
		"all in one place": {
			dumps: []*dump.Dump{jvm(0, many(1, 30, "job", dump.Running, inQuery)...)},
			want:  "30 threads stand in the same place, `PGStream.receiveChar`, where each waits for the database.",
		},
		"pool busy, and free in another dump": {
			dumps: []*dump.Dump{jvm(0, many(1, 6, "pool-3-thread-", dump.Waiting, inIdle)...), jvm(1, many(1, 6, "pool-3-thread-", dump.Running, inSpin)...)},
			want:  "Nothing stands out in 6 threads of 2 dumps. Looked at: deadlocks, queues for locks, pools of connections, pools of threads, threads that do not move. Not looked at: processor time by thread; that takes several dumps, or a method that tells more.",
		},
		"stuck": {
			dumps: []*dump.Dump{jvm(0, many(1, 4, "sync", dump.Running, inQuery)...), jvm(1, many(1, 4, "sync", dump.Running, inQuery)...), jvm(2, many(1, 4, "sync", dump.Running, inQuery)...)},
			want:  "4 threads stood on the same frame in all 3 dumps, for 10 s: `PGStream.receiveChar`, where each waits for the database.",
		},
		"spins": {
			dumps: []*dump.Dump{withCPU(jvm(0, thread(1, "pricing", dump.Running, inSpin), thread(2, "other", dump.Waiting, inIdle)), time.Second, time.Second), withCPU(jvm(1, thread(1, "pricing", dump.Running, inSpin), thread(2, "other", dump.Waiting, inIdle)), 5900*time.Millisecond, time.Second)},
			want:  "`pricing` used 98 % of a core over 5 s, in every dump in `Price.round`: it may run in a loop.",
		},
		"spins, by dumps that are dated to whole seconds": {
			dumps: []*dump.Dump{dated(0, inSpin, 0, 10*time.Second, 3*time.Second), dated(1, inSpin, time.Second, 11900*time.Millisecond, 4850*time.Millisecond)},
			want:  "`pricing` used 97 % of a core over 1 s, in every dump in `Price.round`: it may run in a loop.",
		},
		"spins on a host that has too much to do": {
			dumps: []*dump.Dump{spins(0, inSpin, 0), spins(1, inSpin, 2*time.Second), spins(2, inSpin, 3*time.Second)},
			want:  "`pricing` used 30 % of a core over 10 s, in every dump in `Price.round`: it may run in a loop.",
		},
		"computes now and then": {
			dumps: []*dump.Dump{spins(0, inSpin, 0), spins(1, inShop, 2*time.Second), spins(2, inSpin, 3*time.Second)},
			want:  "Nothing stands out in 1 thread of 3 dumps.",
			also:  []string{""},
		},
		"collects garbage": {
			dumps: []*dump.Dump{withCPU(jvm(0, gc), time.Second), withCPU(jvm(1, gc), 5*time.Second)},
			want:  "The garbage collector used 80 % of a core: memory is short, or filled faster than it can be cleared. Look at the heap.",
		},
		"goroutines leaked": {
			dumps: []*dump.Dump{golang(0, goroutines(1500)...), golang(1, goroutines(1700)...)},
			want:  "1700 goroutines created by `main.(*hub).Subscribe` stand in `main.(*feed).next`, the longest for 30 min; 200 more than in the first dump. They look leaked: nobody comes who wakes them. Look at `main.(*hub).Subscribe`.",
		},
		"grouped goroutines count": {
			dumps: []*dump.Dump{golang(0, func() dump.Thread { g := goroutines(1)[0]; g.Count = 20_000; return g }())},
			want:  "20000 goroutines created by `main.(*hub).Subscribe` stand in `main.(*feed).next`, the longest for 30 min. They look leaked: nobody comes who wakes them. Look at `main.(*hub).Subscribe`.",
		},
		"mutex for long": {
			dumps: []*dump.Dump{golang(0, dump.Thread{ID: "9", State: dump.Waiting, Detail: "sync.Mutex.Lock, 12 minutes", Since: 12 * time.Minute, Stack: stack("sync.runtime_SemacquireMutex", "sync.(*Mutex).lockSlow", "sync.(*Mutex).Lock", "main.(*cart).add@/src/cart.go")})},
			want:  "1 goroutine has stood in `main.(*cart).add` for 12 min, where it waits for a lock.",
		},
		"panic": {
			dumps: []*dump.Dump{changed(golang(0, goroutines(1)...), func(d *dump.Dump) { d.Fatal = "all goroutines are asleep - deadlock!" })},
			want:  "The process died: all goroutines are asleep - deadlock. The stacks are its last ones.",
		},
		"asked by a signal": {
			dumps: []*dump.Dump{changed(golang(0, goroutines(1)...), func(d *dump.Dump) { d.Fatal = "SIGQUIT: quit" })},
			want:  "Nothing stands out in 1 thread.",
			also:  []string{"The dump was written on SIGQUIT: quit."},
		},
		"idle, as the kernel sees it": {
			dumps: []*dump.Dump{func() *dump.Dump {
				d := kernel("S (sleeping)", dump.Waiting, stack("futex_wait_queue", "do_futex"))
				for len(d.Threads) < 100 {
					d.Threads = append(d.Threads, waitsFor(d.Threads[0], dump.Lock{ID: "0x7f00", Kind: dump.Mutex}))
				}
				return d
			}()},
			want: "Nothing stands out in 100 threads. Looked at: the kernel's states. Not looked at: threads that do not move, processor time by thread; that takes several dumps, or a method that tells more.",
		},
		"machine code alone tells nothing of a pool": {
			dumps: []*dump.Dump{jvm(0, many(1, 12, "pool-1-thread-", dump.TimedWaiting, stack("__futex_abstimed_wait_common", "__new_sem_wait_slow64.constprop.0", "Parker::park"))...)},
			want:  "Nothing stands out in 12 threads.",
			also:  []string{""},
		},
		"interpreter lock": {
			dumps: []*dump.Dump{python(0, pythonThreads()...), python(1, pythonThreads()...)},
			want:  "`MainThread` has the interpreter lock (GIL) in all 2 dumps, for 5 s, in `price (shop.py)`; 1 thread waits for it.",
		},
		"disk": {
			dumps: []*dump.Dump{kernel("D (disk sleep)", dump.InIO, stack("rpc_wait_bit_killable", "nfs_wait_on_request"))},
			want:  "3 threads are in uninterruptible sleep (D) in `rpc_wait_bit_killable`: where they stay so, a disk or a network file system does not answer. Take several dumps, and look at the host's disks and mounts.",
		},
		"disk in all dumps": {
			dumps: []*dump.Dump{kernel("D (disk sleep)", dump.InIO, stack("rpc_wait_bit_killable")), changed(kernel("D (disk sleep)", dump.InIO, stack("rpc_wait_bit_killable")), func(d *dump.Dump) { d.Taken = taken.Add(5 * time.Second) })},
			want:  "3 threads are in uninterruptible sleep (D) in `rpc_wait_bit_killable` in all 2 dumps, for 5 s: a disk or a network file system does not answer. A restart may hang too; look at the host's disks and mounts.",
		},
		"stopped": {
			dumps: []*dump.Dump{kernel("T (stopped)", dump.Stopped, nil)},
			want:  "The process is stopped by a signal or a debugger: it does nothing until it is continued (kill -CONT).",
		},
		"deadlock, and a runtime that answers no more": {
			dumps: []*dump.Dump{jvm(0, deadlocked()...), jvm(1, deadlocked()...), kernel("S (sleeping)", dump.Waiting, nil)},
			want:  "Deadlock: `transfer-1`, `transfer-2` and `transfer-3` wait for each other",
			also:  []string{""},
		},
		"stopped after the first dump": {
			dumps: []*dump.Dump{jvm(0, busyPool(dump.Waiting, inIdle)...), kernel("T (stopped)", dump.Stopped, nil)},
			want:  "The process is stopped by a signal or a debugger: it does nothing until it is continued (kill -CONT).",
		},
		"zombie": {
			dumps: []*dump.Dump{kernel("Z (zombie)", dump.Ended, nil)},
			want:  "The process is a zombie: it has ended, and its parent has not asked how. Look at the parent.",
		},
		"cut": {
			dumps: []*dump.Dump{changed(jvm(0, busyPool(dump.Waiting, inIdle)...), func(d *dump.Dump) { d.Cut = "the text ends in the middle of a stack" })},
			want:  "The dump is not whole: the text ends in the middle of a stack. 12 threads were read; what is missing was not judged.",
			also:  []string{"Nothing stands out in 12 threads"},
		},
		"one of two cut": {
			dumps: []*dump.Dump{jvm(0, busyPool(dump.Waiting, inIdle)...), changed(jvm(1, many(1, 3, "x", dump.Running, inSpin)...), func(d *dump.Dump) { d.Cut = "too long" })},
			want:  "Nothing stands out in 12 threads. Looked at: deadlocks, queues for locks, pools of connections, pools of threads. Not looked at: threads that do not move, processor time by thread; that takes several dumps, or a method that tells more.",
			also:  []string{"1 of 2 dumps is not whole: too long."},
		},
		"not understood": {
			dumps: []*dump.Dump{changed(jvm(0, busyPool(dump.Waiting, inIdle)...), func(d *dump.Dump) { d.Rest = []dump.Fragment{{Line: 4, Text: "one\ntwo\n"}} })},
			want:  "Nothing stands out in 12 threads",
			also:  []string{"2 lines of the dump were not understood; they are kept"},
		},
		"no threads": {dumps: []*dump.Dump{jvm(0)}, want: "There are no threads in the dump."},
		"no dumps":   {want: "There is no dump."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := analyse.Series(c.dumps, analyse.Options{})
			if got := r.Verdict().String(); !strings.HasPrefix(got, c.want) || len(c.also) == 0 && got != c.want {
				t.Errorf("the verdict is\n%s\nwant\n%s", got, c.want)
			}
			var said []string
			for _, f := range r.Findings {
				said = append(said, f.String())
			}
			for _, want := range c.also {
				if !strings.Contains(strings.Join(said, "\n"), want) {
					t.Errorf("%q is not said:\n%s", want, strings.Join(said, "\n"))
				}
			}
		})
	}
}

func pythonThreads() []dump.Thread {
	return []dump.Thread{
		thread(1, "MainThread", dump.Running, stack("shop.py:price", "shop.py:run")),
		thread(2, "worker", dump.Running, stack("shop.py:work", "threading.py:run")),
		thread(3, "ThreadPoolExecutor-0_0", dump.Waiting, stack("concurrent/futures/thread.py:_worker", "threading.py:run")),
	}
}
