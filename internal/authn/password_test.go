package authn

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestPasswords(t *testing.T) {
	h := NewHasher()
	stored, err := h.Hash(t.Context(), "correct horse battery")
	if err != nil || !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", stored, err)
	}
	again, err := h.Hash(t.Context(), "correct horse battery")
	if err != nil || again == stored {
		t.Errorf("the same salt twice: %v", err)
	}
	for password, want := range map[string]bool{"correct horse battery": true, "correct horse batterz": false, "": false, strings.Repeat("x", 1000): false} {
		before := h.Calls()
		if ok, err := h.Matches(t.Context(), stored, password); err != nil || ok != want {
			t.Errorf("%.30q: %t, %v", password, ok, err)
		}
		if h.Calls() != before+1 {
			t.Errorf("%.30q took %d hashes", password, h.Calls()-before)
		}
	}
	for _, none := range []string{"", "x", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$" + strings.Repeat("A", 43)} {
		before := h.Calls()
		if ok, err := h.Matches(t.Context(), none, ""); err != nil || ok {
			t.Errorf("%q: %t, %v", none, ok, err)
		}
		if h.Calls() != before+1 {
			t.Errorf("%q took %d hashes", none, h.Calls()-before)
		}
	}
}

// What RFC 9106's reference implementation makes: ours reads it.
func TestPasswordsOfOthers(t *testing.T) {
	// printf password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 24 -e
	const stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG"
	p, err := parsePHC(stored)
	if err != nil || p.String() != stored {
		t.Fatalf("%v %v", p, err)
	}
	if p.memory != 65536 || p.time != 2 || p.threads != 1 || string(p.salt) != "somesalt" || len(p.key) != 24 {
		t.Errorf("%+v", p)
	}
}

func TestPHCOutOfBounds(t *testing.T) {
	const salt, key = "c2FsdHNhbHRzYWx0", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, bad := range []string{
		"$argon2id$v=19$m=99999999,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=99,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2,p=99$" + salt + "$" + key,
		"$argon2id$v=19$m=019456,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=-1,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2$" + salt + "$" + key,
		"$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$t=2,m=19456,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$", "$argon2id$v=19$m=19456,t=2,p=1$$" + key,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key + "=", "x$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=8,t=2,p=2$" + salt + "$" + key,
	} {
		if _, err := parsePHC(bad); err == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.String() != s || p.memory > maxArgonMemory || p.time < 1 || p.time > maxArgonTime || p.threads < 1 || p.threads > maxArgonThread {
			t.Errorf("%q is read as %+v", s, p)
		}
	})
}

func TestCheckPassword(t *testing.T) {
	for password, ok := range map[string]bool{
		"": false, "short": false, "eleven char": false, "twelve chars": true, "correct horse battery": true, strings.Repeat("a", 12): false, "123456789012": false,
		"anna12345678": false, "my anna has no horses": true, strings.Repeat("ж", 12) + "а": true, strings.Repeat("ab", 200): false, "twelve chars\n": false, "qwertyuiopas": false, NewPassword(): true,
		"two\x00words here": false, "bad \xff encoding": false,
	} {
		if err := CheckPassword("anna", password); (err == nil) != ok || err != nil && restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", password, err)
		}
	}
}

// Not more than four hashes are computed at once, and who leaves waits no more.
func TestHashesAreBounded(t *testing.T) {
	h := NewHasher()
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Matches(ctx, "", "password"); err == nil || h.Calls() != 0 {
		t.Errorf("a fifth was computed: %v", err)
	}
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		wait := func(name, address string) time.Duration {
			begin := time.Now()
			if err := th.Wait(t.Context(), name, address); err != nil {
				t.Fatal(err)
			}
			return time.Since(begin)
		}
		var last time.Duration
		for i := range 12 {
			took := wait("anna", "192.0.2.1")
			if i < 3 && took != 0 || took < last || took > 10*time.Second {
				t.Fatalf("attempt %d waited %s after %s", i, took, last)
			}
			last = took
			th.Failed("anna", "192.0.2.1")
		}
		if last != 10*time.Second {
			t.Errorf("the longest is %s", last)
		}
		// She herself, elsewhere, is held up by seconds at most, and never sent away.
		if took := wait("anna", "192.0.2.2"); took == 0 || took > ofAccount.most {
			t.Errorf("the person herself waited %s", took)
		}
		if took := wait("boris", "192.0.2.3"); took != 0 {
			t.Errorf("somebody else waited %s", took)
		}
		th.Succeeded("anna", "192.0.2.1")
		if took := wait("anna", "192.0.2.1"); took > ofAccount.most {
			t.Errorf("after the right password: %s", took)
		}
		time.Sleep(throttleForgets + time.Second)
		if took := wait("anna", "192.0.2.1"); took != 0 {
			t.Errorf("it is not forgotten: %s", took)
		}
	})
}

// Who guesses codes is told to wait, and takes nobody's time.
func TestThrottleTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		begin, tried := time.Now(), 0
		for range 100 {
			if err := th.Try("12345", "telegram:12345"); err == nil {
				tried++
				th.Failed("12345", "telegram:12345")
			} else if restart.CodeOf(err) != restart.CodeTooMany {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 0 || tried != ofCode.free+1 {
			t.Errorf("%d were tried in %s", tried, took)
		}
		if err := th.Try("23456", "telegram:23456"); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		time.Sleep(ofCode.first)
		if err := th.Try("12345", "telegram:12345"); err != nil {
			t.Errorf("after a while: %v", err)
		}
	})
}

func TestThrottleSendsAwayOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for range 30 {
			th.Failed("anna", "192.0.2.1")
		}
		var waiting sync.WaitGroup
		for range throttleWaiting {
			waiting.Go(func() {
				if err := th.Wait(t.Context(), "anna", "192.0.2.1"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if err := th.Wait(t.Context(), "anna", "192.0.2.1"); restart.CodeOf(err) != restart.CodeTooMany {
			t.Errorf("one more: %v", err)
		}
		if err := th.Wait(t.Context(), "anna", "192.0.2.9"); err != nil {
			t.Errorf("another address: %v", err)
		}
		waiting.Wait()
		if len(th.waiting) != 0 {
			t.Errorf("%v are said to wait", th.waiting)
		}
	})
}

// Whoever has one address of IPv6 has 2^64 of them: those count as one, as the
// forms of one address do.
func TestThrottleCountsNetworksOfIPv6(t *testing.T) {
	for a, b := range map[string]string{"2001:db8::1": "2001:db8::2", "2001:db8:0:1:ffff::1": "2001:0db8:0:1::", "fe80::1%eth0": "fe80::2", "192.0.2.1": "192.0.2.1", "not an address": "not an address"} {
		if neighbourhood(a) != neighbourhood(b) {
			t.Errorf("%s and %s are two: %s, %s", a, b, neighbourhood(a), neighbourhood(b))
		}
	}
	for a, b := range map[string]string{"2001:db8::1": "2001:db8:0:1::1", "192.0.2.1": "192.0.2.2", "::ffff:192.0.2.1": "::ffff:192.0.2.2"} {
		if neighbourhood(a) == neighbourhood(b) {
			t.Errorf("%s and %s are one: %s", a, b, neighbourhood(a))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		for i := range 40 {
			th.Failed("u"+strconv.Itoa(i), fmt.Sprintf("2001:db8::%x", i+1))
		}
		begin := time.Now()
		if err := th.Wait(t.Context(), "somebody", "2001:db8::ffff"); err != nil || time.Since(begin) != ofAddress.most {
			t.Errorf("another address of the network waits %s, %v", time.Since(begin), err)
		}
		begin = time.Now()
		if err := th.Wait(t.Context(), "somebody", "2001:db8:0:1::1"); err != nil || time.Since(begin) != 0 {
			t.Errorf("another network waits %s, %v", time.Since(begin), err)
		}
	})
}

// However many names and addresses are tried, what is remembered is bounded.
func TestThrottleForgets(t *testing.T) {
	var th Throttle
	for i := range 2 * throttleKeys {
		th.Failed("u"+strconv.Itoa(i), strconv.Itoa(i/3))
		if len(th.failures) > throttleKeys {
			t.Fatalf("%d are remembered", len(th.failures))
		}
	}
	if len(th.failures) < throttleKeys/2 {
		t.Errorf("only %d are", len(th.failures))
	}
}

func TestCodes(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		code := NewCode()
		if seen[code] || len(code) != 11 || TidyCode(code) != code || TidyCode(strings.ToUpper(code)) != code || TidyCode(" "+strings.ReplaceAll(code, "-", " ")+" ") != code {
			t.Fatalf("%q is tidied to %q", code, TidyCode(code))
		}
		seen[code] = true
	}
	for typed, want := range map[string]string{"OIL0abcdef": "01l0a-bcdef", "": "", "abc": "", strings.Repeat("a", 100): ""} {
		if want == "01l0a-bcdef" {
			want = "0110a-bcdef" // an l is a 1
		}
		if got := TidyCode(typed); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
