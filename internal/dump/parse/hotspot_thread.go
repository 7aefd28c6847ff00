package parse

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// threadLine is what the first line of a thread says:
//
//	"http-1" #12 [4711] daemon prio=5 os_prio=0 cpu=1.20ms elapsed=3.40s tid=0x00007f10 nid=4711 waiting on condition  [0x00007f11]
type threadLine struct {
	name, id, address, detail []byte
	native                    int64
	priority                  int
	daemon                    bool
	internal                  bool // not a Java thread: it has no number
	cpu, elapsed              time.Duration
}

// parseThreadLine reads the first line of a thread. Whatever the name is, what
// stands behind it has no quotation mark: the last one ends the name.
func parseThreadLine(line []byte) (threadLine, bool) {
	end := bytes.LastIndexByte(line, '"')
	if end < 1 || line[0] != '"' || len(line) < end+3 || line[end+1] != ' ' {
		return threadLine{}, false
	}
	t := threadLine{name: line[1:end], cpu: -1, elapsed: -1}
	tail := line[end+1:]
	for {
		tail = bytes.TrimLeft(tail, " ")
		word, behind, _ := bytes.Cut(tail, []byte(" "))
		if len(word) == 0 || !t.word(word) {
			break
		}
		tail = behind
	}
	t.internal = t.id == nil
	t.detail = stateWords(tail)
	return t, t.id != nil || t.address != nil
}

// word takes one word behind the name; false = it is the first of the state.
func (t *threadLine) word(word []byte) bool {
	switch {
	case word[0] == '#' && len(word) > 1 && isDigits(word[1:]):
		t.id = word[1:]
	case word[0] == '[' && len(word) > 2 && isDigits(word[1:len(word)-1]):
		t.native, _ = strconv.ParseInt(string(word[1:len(word)-1]), 10, 64)
	case string(word) == "daemon":
		t.daemon = true
	case string(word) == "virtual":
	default:
		key, value, ok := bytes.Cut(word, []byte("="))
		return ok && t.attribute(string(key), value)
	}
	return true
}

func (t *threadLine) attribute(key string, value []byte) bool {
	switch key {
	case "prio":
		t.priority, _ = strconv.Atoi(string(value))
	case "cpu":
		t.cpu = duration(value)
	case "elapsed":
		t.elapsed = duration(value)
	case "tid":
		t.address = value
	case "nid":
		if n, err := strconv.ParseInt(string(value), 0, 64); err == nil && n > 0 {
			t.native = n
		}
	case "os_prio", "allocated", "defined_classes":
	default:
		return false
	}
	return true
}

// stateWords gives the state's words without the address that may follow them.
func stateWords(tail []byte) []byte {
	if at := bytes.LastIndex(tail, []byte("[0x")); at >= 0 {
		tail = tail[:at]
	}
	return bytes.TrimRight(tail, " ")
}

// duration reads "1.20ms" and "3.40s"; -1 = it is none.
func duration(value []byte) time.Duration {
	unit := float64(time.Second)
	number, ok := bytes.CutSuffix(value, []byte("ms"))
	if ok {
		unit = float64(time.Millisecond)
	} else {
		number = bytes.TrimSuffix(value, []byte("s"))
	}
	n, err := strconv.ParseFloat(string(number), 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*unit > math.MaxInt64/2 {
		return -1
	}
	return time.Duration(n * unit).Round(time.Microsecond) // both have two decimals, and no unit is smaller
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// stateOfWords gives the state that the words of a thread's first line mean.
// Threads of the machine itself are always called runnable, and mostly sleep.
func stateOfWords(words []byte, internal bool) dump.State {
	switch string(words) {
	case "runnable":
		if internal {
			return dump.Unclear
		}
		return dump.Running
	case "waiting on condition", "in Object.wait()":
		return dump.Waiting
	case "waiting for monitor entry":
		return dump.Blocked
	case "sleeping":
		return dump.TimedWaiting
	}
	return dump.Unclear
}

// javaStates are the states of java.lang.Thread.State.
var javaStates = map[string]dump.State{
	"NEW":           dump.New,
	"RUNNABLE":      dump.Running,
	"BLOCKED":       dump.Blocked,
	"WAITING":       dump.Waiting,
	"TIMED_WAITING": dump.TimedWaiting,
	"TERMINATED":    dump.Ended,
}

// machineThreads are names, or beginnings of names, of threads that HotSpot and
// the class library run for themselves, though they are Java threads.
var machineThreads = []string{
	"Reference Handler", "Finalizer", "Signal Dispatcher", "Service Thread", "Monitor Deflation Thread",
	"C1 CompilerThread", "C2 CompilerThread", "JVMCI", "Sweeper thread", "Common-Cleaner", "Notification Thread",
	"Attach Listener", "DestroyJavaVM", "Surrogate Locker Thread", "VirtualThread-unparker", "VirtualThread-unblocker",
}

func isInternal(name []byte) bool {
	for _, n := range machineThreads {
		if bytes.HasPrefix(name, []byte(n)) {
			return true
		}
	}
	return false
}

// ioFunctions are native methods in which a Java thread that is called RUNNABLE
// sleeps until a file, a connection or a process has something for it.
var ioFunctions = map[string]bool{
	"java.net.SocketInputStream.socketRead0":                       true,
	"java.net.SocketOutputStream.socketWrite0":                     true,
	"java.net.PlainSocketImpl.socketConnect":                       true,
	"java.net.PlainSocketImpl.socketAccept":                        true,
	"java.net.PlainDatagramSocketImpl.receive0":                    true,
	"java.net.Inet4AddressImpl.lookupAllHostAddr":                  true,
	"java.net.Inet6AddressImpl.lookupAllHostAddr":                  true,
	"java.io.FileInputStream.readBytes":                            true,
	"java.io.FileInputStream.readBytes0":                           true,
	"java.io.FileInputStream.read0":                                true,
	"java.io.FileOutputStream.writeBytes":                          true,
	"java.io.FileDescriptor.sync":                                  true,
	"java.io.FileDescriptor.sync0":                                 true,
	"java.io.RandomAccessFile.readBytes":                           true,
	"java.io.RandomAccessFile.readBytes0":                          true,
	"java.io.RandomAccessFile.writeBytes":                          true,
	"java.io.UnixFileSystem.getBooleanAttributes0":                 true,
	"java.lang.ProcessHandleImpl.waitForProcessExit0":              true,
	"java.lang.UNIXProcess.waitForProcessExit":                     true,
	"sun.nio.ch.EPoll.wait":                                        true,
	"sun.nio.ch.EPollArrayWrapper.epollWait":                       true,
	"sun.nio.ch.Net.poll":                                          true,
	"sun.nio.ch.Net.accept":                                        true,
	"sun.nio.ch.Net.connect0":                                      true,
	"sun.nio.ch.PollSelectorImpl.poll":                             true,
	"sun.nio.ch.FileDispatcherImpl.read0":                          true,
	"sun.nio.ch.FileDispatcherImpl.write0":                         true,
	"sun.nio.ch.FileDispatcherImpl.force0":                         true,
	"sun.nio.ch.FileDispatcherImpl.pread0":                         true,
	"sun.nio.ch.FileDispatcherImpl.pwrite0":                        true,
	"sun.nio.ch.UnixFileDispatcherImpl.read0":                      true,
	"sun.nio.ch.UnixFileDispatcherImpl.write0":                     true,
	"sun.nio.ch.UnixFileDispatcherImpl.force0":                     true,
	"sun.nio.ch.UnixFileDispatcherImpl.pread0":                     true,
	"sun.nio.ch.UnixFileDispatcherImpl.pwrite0":                    true,
	"sun.nio.ch.SocketDispatcher.read0":                            true,
	"sun.nio.ch.SocketDispatcher.write0":                           true,
	"sun.nio.ch.ServerSocketChannelImpl.accept0":                   true,
	"sun.nio.ch.UnixDomainSockets.accept0":                         true,
	"sun.nio.ch.UnixDomainSockets.connect0":                        true,
	"sun.nio.fs.UnixNativeDispatcher.open0":                        true,
	"sun.nio.fs.UnixNativeDispatcher.stat0":                        true,
	"sun.nio.fs.LinuxWatchService.poll":                            true,
	"org.apache.tomcat.jni.Socket.recvbb":                          true,
	"io.netty.channel.epoll.Native.epollWait":                      true,
	"io.netty.channel.epoll.Native.epollWait0":                     true,
	"io.grpc.netty.shaded.io.netty.channel.epoll.Native.epollWait": true,
}
