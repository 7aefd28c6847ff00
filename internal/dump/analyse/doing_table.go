package analyse

import "strings"

// acts is what frames say about the thread that stands in them, by NameOf.
var acts = actTable()

func actTable() map[string]act {
	table := map[string]act{}
	for _, rows := range [][]actRow{javaActs, javaWork, goActs, pythonActs, kernelActs} {
		for _, row := range rows {
			for name := range strings.FieldsSeq(row.names) {
				name = strings.ReplaceAll(name, "~", " (") // Python's: wait~threading.py)
				table[row.prefix+name] = act{row.kind, row.level}
			}
		}
	}
	for class := range strings.FieldsSeq("LinkedBlockingQueue ArrayBlockingQueue PriorityBlockingQueue DelayQueue LinkedBlockingDeque SynchronousQueue LinkedTransferQueue ScheduledThreadPoolExecutor$DelayedWorkQueue") {
		for method := range strings.FieldsSeq("take poll takeFirst takeLast pollFirst pollLast") {
			table["java.util.concurrent."+class+"."+method] = act{WaitsWork, firm}
		}
	}
	return table
}

// actRow is frames that say the same.
type actRow struct {
	kind   DoingKind
	level  int
	prefix string
	names  string
}

var javaActs = []actRow{
	{Waits, weak, "", "java.lang.Object.wait java.lang.Object.wait0 jdk.internal.misc.Unsafe.park sun.misc.Unsafe.park"},
	{Waits, weak, "java.util.concurrent.locks.LockSupport.", "park parkNanos parkUntil"},
	{Waits, weak, "java.lang.VirtualThread.", "park parkNanos parkOnCarrierThread yieldContinuation"},
	{Waits, weak, "jdk.internal.vm.Continuation.", "yield yield0"},
	{Sleeps, firm, "java.lang.Thread.", "sleep sleep0 sleepNanos sleepNanos0"},
	{Sleeps, firm, "java.lang.VirtualThread.", "sleepNanos"},
	{WaitsLock, firm, "java.util.concurrent.locks.", "ReentrantLock.lock ReentrantLock.lockInterruptibly ReentrantLock.tryLock ReentrantReadWriteLock$ReadLock.lock ReentrantReadWriteLock$WriteLock.lock StampedLock.readLock StampedLock.writeLock"},
	{WaitsLock, firm, "java.util.concurrent.locks.", "ReentrantReadWriteLock$ReadLock.tryLock ReentrantReadWriteLock$WriteLock.tryLock ReentrantReadWriteLock$ReadLock.lockInterruptibly ReentrantReadWriteLock$WriteLock.lockInterruptibly"},
	{Result, firm, "java.util.concurrent.", "CompletableFuture.get CompletableFuture.join FutureTask.get CountDownLatch.await ForkJoinTask.get ForkJoinTask.join ForkJoinTask.invoke ThreadPoolExecutor.awaitTermination CyclicBarrier.await Phaser.awaitAdvance"},
	{Result, firm, "java.lang.Thread.", "join"},
	{SocketRead, firm, "java.net.", "SocketInputStream.socketRead0 Socket$SocketInputStream.read PlainDatagramSocketImpl.receive0"},
	{SocketRead, firm, "sun.nio.ch.", "NioSocketImpl.implRead NioSocketImpl.timedRead NioSocketImpl.tryRead NioSocketImpl.read SocketDispatcher.read0 SocketDispatcher.read SocketChannelImpl.read DatagramChannelImpl.receive0 DatagramChannelImpl.blockingReceive"},
	{SocketWrite, firm, "", "java.net.SocketOutputStream.socketWrite0 sun.nio.ch.NioSocketImpl.implWrite sun.nio.ch.NioSocketImpl.tryWrite sun.nio.ch.SocketDispatcher.write0 sun.nio.ch.SocketDispatcher.writev0 sun.nio.ch.SocketDispatcher.write sun.nio.ch.SocketChannelImpl.write"},
	{Connects, firm, "", "java.net.PlainSocketImpl.socketConnect sun.nio.ch.NioSocketImpl.connect sun.nio.ch.NioSocketImpl.timedFinishConnect sun.nio.ch.Net.connect0 sun.nio.ch.Net.pollConnect sun.nio.ch.Net.pollConnectNow sun.nio.ch.SocketChannelImpl.connect sun.nio.ch.SocketChannelImpl.blockingConnect"},
	{Accepts, firm, "", "java.net.PlainSocketImpl.socketAccept sun.nio.ch.NioSocketImpl.accept sun.nio.ch.NioSocketImpl.timedAccept sun.nio.ch.Net.accept sun.nio.ch.ServerSocketChannelImpl.accept sun.nio.ch.ServerSocketChannelImpl.accept0 sun.nio.ch.ServerSocketChannelImpl.implAccept java.net.ServerSocket.implAccept"},
	{Polls, firm, "sun.nio.ch.", "EPoll.wait EPollArrayWrapper.epollWait PollArrayWrapper.poll0 KQueue.poll PollSelectorImpl.poll"},
	{Resolves, firm, "java.net.", "Inet4AddressImpl.lookupAllHostAddr Inet6AddressImpl.lookupAllHostAddr Inet4AddressImpl.getHostByAddr Inet6AddressImpl.getHostByAddr"},
	{File, weak, "sun.nio.ch.", "FileDispatcherImpl.read0 FileDispatcherImpl.write0 FileDispatcherImpl.writev0 UnixFileDispatcherImpl.read0 UnixFileDispatcherImpl.write0 UnixFileDispatcherImpl.writev0"},
	{File, firm, "sun.nio.ch.", "FileDispatcherImpl.pread0 FileDispatcherImpl.pwrite0 FileDispatcherImpl.force0 UnixFileDispatcherImpl.pread0 UnixFileDispatcherImpl.pwrite0 UnixFileDispatcherImpl.force0 FileChannelImpl.read FileChannelImpl.write"},
	{File, firm, "java.io.", "FileInputStream.readBytes FileInputStream.readBytes0 FileInputStream.read0 FileOutputStream.writeBytes FileOutputStream.write RandomAccessFile.readBytes RandomAccessFile.readBytes0 RandomAccessFile.writeBytes RandomAccessFile.writeBytes0 FileDescriptor.sync FileDescriptor.sync0"},
	{Child, firm, "java.lang.", "ProcessImpl.waitFor UNIXProcess.waitFor UNIXProcess.waitForProcessExit ProcessHandleImpl.waitForProcessExit0 ProcessImpl.forkAndExec UNIXProcess.forkAndExec"},
}

// javaWork is where threads wait for something to do.
var javaWork = []actRow{
	{WaitsWork, firm, "java.util.", "concurrent.ThreadPoolExecutor.getTask concurrent.ForkJoinPool.awaitWork TimerThread.mainLoop"},
	{WaitsWork, known, "", "java.lang.ref.ReferenceQueue.remove java.lang.ref.Reference.waitForReferencePendingList java.lang.ref.Reference$ReferenceHandler.run sun.misc.GC$Daemon.run sun.rmi.transport.GC$Daemon.run sun.rmi.transport.ObjectTable$Reaper.run"},
	{WaitsWork, known, "org.apache.", "tomcat.util.threads.TaskQueue.take tomcat.util.threads.TaskQueue.poll tomcat.util.threads.ThreadPoolExecutor.getTask catalina.core.StandardServer.await catalina.core.ContainerBase$ContainerBackgroundProcessor.run tomcat.util.net.NioBlockingSelector$BlockPoller.run"},
	{WaitsWork, known, "org.eclipse.jetty.util.", "BlockingArrayQueue.poll BlockingArrayQueue.take thread.QueuedThreadPool.idleJobPoll thread.ReservedThreadExecutor$ReservedThread.reservedWait"},
	{WaitsWork, known, "", "org.jboss.threads.EnhancedQueueExecutor$ThreadBody.run weblogic.work.ExecuteThread.waitForRequest com.ibm.ws.util.BoundedBuffer.waitGet_ org.quartz.simpl.SimpleThreadPool$WorkerThread.run org.quartz.core.QuartzSchedulerThread.run"},
	{WaitsWork, known, "", "io.netty.util.HashedWheelTimer$Worker.waitForNextTick io.netty.util.concurrent.SingleThreadEventExecutor.takeTask io.netty.util.concurrent.GlobalEventExecutor.takeTask kotlinx.coroutines.scheduling.CoroutineScheduler$Worker.park kotlinx.coroutines.scheduling.CoroutineScheduler$Worker.tryPark"},
	{WaitsWork, known, "com.", "mchange.v2.async.ThreadPoolAsynchronousRunner$PoolThread.run lmax.disruptor.BlockingWaitStrategy.waitFor lmax.disruptor.TimeoutBlockingWaitStrategy.waitFor mysql.cj.jdbc.AbandonedConnectionCleanupThread.run"},
	{Polls, known, "io.netty.channel.epoll.Native.", "epollWait epollWait0"},
}

var goActs = []actRow{
	{SocketRead, weak, "internal/poll.(*FD).", "Read ReadMsg ReadFrom ReadFromInet4 ReadFromInet6"},
	{SocketWrite, weak, "internal/poll.(*FD).", "Write Writev WriteTo WriteMsg"},
	{Connects, weak, "internal/poll.(*FD).", "WaitWrite"},
	{Accepts, firm, "internal/poll.(*FD).", "Accept"},
	{SocketRead, firm, "net.", "(*netFD).Read (*conn).Read (*netFD).readFrom (*netFD).readMsg"},
	{SocketWrite, firm, "net.", "(*netFD).Write (*conn).Write (*netFD).writeBuffers"},
	{Connects, firm, "net.", "(*netFD).connect (*netFD).dial"},
	{Resolves, known, "net.", "(*Resolver).lookupIPAddr (*Resolver).LookupHost (*Resolver).exchange cgoLookupIP _C2func_getaddrinfo _cgoLookupHostPort"},
	{File, firm, "os.", "(*File).Read (*File).Write (*File).ReadAt (*File).WriteAt (*File).Sync"},
	{File, weak, "syscall.", "Read Write read write Fsync"},
	{Sleeps, firm, "time.", "Sleep"},
	{WaitsLock, firm, "sync.", "(*Mutex).Lock (*Mutex).lockSlow (*RWMutex).Lock (*RWMutex).RLock (*Once).doSlow"},
	{WaitsLock, firm, "internal/sync.", "(*Mutex).Lock (*Mutex).lockSlow"},
	{Result, firm, "sync.", "(*WaitGroup).Wait"},
	{Waits, firm, "sync.", "(*Cond).Wait"},
	{Waits, weak, "", "sync.runtime_Semacquire sync.runtime_SemacquireMutex sync.runtime_notifyListWait runtime.gopark"},
	{Child, known, "", "os.(*Process).Wait os.(*Process).wait os/exec.(*Cmd).Wait"},
	{WaitsWork, known, "net/http.", "(*conn).serve (*persistConn).readLoop (*persistConn).writeLoop (*connReader).backgroundRead (*http2serverConn).serve (*http2serverConn).readFrames (*http2ClientConn).readLoop (*http2clientConnReadLoop).run"},
	{WaitsWork, known, "", "database/sql.(*DB).connectionOpener database/sql.(*DB).connectionCleaner os/signal.loop os/signal.signal_recv runtime.ensureSigM.func1"},
	{WaitsWork, known, "google.golang.org/grpc/internal/transport.", "(*controlBuffer).get (*loopyWriter).run (*http2Server).HandleStreams (*http2Server).keepalive (*http2Client).keepalive (*http2Client).reader"},
}

// pythonActs are written function~file).
var pythonActs = []actRow{
	{Waits, weak, "", "wait~threading.py) acquire~threading.py) __enter__~threading.py) _wait~threading.py)"},
	{WaitsWork, firm, "", "get~queue.py) _worker~concurrent/futures/thread.py) get~multiprocessing/queues.py) wait~gunicorn/workers/sync.py) accept~gunicorn/workers/sync.py) sleep~gunicorn/arbiter.py) handler_thread~waitress/task.py) run_for_one~gunicorn/workers/sync.py)"},
	{Polls, firm, "", "select~selectors.py) poll~selectors.py) select~asyncio/selector_events.py) wait~multiprocessing/connection.py) run_forever~asyncio/base_events.py) run~uvloop/loop.pyx)"},
	{Accepts, firm, "", "accept~socket.py) get_request~socketserver.py)"},
	{SocketRead, firm, "", "readinto~socket.py) read~ssl.py) recv~ssl.py) recv_into~ssl.py) readinto~ssl.py) _recv~multiprocessing/connection.py)"},
	{SocketWrite, firm, "", "send~ssl.py) sendall~ssl.py) sendfile~socket.py)"},
	{Connects, firm, "", "create_connection~socket.py) connect~ssl.py) do_handshake~ssl.py)"},
	{Resolves, known, "", "getaddrinfo~socket.py)"},
	{Child, firm, "", "wait~subprocess.py) _wait~subprocess.py) _try_wait~subprocess.py) _communicate~subprocess.py) poll~multiprocessing/popen_fork.py)"},
	{Result, firm, "", "result~concurrent/futures/_base.py) join~threading.py) _wait_for_tstate_lock~threading.py) wait~concurrent/futures/_base.py) join~queue.py) wait~asyncio/tasks.py)"},
}

var kernelActs = []actRow{
	{Polls, firm, "", "ep_poll do_epoll_wait do_epoll_pwait do_select do_poll do_sys_poll poll_schedule_timeout io_cqring_wait inotify_read"},
	{Waits, weak, "", "futex_wait_queue futex_wait_queue_me futex_wait __futex_wait do_futex do_sigtimedwait sigsuspend do_pause"},
	{Sleeps, firm, "", "hrtimer_nanosleep do_nanosleep common_nsleep"},
	{SocketRead, firm, "", "sk_wait_data tcp_recvmsg tcp_recvmsg_locked inet_recvmsg unix_stream_read_generic unix_stream_data_wait skb_wait_for_more_packets __skb_wait_for_more_packets netlink_recvmsg"},
	{SocketWrite, firm, "", "sk_stream_wait_memory tcp_sendmsg tcp_sendmsg_locked unix_wait_for_peer sock_alloc_send_pskb"},
	{Accepts, firm, "", "inet_csk_accept inet_csk_wait_for_connect unix_accept"},
	{Connects, firm, "", "inet_stream_connect inet_wait_for_connect __inet_stream_connect"},
	{File, firm, "", "pipe_read pipe_wait pipe_write pipe_wait_readable pipe_wait_writable anon_pipe_read anon_pipe_write io_schedule folio_wait_bit folio_wait_bit_common wait_on_page_bit wait_on_page_bit_common wait_on_buffer __wait_on_buffer"},
	{File, firm, "", "jbd2_log_wait_commit rpc_wait_bit_killable nfs_wait_bit_killable nfs_wait_on_request request_wait_answer __fuse_request_send submit_bio_wait blk_mq_get_tag n_tty_read wait_woken"},
	{Child, firm, "", "do_wait kernel_wait4 wait_consider_task kernel_waitid"},
	{Halted, firm, "", "do_signal_stop ptrace_stop do_jobctl_trap get_signal"},
}
