package analyse_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// stack makes frames of their names, the innermost first. "file.py:wait" is
// Python's, "pkg.Func@/path/file.go" Go's with its file.
func stack(names ...string) []dump.Frame {
	frames := make([]dump.Frame, len(names))
	for i, n := range names {
		if file, function, ok := strings.Cut(n, ":"); ok && strings.HasSuffix(file, ".py") {
			frames[i] = dump.Frame{Function: function, File: file, Line: 10 + i}
			continue
		}
		function, file, _ := strings.Cut(n, "@")
		frames[i] = dump.Frame{Function: function, File: file, Line: 10 + i}
	}
	return frames
}

// on gives the frames of inner, then those of outer.
func on(inner, outer []dump.Frame) []dump.Frame {
	return append(append([]dump.Frame{}, inner...), outer...)
}

var (
	inPark   = stack("jdk.internal.misc.Unsafe.park", "java.util.concurrent.locks.LockSupport.park")
	inWorker = stack("java.util.concurrent.ThreadPoolExecutor.runWorker", "java.util.concurrent.ThreadPoolExecutor$Worker.run", "java.lang.Thread.run")
	inIdle   = on(on(inPark, stack("java.util.concurrent.LinkedBlockingQueue.take", "java.util.concurrent.ThreadPoolExecutor.getTask")), inWorker)
	inShop   = on(stack("com.acme.shop.Cart.load", "com.acme.shop.CartServlet.doGet", "javax.servlet.http.HttpServlet.service", "org.apache.catalina.core.StandardWrapperValve.invoke"), inWorker)
	inSocket = stack("sun.nio.ch.Net.poll", "sun.nio.ch.NioSocketImpl.park", "sun.nio.ch.NioSocketImpl.timedRead", "java.net.Socket$SocketInputStream.read")
	inQuery  = on(on(inSocket, stack("org.postgresql.core.PGStream.receiveChar", "org.postgresql.jdbc.PgStatement.executeQuery")), inShop)
	inHikari = on(on(inPark, stack("java.util.concurrent.SynchronousQueue.poll", "com.zaxxer.hikari.util.ConcurrentBag.borrow", "com.zaxxer.hikari.pool.HikariPool.getConnection", "com.zaxxer.hikari.pool.HikariPool.getConnection", "com.zaxxer.hikari.HikariDataSource.getConnection")), inShop)
)

var taken = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// jvm makes a dump of a JVM of threads, the nth of a series of 5 s.
func jvm(nth int, threads ...dump.Thread) *dump.Dump {
	return &dump.Dump{Runtime: dump.JVM, Format: dump.HotSpot, Taken: taken.Add(time.Duration(nth) * 5 * time.Second), Threads: threads}
}

// thread makes a thread; its number is its ID too.
func thread(id int, name string, state dump.State, frames []dump.Frame) dump.Thread {
	return dump.Thread{ID: fmt.Sprint(id), Name: name, Native: int64(1000 + id), State: state, Stack: frames, CPU: -1}
}

// many makes threads of a pool with the same stack, numbered from first on.
func many(first, n int, prefix string, state dump.State, frames []dump.Frame) []dump.Thread {
	threads := make([]dump.Thread, n)
	for i := range threads {
		threads[i] = thread(first+i, fmt.Sprintf("%s%d", prefix, first+i), state, frames)
	}
	return threads
}

func monitor(id string) dump.Lock {
	return dump.Lock{ID: id, Class: "com.acme.shop.Stock", Kind: dump.Monitor}
}

// waitsFor and holds give the thread with a lock.
func waitsFor(t dump.Thread, l dump.Lock) dump.Thread {
	t.WaitsFor = &l
	return t
}

func holds(t dump.Thread, locks ...dump.Lock) dump.Thread {
	t.Holds = append(t.Holds, locks...)
	return t
}

func all(parts ...[]dump.Thread) []dump.Thread {
	var threads []dump.Thread
	for _, p := range parts {
		threads = append(threads, p...)
	}
	return threads
}
