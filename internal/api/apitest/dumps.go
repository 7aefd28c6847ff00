package apitest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Illness is what the service of a made-up thread dump suffers from.
type Illness string

// The illnesses.
const (
	Healthy     Illness = "healthy"
	PoolIsEmpty Illness = "pool"     // nobody gives database connections back
	OneLock     Illness = "lock"     // all wait for a thread that waits for the database
	Circle      Illness = "deadlock" // two threads wait for each other
)

// JVM makes the text of a thread dump as HotSpot writes it, of an invented web
// service with so many threads that serve requests.
type JVM struct {
	Illness Illness
	Workers int
	Taken   time.Time
	Number  int    // in its series, from 0: threads that work use processor time between
	Named   string // one more thread, of this name; "" = none
}

// Text gives the dump.
func (j JVM) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nFull thread dump OpenJDK 64-Bit Server VM (21.0.5+11-LTS mixed mode, sharing):\n\n", j.Taken.UTC().Format(time.DateTime))
	j.thread(&b, 1, "main", "runnable", "RUNNABLE", acceptor)
	for i := range j.Workers {
		j.worker(&b, i)
	}
	j.thread(&b, 700, "http-nio-8080-Poller", "runnable", "RUNNABLE", poller)
	j.thread(&b, 701, "price-feed", "runnable", "RUNNABLE", computing)
	j.thread(&b, 702, "HikariPool-1 housekeeper", "waiting on condition", "TIMED_WAITING (parking)", queue("0x00000007141b2c10"))
	if j.Named != "" {
		j.thread(&b, 703, j.Named, "sleeping", "TIMED_WAITING (sleeping)", "	at java.lang.Thread.sleep(java.base@21.0.5/Native Method)\n	at shop.checkout.Mirror.refresh(Mirror.java:31)\n"+bottom)
	}
	if j.Illness == Circle {
		j.thread(&b, 710, "order-writer", "waiting for monitor entry", "BLOCKED (on object monitor)", inCircle("Order.store(Order.java:118)", "0x0000000712aa0018", "shop.checkout.Basket", "0x0000000712aa0040", "shop.checkout.Order"))
		j.thread(&b, 711, "basket-sweeper", "waiting for monitor entry", "BLOCKED (on object monitor)", inCircle("Basket.close(Basket.java:204)", "0x0000000712aa0040", "shop.checkout.Order", "0x0000000712aa0018", "shop.checkout.Basket"))
	}
	for i, name := range []string{"VM Thread", "GC Thread#0", "G1 Main Marker", "VM Periodic Task Thread"} {
		fmt.Fprintf(&b, "\"%s\" os_prio=0 cpu=%d.40ms elapsed=8112.30s tid=0x00007f4a2402%04x nid=%d runnable  \n\n", name, 120+i, 40*i, 4200+i)
	}
	b.WriteString("JNI global refs: 41, weak refs: 0\n\n")
	return b.String()
}

func (j JVM) worker(b *strings.Builder, i int) {
	name := fmt.Sprintf("http-nio-8080-exec-%d", i+1)
	switch {
	case j.Illness == PoolIsEmpty && i%12 != 5:
		j.thread(b, 30+i, name, "waiting on condition", "TIMED_WAITING (parking)", borrowing+request("Basket.load(Basket.java:61)"))
	case j.Illness == OneLock && i == 16:
		j.thread(b, 30+i, name, "runnable", "RUNNABLE", reading+"	at shop.checkout.Rates.load(Rates.java:74)\n	- locked <0x0000000712bb0100> (a shop.checkout.Rates)\n"+request("Rates.current(Rates.java:52)"))
	case j.Illness == OneLock && i%6 != 1:
		j.thread(b, 30+i, name, "waiting for monitor entry", "BLOCKED (on object monitor)", "	at shop.checkout.Rates.current(Rates.java:49)\n	- waiting to lock <0x0000000712bb0100> (a shop.checkout.Rates)\n"+request("Price.of(Price.java:30)"))
	case j.Illness == Circle && i%3 == 0:
		j.thread(b, 30+i, name, "waiting for monitor entry", "BLOCKED (on object monitor)", "	at shop.checkout.Basket.add(Basket.java:88)\n	- waiting to lock <0x0000000712aa0018> (a shop.checkout.Basket)\n"+request("Shop.put(Shop.java:140)"))
	default:
		j.thread(b, 30+i, name, "waiting on condition", "WAITING (parking)", queue("0x0000000714001a88"))
	}
}

func (j JVM) thread(b *strings.Builder, id int, name, does, state, stack string) {
	cpu := 80.5 + float64(id)
	if strings.Contains(stack, "Feed.match") {
		cpu += 4900 * float64(j.Number)
	}
	fmt.Fprintf(b, "\"%s\" #%d [%d] daemon prio=5 os_prio=0 cpu=%.2fms elapsed=%.2fs tid=0x00007f4a2c%06x nid=%d %s  [0x00007f4a1c%06x]\n   java.lang.Thread.State: %s\n%s\n", name, id, 4300+id, cpu, 8112.3+5*float64(j.Number), id*64, 4300+id, does, id*4096, state, stack)
}

const (
	bottom   = "	at java.lang.Thread.runWith(java.base@21.0.5/Thread.java:1596)\n	at java.lang.Thread.run(java.base@21.0.5/Thread.java:1583)\n"
	acceptor = "	at sun.nio.ch.Net.accept(java.base@21.0.5/Native Method)\n	at sun.nio.ch.ServerSocketChannelImpl.accept(java.base@21.0.5/ServerSocketChannelImpl.java:425)\n	at org.apache.tomcat.util.net.NioEndpoint.serverSocketAccept(NioEndpoint.java:520)\n	at shop.checkout.Main.main(Main.java:22)\n"
	poller   = "	at sun.nio.ch.EPoll.wait(java.base@21.0.5/Native Method)\n	at sun.nio.ch.EPollSelectorImpl.doSelect(java.base@21.0.5/EPollSelectorImpl.java:121)\n	at sun.nio.ch.SelectorImpl.select(java.base@21.0.5/SelectorImpl.java:146)\n	at org.apache.tomcat.util.net.NioEndpoint$Poller.run(NioEndpoint.java:755)\n" + bottom

	computing = "	at java.util.regex.Pattern$CharProperty.match(java.base@21.0.5/Pattern.java:3979)\n	at shop.checkout.Feed.match(Feed.java:205)\n	at shop.checkout.Feed.follow(Feed.java:61)\n" + bottom

	borrowing = "	at jdk.internal.misc.Unsafe.park(java.base@21.0.5/Native Method)\n	- parking to wait for  <0x0000000711c00d28> (a java.util.concurrent.SynchronousQueue$TransferStack)\n" +
		"	at java.util.concurrent.locks.LockSupport.parkNanos(java.base@21.0.5/LockSupport.java:269)\n	at java.util.concurrent.SynchronousQueue.poll(java.base@21.0.5/SynchronousQueue.java:903)\n" +
		"	at com.zaxxer.hikari.util.ConcurrentBag.borrow(ConcurrentBag.java:150)\n	at com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:162)\n	at com.zaxxer.hikari.HikariDataSource.getConnection(HikariDataSource.java:100)\n"

	reading = "	at sun.nio.ch.Net.poll(java.base@21.0.5/Native Method)\n	at sun.nio.ch.NioSocketImpl.park(java.base@21.0.5/NioSocketImpl.java:191)\n	at java.net.Socket$SocketInputStream.read(java.base@21.0.5/Socket.java:1099)\n" +
		"	at org.postgresql.core.VisibleBufferedInputStream.readMore(VisibleBufferedInputStream.java:161)\n	at org.postgresql.core.PGStream.receiveChar(PGStream.java:467)\n	at org.postgresql.jdbc.PgStatement.executeQuery(PgStatement.java:246)\n"
)

func request(own string) string {
	return "	at shop.checkout." + own + "\n	at shop.checkout.web.CheckoutServlet.doPost(CheckoutServlet.java:57)\n	at javax.servlet.http.HttpServlet.service(HttpServlet.java:590)\n" +
		"	at org.apache.catalina.core.ApplicationFilterChain.doFilter(ApplicationFilterChain.java:206)\n	at org.apache.catalina.core.StandardWrapperValve.invoke(StandardWrapperValve.java:167)\n" +
		"	at org.apache.coyote.http11.Http11Processor.service(Http11Processor.java:391)\n	at org.apache.tomcat.util.net.NioEndpoint$SocketProcessor.doRun(NioEndpoint.java:1741)\n" +
		"	at org.apache.tomcat.util.threads.ThreadPoolExecutor$Worker.run(ThreadPoolExecutor.java:659)\n" + bottom
}

func queue(lock string) string {
	return "	at jdk.internal.misc.Unsafe.park(java.base@21.0.5/Native Method)\n	- parking to wait for  <" + lock + "> (a java.util.concurrent.locks.AbstractQueuedSynchronizer$ConditionObject)\n" +
		"	at java.util.concurrent.locks.LockSupport.park(java.base@21.0.5/LockSupport.java:371)\n	at java.util.concurrent.locks.AbstractQueuedSynchronizer$ConditionObject.await(java.base@21.0.5/AbstractQueuedSynchronizer.java:1712)\n" +
		"	at java.util.concurrent.LinkedBlockingQueue.take(java.base@21.0.5/LinkedBlockingQueue.java:435)\n	at org.apache.tomcat.util.threads.TaskQueue.take(TaskQueue.java:33)\n" +
		"	at org.apache.tomcat.util.threads.ThreadPoolExecutor.getTask(ThreadPoolExecutor.java:1113)\n	at org.apache.tomcat.util.threads.ThreadPoolExecutor$Worker.run(ThreadPoolExecutor.java:659)\n" + bottom
}

func inCircle(own, wants, wantsClass, has, hasClass string) string {
	return "	at shop.checkout." + own + "\n	- waiting to lock <" + wants + "> (a " + wantsClass + ")\n	at shop.checkout.Sweep.step(Sweep.java:44)\n	- locked <" + has + "> (a " + hasClass + ")\n	at shop.checkout.Sweep.run(Sweep.java:19)\n" + bottom
}

// KeepDumps stores dumps of a task as the server does that has fetched them from
// its host. from is how many the task has already.
func KeepDumps(ctx context.Context, s *store.Store, run restart.Run, task restart.Task, when protocol.DumpWhen, from int, texts ...JVM) error {
	captures := captures{}
	archive := archive.New(archive.Config{Store: s, Hosts: captures})
	for i, j := range texts {
		h := dump.Header{
			Host: task.Host, Service: run.Service, PID: 4211, Command: "java -Xmx4g -jar checkout.jar --db.password=***", Runtime: dump.JVM, Method: "attach", Taken: j.Taken,
			Took: 41 * time.Millisecond, Number: i + 1, Of: len(texts),
		}
		line, err := h.Line()
		if err != nil {
			return err
		}
		text := string(line) + j.Text()
		n := from + i + 1
		if captures[n], err = pack.Pack([]byte(text)); err != nil {
			return err
		}
		report := protocol.DumpReport{
			N: n, Number: i + 1, Of: len(texts), When: when, Runtime: dump.JVM, Method: "attach", PID: h.PID, TakenAt: j.Taken, Took: h.Took, Size: int64(len(text)), Stored: int64(len(captures[n])),
		}
		if err := archive.Fetch(ctx, run, task, restart.Host{Name: task.Host}, report); err != nil {
			return err
		}
	}
	return nil
}

// captures is a host that has the dumps of one task, by their numbers.
type captures map[int][]byte

func (c captures) Dump(_ context.Context, _ restart.Host, _ string, n int, _ dispatch.Room) ([]byte, error) {
	return c[n], nil
}

func (captures) Evidence(context.Context, restart.Host, protocol.EvidenceRequest, dispatch.Room) (protocol.EvidenceReport, error) {
	return protocol.EvidenceReport{}, nil
}
