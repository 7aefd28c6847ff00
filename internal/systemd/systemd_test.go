package systemd_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/systemd"
)

func TestReady(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@restartilka-test-" + filepath.Base(t.TempDir())} {
		address := name
		if name[0] == '@' {
			address = "\x00" + name[1:]
		}
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer manager.Close()
		t.Setenv("NOTIFY_SOCKET", name)
		if err := systemd.Ready(); err != nil {
			t.Fatal(err)
		}
		if err := manager.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		n, err := manager.Read(b)
		if err != nil || string(b[:n]) != "READY=1" {
			t.Errorf("the manager was told %q, %v", b[:n], err)
		}
		if v := os.Getenv("NOTIFY_SOCKET"); v != "" {
			t.Errorf("the socket's name is left in the environment: %s", v)
		}
	}
	if err := systemd.Ready(); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "absent"))
	if err := systemd.Ready(); err == nil {
		t.Error("a socket that is not there is no error")
	}
}
