package analyse_test

import (
	"testing"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

func TestOriginOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		frame dump.Frame
		own   []string
		want  analyse.Origin
	}{
		{dump.Frame{Function: "java.lang.Object.wait"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "java.lang.Object.wait", Module: "java.base@21.0.2"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "org.ietf.Odd.run", Module: "jdk.security.jgss@21"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "javax.servlet.http.HttpServlet.service"}, nil, analyse.FromLibrary},
		{dump.Frame{Function: "org.apache.catalina.core.StandardWrapperValve.invoke"}, nil, analyse.FromLibrary},
		{dump.Frame{Function: "com.acme.shop.Cart.load"}, nil, analyse.FromOwn},
		{dump.Frame{Function: "com.acme.Main$$Lambda/0x00007f8b1c0a2f28.run"}, nil, analyse.FromOwn},
		{dump.Frame{Function: "org.apache.acme.Cart.load"}, []string{"", "org.apache.acme."}, analyse.FromOwn},
		{dump.Frame{Function: "net/http.(*conn).serve", File: "/usr/local/go/src/net/http/server.go"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "sync.runtime_Semacquire"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "runtime.gopark", File: "/usr/local/go/src/runtime/proc.go"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "main.main", File: "/src/main.go"}, nil, analyse.FromOwn},
		{dump.Frame{Function: "github.com/acme/shop/cart.(*Cart).Add", File: "/src/cart/cart.go"}, nil, analyse.FromOwn},
		{dump.Frame{Function: "github.com/acme/tool.Run", File: "/root/go/pkg/mod/github.com/acme/tool@v1.2.3/run.go"}, nil, analyse.FromLibrary},
		{dump.Frame{Function: "github.com/acme/tool.Run", File: "github.com/acme/tool@v1.2.3/run.go"}, []string{"github.com/acme/"}, analyse.FromOwn},
		{dump.Frame{Function: "github.com/jackc/pgx/v5.(*Conn).Query"}, nil, analyse.FromLibrary},
		{dump.Frame{Function: "wait", File: "/usr/lib/python3.11/threading.py"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "wait", File: "threading.py"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "run", File: "gunicorn/app/base.py"}, nil, analyse.FromLibrary},
		{dump.Frame{Function: "get", File: "/srv/venv/lib/python3.11/site-packages/acme/x.py"}, nil, analyse.FromLibrary},
		{dump.Frame{Function: "load", File: "/srv/shop/cart.py"}, nil, analyse.FromOwn},
		{dump.Frame{Function: "load", File: "cart.py"}, nil, analyse.FromOwn},
		{dump.Frame{Function: "_find", File: "<frozen importlib._bootstrap>"}, nil, analyse.FromRuntime},
		{dump.Frame{Function: "do_epoll_wait"}, nil, analyse.FromRuntime},
		{dump.Frame{}, nil, analyse.FromRuntime},
	} {
		if got := analyse.OriginOf(c.frame, c.own); got != c.want {
			t.Errorf("%+v is of %s, want %s", c.frame, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]string{
		"com.zaxxer.hikari.pool.HikariPool.getConnection": "HikariPool.getConnection",
		"com.acme.Main$$Lambda/0x00007f8b1c0a2f28.run":    "Main$$Lambda.run",
		"net/http.(*conn).serve":                          "http.(*conn).serve",
		"sync.(*Mutex).Lock":                              "sync.(*Mutex).Lock",
		"github.com/acme/shop/cart.Add.func1":             "cart.Add.func1",
		"github.com/jackc/puddle/v2.(*Pool[...]).Acquire": "v2.(*Pool[...]).Acquire",
		"main.main":                             "main.main",
		"Pool$$Lambda$2+0x00007f88b0002800.run": "Pool$$Lambda$2.run",
		"do_epoll_wait":                         "do_epoll_wait",
		"":                                      "",
		"/usr/lib/python3.11/threading.py:wait": "wait (threading.py)",
		"/srv/venv/lib/python3.11/site-packages/psycopg/cursor.py:execute": "execute (psycopg/cursor.py)",
		"/srv/shop/cart.py:load":               "load (shop/cart.py)",
		"concurrent/futures/thread.py:_worker": "_worker (concurrent/futures/thread.py)",
	} {
		if got := analyse.Short(analyse.NameOf(stack(frame)[0])); got != want {
			t.Errorf("%q is shown as %q, want %q", frame, got, want)
		}
	}
}

func TestLens(t *testing.T) {
	t.Parallel()
	l := analyse.NewLens(analyse.Options{Own: []string{"com.acme."}})
	for name, c := range map[string]struct {
		state  dump.State
		detail string
		frames []dump.Frame
		want   analyse.DoingKind
		peer   analyse.Peer
		idle   bool
	}{
		"idle worker":        {dump.Waiting, "", inIdle, analyse.WaitsWork, "", true},
		"query":              {dump.Running, "", inQuery, analyse.SocketRead, analyse.Database, false},
		"borrows":            {dump.TimedWaiting, "", inHikari, analyse.Borrows, analyse.Database, false},
		"computes":           {dump.Running, "", inShop, analyse.OnCPU, "", false},
		"old socket read":    {dump.Running, "", on(stack("java.net.SocketInputStream.socketRead0", "java.net.SocketInputStream.read", "oracle.net.ns.Packet.receive"), inShop), analyse.SocketRead, analyse.Database, false},
		"tests a connection": {dump.Running, "", on(on(inSocket, stack("org.postgresql.core.PGStream.receiveChar", "com.zaxxer.hikari.pool.PoolBase.isConnectionAlive", "com.zaxxer.hikari.pool.HikariPool.getConnection")), inShop), analyse.SocketRead, analyse.Database, false},
		"tests one, in I/O":  {dump.InIO, "", on(on(inSocket, stack("org.postgresql.core.PGStream.receiveChar", "com.zaxxer.hikari.pool.PoolBase.isConnectionAlive", "com.zaxxer.hikari.pool.HikariPool.getConnection")), inShop), analyse.SocketRead, analyse.Database, false},
		"selects":            {dump.Running, "", stack("sun.nio.ch.EPoll.wait", "sun.nio.ch.EPollSelectorImpl.doSelect", "io.netty.channel.nio.NioEventLoop.select"), analyse.Polls, "", true},
		"timer wheel":        {dump.TimedWaiting, "", stack("java.lang.Thread.sleep", "io.netty.util.HashedWheelTimer$Worker.waitForNextTick"), analyse.WaitsWork, "", true},
		"future":             {dump.Waiting, "", on(on(inPark, stack("java.util.concurrent.CompletableFuture.get")), inShop), analyse.Result, "", false},
		"blocked":            {dump.Blocked, "", inShop, analyse.WaitsLock, "", false},
		"resolves":           {dump.Running, "", on(stack("java.net.Inet6AddressImpl.lookupAllHostAddr"), inShop), analyse.Resolves, analyse.Names, false},
		"own Object.wait":    {dump.Waiting, "", on(stack("java.lang.Object.wait"), inShop), analyse.Waits, "", false},
		"own queue":          {dump.Waiting, "", on(on(inPark, stack("java.util.concurrent.LinkedBlockingQueue.take")), inShop), analyse.WaitsWork, "", true},
		"Go, keep-alive":     {dump.InIO, "IO wait", stack("internal/poll.(*FD).Read", "net.(*netFD).Read", "net.(*conn).Read", "net/http.(*connReader).Read", "bufio.(*Reader).Peek", "net/http.(*conn).serve"), analyse.WaitsWork, "", true},
		"Go, query":          {dump.InIO, "IO wait", stack("internal/poll.(*FD).Read", "net.(*netFD).Read", "net.(*conn).Read", "github.com/jackc/pgx/v5/pgconn.(*PgConn).peekMessage", "main.load@/src/a.go"), analyse.SocketRead, analyse.Database, false},
		"Go, channel":        {dump.Waiting, "chan receive, 5 minutes", stack("main.work@/src/a.go"), analyse.Channel, "", false},
		"Go, pool":           {dump.Waiting, "select", stack("database/sql.(*DB).conn@/usr/local/go/src/database/sql/sql.go", "database/sql.(*DB).query@/usr/local/go/src/database/sql/sql.go", "main.load@/src/a.go"), analyse.Borrows, analyse.Database, false},
		"Python, query":      {dump.Waiting, "idle", stack("psycopg/cursor.py:execute", "shop.py:load"), analyse.Waits, analyse.Database, false},
		"Python, socket":     {dump.Waiting, "idle", stack("socket.py:readinto", "http/client.py:_read_status", "urllib3/connection.py:getresponse", "shop.py:load"), analyse.SocketRead, analyse.HTTP, false},
		"Python, pool":       {dump.Waiting, "idle", stack("threading.py:wait", "sqlalchemy/util/queue.py:get", "sqlalchemy/pool/impl.py:_do_get", "shop.py:load"), analyse.Borrows, analyse.Database, false},
		"kernel, futex":      {dump.Waiting, "S (sleeping)", stack("futex_wait_queue", "do_futex"), analyse.Waits, "", false},
		"runtime alone":      {dump.Waiting, "", on(inPark, stack("java.util.concurrent.NewKind.run", "java.lang.Thread.run")), analyse.WaitsWork, "", true},
		"parked, no state":   {dump.Running, "", on(inPark, inShop), analyse.Waits, "", false},
		"stopped":            {dump.Stopped, "", inShop, analyse.Halted, "", false},
		"no stack":           {dump.Unclear, "", nil, analyse.NotTold, "", false},
	} {
		th := thread(1, "worker-1", c.state, c.frames)
		th.Detail = c.detail
		v := l.Thread(&th)
		if v.Does.Kind != c.want || v.Does.Peer != c.peer || v.Idle != c.idle || len(v.Stack) != len(c.frames) {
			t.Errorf("%s: it does %+v, idle %v; want %s with %q, idle %v", name, v.Does, v.Idle, c.want, c.peer, c.idle)
		}
	}
	th := thread(1, "http-nio-8080-exec-7", dump.Running, inQuery)
	if v := l.Thread(&th); v.Pool != "http-nio-8080-exec" || v.Does.Own != "com.acme.shop.Cart.load" || v.Key == "" {
		t.Errorf("it is seen as %+v", v)
	}
}

func TestPoolsByName(t *testing.T) {
	t.Parallel()
	l := analyse.NewLens(analyse.Options{})
	for name, want := range map[string]string{
		"http-nio-8080-exec-12": "http-nio-8080-exec", "pool-1-thread-3": "pool-1-thread", "ForkJoinPool.commonPool-worker-9": "ForkJoinPool.commonPool-worker", "qtp1688376486-25": "qtp1688376486",
		"XNIO-1 task-4": "XNIO-1 task", "ThreadPoolExecutor-0_3": "ThreadPoolExecutor-0", "[ACTIVE] ExecuteThread: '12' for queue: 'weblogic.kernel.Default (self-tuning)'": "weblogic.kernel.Default (self-tuning)",
		"WebContainer : 5": "WebContainer", "main": "", "Thread-7": "", "": "", "42": "", "node1": "", "utf-8": "utf", "Dummy-1": "",
	} {
		th := thread(1, name, dump.Waiting, inIdle)
		if got := l.Thread(&th).Pool; got != want {
			t.Errorf("%q is of pool %q, want %q", name, got, want)
		}
	}
	th := thread(1, "pool-1-thread-1", dump.Waiting, inIdle)
	th.Pool = "java.util.concurrent.ThreadPoolExecutor@1b2c"
	if got := l.Thread(&th).Pool; got != th.Pool {
		t.Errorf("the runtime's own pool is %q", got)
	}
}
