package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
)

// vendored are the SHA-256 of the files as they are in the npm package
// htmx.org@4.0.1: dist/htmx.min.js and dist/ext/hx-sse.min.js.
var vendored = map[string]string{
	"vendor/htmx-4.0.1.min.js":   "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
	"vendor/hx-sse-4.0.1.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}

func TestAssets(t *testing.T) {
	for file, want := range vendored {
		if sum := sha256.Sum256(read("static/" + file)); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is not what npm has", file)
		}
	}
	a := embeddedAssets()
	small := 0
	for _, name := range []string{stylesheet, "restartilka.js", "frame.js", "favicon.svg", "htmx-4.0.1.min.js", "hx-sse-4.0.1.min.js"} {
		asset := a.byName[a.names[name]]
		if len(asset.body) == 0 || asset.media == "" {
			t.Errorf("%s: %d bytes of %q", name, len(asset.body), asset.media)
		}
		small += len(asset.small())
	}
	if small > 48<<10 {
		t.Errorf("the files that every page loads have %d bytes compressed; with a page they are to stay below 60 KiB", small)
	}
}

func TestAssetsAreKeptForEver(t *testing.T) {
	f := newFixture(t)
	for file, name := range f.site.assets.names {
		url, err := f.site.assets.url(file)
		if err != nil {
			t.Fatal(err)
		}
		res := f.do("GET", url, "", "Accept-Encoding", "gzip")
		if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || res.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %s %v", url, res.Status, res.Header)
		}
		if f.do("GET", url, "", "Accept-Encoding", "identity").body != string(f.site.assets.byName[name].body) {
			t.Errorf("%s is not the file's content", url)
		}
	}
	for _, path := range []string{"/assets/style.css", "/assets/LICENSE-htmx.txt", "/assets/..%2fdoc.go", "/assets/"} {
		if res := f.do("GET", path, ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if _, err := f.site.assets.url("nothing.css"); err == nil {
		t.Error("an asset that is not there has an address")
	}
}
