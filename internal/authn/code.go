package authn

import (
	"crypto/rand"
	"strings"
)

// NewCode makes the code of a login, to be read out and typed: 50 random bits
// in an alphabet without look-alikes. It is good for some minutes, and only to
// somebody who is signed in.
func NewCode() string {
	var b [7]byte
	rand.Read(b[:]) // never fails, by its documentation
	text := encoding.EncodeToString(b[:])
	return text[:5] + "-" + text[5:10]
}

// TidyCode gives a code as NewCode made it, however it was typed.
func TidyCode(typed string) string {
	typed = strings.NewReplacer(" ", "", "-", "", "o", "0", "i", "1", "l", "1", "u", "v").Replace(strings.ToLower(typed[:min(len(typed), 64)]))
	if len(typed) != 10 {
		return ""
	}
	return typed[:5] + "-" + typed[5:]
}
