package notify

import "context"

// CheckAddress is what a dialler asks before it dials.
func CheckAddress(plain bool, address string) error {
	return checkAddress(plain)(context.Background(), "tcp", address, nil)
}
