package tracker

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestKeysOfAReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shape      shape
		text, want string
	}{
		{dashed, "see WEB-17", "WEB-17"},
		{dashed, "WEB-17, WEB-18; (WEB-17) SHOP_2-1.", "WEB-17 WEB-18 SHOP_2-1"},
		{dashed, "https://jira.example.com/browse/WEB-17?focused=1", "WEB-17"},
		{dashed, "web-17 hangs, WEB-017, WEB-0, xWEB-17, WEB-17-rc1, WEB-17.example.com, A-WEB-17, WEB-17x, ЯWEB-17", ""},
		{dashed, "WEB-1234567890", ""},
		{slashed, "acme/shop#12 and acme/web/shop#3", "acme/shop#12 acme/web/shop#3"},
		{slashed, "see acme/shop/issues/12, acme/web/shop/-/issues/3.", "acme/shop#12 acme/web/shop#3"},
		{slashed, "#12, shop#12, acme/../shop#12, acme/shop#012, /etc/passwd#1x", ""},
	} {
		var got []string
		for _, k := range c.shape.within(c.text) {
			got = append(got, c.shape.String(k))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.text, got, c.want)
		}
	}
}

func TestKeysThatAreGiven(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shape            shape
		text, only, want string
	}{
		{dashed, "WEB-17", "", "WEB-17"}, {dashed, "web-17", "", "WEB-17"}, {dashed, "WEB-17 ", "", ""}, {dashed, "WEB 17", "", ""}, {dashed, "#17", "WEB", ""},
		{slashed, "acme/shop#12", "", "acme/shop#12"}, {slashed, "#12", "acme/shop", "acme/shop#12"}, {slashed, "#12", "", ""}, {slashed, "12", "acme/shop", ""},
		{slashed, "acme/shop/issues/12", "", "acme/shop#12"}, {slashed, "acme/./shop#12", "", ""}, {slashed, ".git/config#12", "", ""},
	} {
		k, ok := c.shape.whole(c.text, c.only)
		if got := c.shape.String(k); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%q: %s %v, want %s", c.text, got, ok, c.want)
		}
	}
}

// FuzzKeys: whatever is typed, a key that is found stays in its place in an
// address, and is found again when it is written.
func FuzzKeys(f *testing.F) {
	for _, text := range []string{"see WEB-17", "acme/shop#12", "acme/web/shop/-/issues/3", "../..#1", "WEB-17/../x", "a/b/c..d#1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range []shape{dashed, slashed} {
			keys := s.within(text)
			if k, ok := s.whole(text, "acme/shop"); ok {
				keys = append(keys, k)
			}
			for _, k := range keys {
				written := s.String(k)
				if again, ok := s.whole(written, ""); !ok || again != k {
					t.Fatalf("%q of %q is not found again: %v", written, text, again)
				}
				address := "https://x.example.com/repos/" + k.project + fmt.Sprintf("/issues/%d", k.number)
				u, err := url.Parse(address)
				if err != nil || u.Host != "x.example.com" || u.RawQuery+u.Fragment != "" || u.JoinPath().Path != u.Path || strings.Contains(written, "..") {
					t.Fatalf("%q of %q leads to %v, %v", written, text, u, err)
				}
			}
		}
	})
}
