// Package systemd tells the service manager how a program stands, so that
// `systemctl start` comes back when the program serves, and not before. The
// protocol is that of sd_notify(3): a datagram to the socket that the manager
// names in NOTIFY_SOCKET.
package systemd

import (
	"fmt"
	"net"
	"os"
)

// Ready says that the program serves. Where no service manager listens, it
// does nothing. The socket's name is removed from the environment: it is for
// this process, and not for what it starts.
func Ready() error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	if err := os.Unsetenv("NOTIFY_SOCKET"); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	if name[0] == '@' {
		name = "\x00" + name[1:] // an abstract socket
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
