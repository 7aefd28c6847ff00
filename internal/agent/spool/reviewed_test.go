package spool_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/spool/memdisk"
)

// Once it was said that a serial is kept, no crash takes it back, and none
// leaves another than one that was given.
func TestSerialSurvivesEveryCrash(t *testing.T) {
	crash := errors.New("crash")
	tried := 0
	for _, cut := range []bool{false, true} { // a kill, a power cut
		for step := range 60 {
			rng := rand.New(rand.NewPCG(uint64(step), 7))
			disk := memdisk.New(rng)
			s, err := spool.OpenOn(disk.Root("agent"), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			said, at := 0, 0
			disk.Fault = func(memdisk.Operation, string) error {
				if at++; at > step {
					panic(crash)
				}
				return nil
			}
			crashed := func() (crashed bool) {
				defer func() {
					if r := recover(); r == crash {
						crashed = true
					} else if r != nil {
						panic(r)
					}
				}()
				for n := 1; n <= 3; n++ {
					if err := s.RaiseSerial("nginx-restart", n); err != nil {
						t.Fatal(err)
					}
					said = n
				}
				return false
			}()
			disk.Fault = nil
			if !crashed {
				continue
			}
			tried++
			disk.Kill("agent")
			if cut {
				disk.PowerCut(rng)
			}
			again, err := spool.OpenOn(disk.Root("next"), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			kept, err := again.Serial("nginx-restart")
			if err != nil || kept < said || kept > said+1 {
				t.Errorf("crash at call %d, power cut %v: %d was said to be kept, and %d is (%v)", step, cut, said, kept, err)
			}
			if older := (*spool.OlderError)(nil); kept > 1 && !errors.As(again.RaiseSerial("nginx-restart", kept-1), &older) {
				t.Errorf("after call %d: an older serial is let in", step)
			}
			if c, err := again.Load(); err != nil || len(c.Broken) > 0 {
				t.Errorf("after call %d: %v, %v", step, c.Broken, err)
			}
			again.Close()
		}
	}
	if tried < 20 {
		t.Errorf("only %d crashes were tried", tried)
	}
}

func TestSerials(t *testing.T) {
	s, err := spool.OpenOn(memdisk.New(rand.New(rand.NewPCG(1, 2))).Root("agent"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"", "..", "a/b", ".x", "-x"} {
		if err := s.RaiseSerial(name, 1); err == nil {
			t.Errorf("%q was kept", name)
		}
	}
	for _, n := range []int{3, 3, 5} {
		if err := s.RaiseSerial("a", n); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Serial("b"); n != 0 || err != nil {
		t.Errorf("another name: %d, %v", n, err)
	}
	if err := s.ForgetSerial("a"); err != nil {
		t.Fatal(err)
	}
	if err := s.RaiseSerial("a", 1); err != nil {
		t.Error(err)
	}
}
