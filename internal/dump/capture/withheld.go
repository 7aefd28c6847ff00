package capture

import (
	"errors"
	"time"
)

// lookTime bounds the wait for what the kernel shows only under a lock of the
// process's memory: its arguments and its maps. It takes less than a millisecond,
// or may take for ever.
const lookTime = 500 * time.Millisecond

// errWithheld says that the lock was not to be had in time.
var errWithheld = errors.New("the kernel did not show it in time")

// patiently gives what look gives, or errWithheld after lookTime. Such a look
// can't be called off: it is left behind until the kernel lets it go, or this
// program ends.
func patiently[T any](look func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	given := make(chan answer, 1)
	go func() {
		value, err := look()
		given <- answer{value, err}
	}()
	timer := time.NewTimer(lookTime)
	defer timer.Stop()
	select {
	case a := <-given:
		return a.value, a.err
	case <-timer.C:
		var none T
		return none, errWithheld
	}
}
