package health

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestParseStat(t *testing.T) {
	const rest = " S 42 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 20 18446744073709551615 1 1 0 0\n"
	for _, comm := range []string{"nginx", "a b", "Web Content", ") S 1 (", "x) R 1 1 1", "(((", "", "new\nline"} {
		st, err := parseStat([]byte("7 (" + comm + ")" + rest))
		if err != nil || st != (stat{pid: 7, comm: comm, state: 'S', parent: 42, startTime: 987654}) {
			t.Errorf("command %q: %+v, %v", comm, st, err)
		}
	}
	for _, bad := range []string{"", "7", "7 (nginx", "7 (nginx) S 1", "x (nginx)" + rest, "-7 (nginx)" + rest, "7 (a)" + strings.Replace(rest, "987654", "-1", 1), "7 )a(" + rest} {
		if st, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q became %+v", bad, st)
		}
	}
	st, err := System{}.stat(os.Getpid())
	if err != nil || st.pid != os.Getpid() || st.parent != os.Getppid() || st.startTime == 0 || st.dead() {
		t.Errorf("this process: %+v, %v", st, err)
	}
}

func TestParseShow(t *testing.T) {
	const good = "LoadState=loaded\nActiveState=active\nSubState=running\nInvocationID=0123456789abcdef0123456789abcdef\nMainPID=123\n"
	if got, err := parseShow([]byte(good)); err != nil || got != (shown{"loaded", "active", "running", "0123456789abcdef0123456789abcdef", 123}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseShow([]byte("MainPID=0\nInvocationID=\nActiveState=inactive\nNew=thing\nnoise\n")); err != nil || got != (shown{active: "inactive"}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "MainPID=1\n", "ActiveState=active\nMainPID=x\n", "ActiveState=active\nMainPID=-1\n", "ActiveState=active\nInvocationID=../..\n", "ActiveState=active\nMainPID=99999999999\n"} {
		if got, err := parseShow([]byte(bad)); err == nil {
			t.Errorf("%q became %+v", bad, got)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	var b bounded
	for range 100 {
		if n, err := b.Write(make([]byte, 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if b.Len() != systemctlOutput {
		t.Errorf("kept %d bytes of 100000", b.Len())
	}
}

// what the kernel prints on a little-endian machine
const (
	table4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0B00007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1001 1 0000000000000000 100 0 0 10 0\n" +
		"   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1002 1 0000000000000000 100 0 0 10 0\n" +
		"   2: 0B00007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1003 1 0000000000000000 20 4 30 10 -1\n"
	table6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1004 1\n" +
		"   1: 0000000000000000FFFF00000C00007F:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1005 1\n" +
		"   2: 00000000000000000000000001000000:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1006 1\n"
)

func TestListening(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(root+"/net", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tcp": table4, "tcp6": table6} {
		if err := os.WriteFile(root+"/net/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for ref, want := range map[string][]uint64{
		"8080":            {1001, 1005},
		"127.0.0.11:8080": {1001},
		"127.0.0.12:8080": {1005}, // by way of an IPv6 socket
		"127.0.0.13:8080": {},
		"127.0.0.13:8081": {1002}, // bound to all addresses
		"[::1]:8081":      {},
		"127.0.0.13:8082": {1004}, // bound to all addresses of both families
		"[::1]:8082":      {1004},
		"[::1]:8083":      {1006},
		"8084":            {},
	} {
		wanted, err := parsePort(ref)
		if err != nil {
			t.Fatal(err)
		}
		got, err := System{Proc: root}.listening(wanted)
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v; want %v", ref, got, err, want)
		}
		for _, inode := range want {
			if !got[inode] {
				t.Errorf("%s: %v, want %v", ref, got, want)
			}
		}
	}
	for _, bad := range []string{"", "0", "65536", "-1", "http", ":80", "localhost:80", "1.2.3.4:0", "1.2.3.4:x", "[fe80::1%eth0]:80", "1.2.3.4:80:80"} {
		if got, err := parsePort(bad); err == nil {
			t.Errorf("port %q became %+v", bad, got)
		}
	}
}

func TestEldest(t *testing.T) {
	systemd := stat{pid: 1, comm: "systemd"}
	parent := stat{pid: 500, comm: "nginx", parent: 1, startTime: 90}
	worker := stat{pid: 501, comm: "nginx", parent: 500, startTime: 90}
	reused := stat{pid: 300, comm: "nginx", parent: 500, startTime: 90} // a number below its parent's, in the same tick
	other := stat{pid: 400, comm: "nginx", parent: 1, startTime: 80}
	for name, c := range map[string]struct {
		owners []stat
		want   int
	}{
		"one": {[]stat{parent}, 500}, "parent and workers": {[]stat{reused, worker, parent}, 500}, "orphaned worker": {[]stat{worker}, 501},
		"two services share the port": {[]stat{parent, worker, other}, 400}, "opened by systemd": {[]stat{systemd, parent, worker}, 500},
		"not started by systemd yet": {[]stat{systemd}, 0}, "init of a container": {[]stat{{pid: 1, comm: "nginx"}}, 1},
	} {
		owners := map[int]stat{}
		for _, st := range c.owners {
			owners[st.pid] = st
		}
		if got, ok := eldest(owners); got.pid != c.want || ok != (c.want != 0) {
			t.Errorf("%s: %+v, want %d", name, got, c.want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (a) b) S 42 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10"))
	f.Add([]byte("1 () Z 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := parseStat(b); err == nil && (st.pid < 1 || st.parent < 0 || st.state == 0) {
			t.Fatalf("%q became %+v", b, st)
		}
	})
}

func FuzzParseShow(f *testing.F) {
	f.Add([]byte("LoadState=loaded\nActiveState=active\nSubState=running\nInvocationID=0123456789abcdef0123456789abcdef\nMainPID=123\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseShow(b)
		if err == nil && (got.active == "" || got.mainPID < 0 || (got.invocationID != "" && len(got.invocationID) != 32)) {
			t.Fatalf("%q became %+v", b, got)
		}
	})
}

func FuzzListeners(f *testing.F) {
	f.Add(table4)
	f.Add(table6)
	f.Fuzz(func(t *testing.T, text string) {
		_ = eachListener(strings.NewReader(text), func(at endpoint, _ uint64) {
			if !at.addr.IsValid() || at.addr.Is4In6() {
				t.Fatalf("%q has the listener %v", text, at)
			}
		})
	})
}

func FuzzPIDFile(f *testing.F) {
	f.Add([]byte("123\n/var/lib/postgresql\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pid, ok := parsePIDFile(b); ok && pid < 1 {
			t.Fatalf("%q became %d", b, pid)
		}
	})
}

func FuzzParsePort(f *testing.F) {
	for _, seed := range []string{"8080", "127.0.0.1:80", "[::1]:80", "[::ffff:1.2.3.4]:80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if got, err := parsePort(ref); err == nil && (got.port == 0 || (got.addr != netip.Addr{} && got.addr.Is4In6())) {
			t.Fatalf("%q became %+v", ref, got)
		}
	})
}
